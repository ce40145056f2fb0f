"""How many of people's labels routing saves, by the width of the interval, against an even draw of as many.

``python -m benchmarks.routing [DRAWS]``: judges that know something of their doubts, on labels of real people. Draws
are made by the product's own signals, chances and estimator: all at once, when nobody has labelled anything yet, and in
three rounds, of which each learns from those before. Beside them stand an even draw with the same estimator, which
tells what routing alone saves, and an even draw of people's labels without a judge, which tells what both save
together. Labels are saved where an even draw would have needed more of them for intervals as wide.

- PandaLM: two of the three annotators are the jury, the third is asked. What people slip at nobody can foresee: a draw
  that knew how often the third differs, by what the jury said, is the bound of what votes alone can tell.
- LLMBar: a program judges (`benchmarks.rule_judge`), people's labels are the data's.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks import data, rule_judge
from critic.evaluation.accuracy import Labelled
from critic.evaluation.powered.items import gathered
from critic.evaluation.powered.signals import signals
from critic.feedback import ComparisonLabel, Feedback
from critic.records import Message, Prompt, Response
from critic.statistics.intervals import Figure, student
from critic.statistics.prediction.routing import Round, drawn, expected_errors, probabilities, rounds_mean
from critic.statistics.reliability.ratings import Floats, Ints

SEEDS, DRAWS = 5, 500
BUDGET, ROUNDS = 150, (50, 50, 50)
CHOICES = ("tie", "first", "second")  # by PandaLM's numbers
VALUES = np.array([0.5, 1.0, 0.0])


@dataclass(frozen=True, slots=True, eq=False)
class Population:
    """All items: what people say, what the judge says, and its signals (all (N,))."""

    human: Floats
    judge: Floats
    signals: Mapping[str, Floats]

    @property
    def bound(self) -> float:
        """The share of labels that a draw would save which knew how often each kind of verdict is off."""
        square = (self.human - self.judge) ** 2
        _, of = np.unique(np.abs(self.judge - 0.5), return_inverse=True)
        known = np.sqrt(np.bincount(of, square) / np.bincount(of))[of]
        return float(1 - known.mean() ** 2 / square.mean())


def pandalm(jury: tuple[int, int], asked: int) -> Population:
    """Return the test set with two annotators as judges and a third who is asked; annotators are counted from 1.

    Some rows have the very answers of another one, by models that say the same: the first of them counts.
    """
    read = json.loads((data.data_folder() / "pandalm" / "testset-v1.json").read_text(encoding="utf-8"))
    different = {_comparison(row, 1, "anybody").item: row for row in reversed(read)}
    rows = list(reversed(different.values()))
    labels = [_comparison(row, row[f"annotator{judge}"], f"judge {judge}") for row in rows for judge in jury]
    human = VALUES[[row[f"annotator{asked}"] for row in rows]]
    return _population(labels, human, [str(row["response1"]) for row in rows])


def _comparison(row: dict[str, str], choice: int, judge: str) -> Feedback:
    first, second = row["cmp_key"].split("_")
    return _judged(
        f"{row['instruction']}\n\n{row['input']}".strip(),
        (Response(text=str(row["response1"]), model=first), Response(text=str(row["response2"]), model=second)),
        float(VALUES[choice]),
        judge,
    )


def _judged(prompt: str, responses: tuple[Response, Response], first: float, judge: str) -> Feedback:
    if first == 0.5:
        choice = "tie"
    elif first > 0.5:
        choice = "first"
    else:
        choice = "second"
    return Feedback(
        kind="comparison",
        prompt=Prompt(messages=(Message(role="user", content=prompt),)),
        responses=responses,
        label=ComparisonLabel.model_validate({"choice": choice, "probability": first}),
        source="ai",
        annotator=judge,
    )


def llmbar(*, constructed: bool) -> Population:
    """Return LLMBar's pairs, those that were constructed or all of them, with a program as the judge."""
    labels, _ = data.llmbar(data.data_folder())
    chosen = [label for label in labels if label.source.startswith("CaseStudy") or not constructed]
    rng = np.random.default_rng(0)
    is_first = rng.random(len(chosen)) < 0.5  # where the better answer stands
    judged = [_by_rule(label, first) for label, first in zip(chosen, is_first.tolist(), strict=True)]
    return _population(judged, is_first.astype(float), [one.responses[0].text for one in judged])


def _by_rule(label: Labelled, is_first: bool) -> Feedback:
    prompt = "\n".join(message.content for message in label.prompt.messages)
    texts = (label.better, label.worse) if is_first else (label.worse, label.better)
    first = rule_judge.probability(prompt, *texts)
    return _judged(prompt, (Response(text=texts[0], model="a"), Response(text=texts[1], model="b")), first, "rules")


def _population(labels: Sequence[Feedback], human: Floats, first: Sequence[str]) -> Population:
    """Read the judges' labels as the product does; the figure is of the answers that the data have first."""
    items = gathered(labels).items
    of_item: dict[str, int] = {}
    for number, label in enumerate(labels[:: len(labels) // len(human)]):
        of_item.setdefault(label.item, number)
    rows = [of_item[one.item.id] for one in items]
    judge = []
    for one, row in zip(items, rows, strict=True):
        probability = one.probability()
        assert probability is not None
        judge.append(probability if one.item.first.text == first[row] else 1 - probability)
    return Population(human[rows], np.array(judge), signals(items))


@dataclass(frozen=True, slots=True)
class DrawnRoutes:
    """Many draws of one way: the root mean square of widths, by seed; estimates less the truth; how many held it."""

    widths: tuple[float, ...]
    off: Floats
    held: float

    def saved(self, other: "DrawnRoutes", labels: int, items: int) -> list[float]:
        """By seed the share of labels saved against ``other``, whose squared widths go as 1 / n - 1 / N."""
        return [_saved(mine, theirs, labels, items) for mine, theirs in zip(self.widths, other.widths, strict=True)]


def _saved(mine: float, theirs: float, labels: int, items: int) -> float:
    of_one = theirs**2 / (1 / labels - 1 / items)
    return 1 - labels * (mine**2 / of_one + 1 / items)


Way = Callable[[Population, int], Figure]
"""One draw from a seed, and what it says of all items."""


def draws(population: Population, way: Way, number: int) -> DrawnRoutes:
    """Draw so often, a fifth from each seed."""
    truth = float(population.human.mean())
    widths, off, held = [], [], 0
    for seed in range(SEEDS):
        squares = []
        for draw in range(number // SEEDS):
            made = way(population, 1_000_000 * (seed + 1) + draw)
            squares.append((made.high - made.low) ** 2)
            off.append(made.estimate - truth)
            held += made.low <= truth <= made.high
        widths.append(float(np.sqrt(np.mean(squares))))
    return DrawnRoutes(tuple(widths), np.array(off), held / len(off))


def routed(*budgets: int) -> Way:
    """Return the product's way, in as many rounds as there are budgets."""

    def way(population: Population, seed: int) -> Figure:
        is_labelled = np.zeros(population.human.size, bool)
        rounds = []
        for number, budget in enumerate(budgets):
            known, left = np.flatnonzero(is_labelled), np.flatnonzero(~is_labelled)
            likely = expected_errors(population.signals, known, (population.human - population.judge)[known])
            chances = np.ones(is_labelled.size)
            chances[left] = probabilities(likely[left], budget)
            is_labelled[left[drawn(chances[left], seed + 1000 * number)]] = True
            rounds.append(_round(population, np.flatnonzero(is_labelled), chances))
        return rounds_mean(rounds)

    return way


def even(population: Population, seed: int) -> Figure:
    """An even draw, with the judge."""
    items = population.human.size
    chances = np.full(items, BUDGET / items)
    return rounds_mean([_round(population, drawn(chances, seed), chances)])


def people_alone(population: Population, seed: int) -> Figure:
    """An even draw, without the judge."""
    items = population.human.size
    human = population.human[drawn(np.full(items, BUDGET / items), seed)]
    variance = human.var(ddof=1) / human.size * (1 - human.size / items)
    mean, half = float(human.mean()), student(human.size - 1) * float(np.sqrt(variance))
    return Figure(mean, mean - half, mean + half, human.size, human.size)


def _round(population: Population, shown: Ints, chances: Floats) -> Round:
    return Round(population.human[shown], population.judge[shown], chances[shown], population.judge)


def _row(name: str, population: Population, number: int) -> str:
    items = population.human.size
    once, thrice = draws(population, routed(BUDGET), number), draws(population, routed(*ROUNDS), number)
    same, people = draws(population, even, number), draws(population, people_alone, number)
    cells = [
        name,
        str(items),
        _spread(once.saved(same, BUDGET, items)),
        _spread(thrice.saved(same, BUDGET, items)),
        f"{population.bound:.0%}",
        _spread(thrice.saved(people, BUDGET, items)),
        f"{once.held:.3f}, {thrice.held:.3f}",
        f"{_bias(once)}, {_bias(thrice)}",
    ]
    return f"| {' | '.join(cells)} |"


def _bias(drawn: DrawnRoutes) -> str:
    """The mean error, and its standard error."""
    return f"{drawn.off.mean():+.4f} ± {drawn.off.std(ddof=1) / np.sqrt(drawn.off.size):.4f}"


def _spread(shares: Sequence[float]) -> str:
    return f"{np.mean(shares):.0%} ({min(shares):.0%} to {max(shares):.0%})"


def main() -> None:
    """Print the table."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else DRAWS
    populations = {
        "PandaLM, 1 and 2 judge, 3 is asked": pandalm((1, 2), 3),
        "PandaLM, 1 and 3 judge, 2 is asked": pandalm((1, 3), 2),
        "PandaLM, 2 and 3 judge, 1 is asked": pandalm((2, 3), 1),
        "LLMBar's constructed pairs, a program judges": llmbar(constructed=True),
        "LLMBar, all pairs, a program judges": llmbar(constructed=False),
    }
    print(f"{BUDGET} labels, {number} draws from {SEEDS} seeds\n")
    saved = ("saved at once (5 seeds)", "saved in rounds", "bound by votes", "saved by judge and routing")
    print(f"| {' | '.join(('judge, people', 'items', *saved, 'covers', 'bias'))} |\n|---|{'---:|' * 7}")
    for name, population in populations.items():
        print(_row(name, population, number), flush=True)


if __name__ == "__main__":
    main()
