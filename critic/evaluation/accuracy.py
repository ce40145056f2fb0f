"""How often a judge agrees with people who compared the same two answers, and how far its probabilities can be trusted.

Which answer stands first is drawn by the pair's id, so that a judge that always says "first" is right half of the time.
A pair that can't be read is neither right nor wrong: it is counted apart. A probability of exactly one half is half
right.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from base.digest import unit_interval
from base.together import together
from constitution import Principle
from critic.calls.faults import Streak
from critic.engine import Engine, EngineError
from critic.judging.aggregate import aggregate
from critic.judging.base import Mode, Question
from critic.records import Prompt, Vote
from critic.settings.judging import EXACT
from critic.statistics.intervals import Figure, Paired, Share, paired
from critic.statistics.judges.calibration_error import brier_score, event_calibration_error

IN_FLIGHT = 64
FOLDS = 5


@dataclass(frozen=True, slots=True)
class Labelled:
    """Two answers to a prompt, and which one people called better. ``source`` names the set that it is from."""

    id: str
    source: str
    prompt: Prompt
    better: str
    worse: str

    @property
    def better_is_first(self) -> bool:
        """Whether the better answer stands first."""
        return unit_interval("side", self.id) < 0.5

    @property
    def fold(self) -> int:
        """Which of `FOLDS` parts it is in."""
        return int(unit_interval("fold", self.id) * FOLDS)


@dataclass(frozen=True, slots=True)
class Judged:
    """A judge's answer: the probability that the better answer is better; None where it could not be read, and why."""

    label: Labelled
    probability: float | None
    votes: tuple[Vote, ...] = ()
    problem: str | None = None

    @property
    def right(self) -> float | None:
        """1, 0, or a half where the judge does not lean."""
        if self.probability is None:
            return None
        return 0.5 if abs(self.probability - 0.5) < 1e-12 else float(self.probability > 0.5)


@dataclass(frozen=True, slots=True)
class Accuracy:
    """A judge's figures on some labels; None where nothing could be read. ``position`` is the same-position rate."""

    accuracy: Figure | None
    unreadable: int
    position: Figure | None
    calibration: Figure | None
    brier: Figure | None


async def judge(
    engine: Engine,
    mode: Mode,
    principle: Principle,
    labels: Sequence[Labelled],
    on_done: Callable[[], None] = lambda: None,
) -> list[Judged]:
    """Have every pair judged, in both orders where the mode has any.

    Raises `RunStopped` where the engine is gone, or fails every pair alike.
    """
    slots, streak = asyncio.Semaphore(IN_FLIGHT), Streak()

    async def one(label: Labelled) -> Judged:
        shown = (label.better, label.worse) if label.better_is_first else (label.worse, label.better)
        question = Question(label.prompt, *shown, (principle,), seed=0)
        async with slots:
            try:
                votes = await streak.do(lambda: mode.votes(engine, question))
            except EngineError as error:
                return Judged(label, None, problem=str(error))
            finally:
                on_done()
        first = aggregate(votes, (principle,), EXACT).probability
        if first is None:
            return Judged(label, None, votes, "; ".join(vote.raw for vote in votes if vote.raw is not None))
        return Judged(label, first if label.better_is_first else 1 - first, votes)

    return await together(one(label) for label in labels)


def by_length(labels: Iterable[Labelled], *, longer: bool) -> list[Judged]:
    """Judge by length alone: always the longer answer, or always the shorter one."""

    def probability(label: Labelled) -> float:
        difference = len(label.better) - len(label.worse)
        return 0.5 if not difference else float((difference > 0) == longer)

    return [Judged(label, probability(label)) for label in labels]


def figures(judged: Sequence[Judged]) -> Accuracy:
    """Sum up one judge's answers, whether it is a model or a rule. Pairs of one prompt are one cluster."""
    read = [(j, p) for j in judged if (p := j.probability) is not None]
    numbers: dict[str, int] = {}
    clusters = [numbers.setdefault(j.label.prompt.key, len(numbers)) for j, _ in read]
    # As the page shows them: how often is the first better where the judge says that it is, with probability p?
    first = [p if j.label.better_is_first else 1 - p for j, p in read]
    outcomes = [j.label.better_is_first for j, _ in read]
    return Accuracy(
        accuracy=_accuracy(judged),
        unreadable=len(judged) - len(read),
        position=_same_position(judged),
        calibration=event_calibration_error(first, outcomes, clusters),
        brier=brier_score(first, outcomes, clusters),
    )


def compared(one: Sequence[Judged], other: Sequence[Judged]) -> Paired:
    """Test whether ``one`` is right more often than ``other``, on the pairs that both read: the exact paired test."""
    sums = [sum(differences) for differences in _differences(one, other)]
    won = sum(value > 0 for value in sums)
    return paired(won, sum(value < 0 for value in sums))


def better_rule(rules: Mapping[str, Sequence[Judged]]) -> str:
    """Return which of the rules is right more often: the one that a judge has to beat."""

    def right(name: str) -> float:
        figure = _accuracy(rules[name])
        return 0.0 if figure is None else figure.estimate

    return max(rules, key=right)


def chosen_by_cross_validation(judged: Mapping[str, Sequence[Judged]]) -> tuple[dict[int, str], list[Judged]]:
    """For each fold take the judge that is right most often on the other folds, and keep what it says of this one.

    Returns which judge each fold takes, and the answers: an accuracy that choosing has not flattered.
    """
    names = list(judged)
    labels = [j.label for j in judged[names[0]]]
    taken = {fold: max(names, key=lambda name: _share_right(judged[name], fold)) for fold in range(FOLDS)}
    return taken, [judged[taken[label.fold]][i] for i, label in enumerate(labels)]


def _share_right(judged: Sequence[Judged], without: int) -> float:
    # What can't be read is worth as much as a coin here: a judge is not chosen for the few pairs that it can read.
    rights = [0.5 if j.right is None else j.right for j in judged if j.label.fold != without]
    return sum(rights) / len(rights) if rights else 0.0


def _by_prompt(judged: Iterable[Judged]) -> list[list[Judged]]:
    prompts: dict[str, list[Judged]] = {}
    for answer in judged:
        prompts.setdefault(answer.label.prompt.key, []).append(answer)
    return list(prompts.values())


def _accuracy(judged: Iterable[Judged]) -> Figure | None:
    share = Share()
    for answers in _by_prompt(judged):
        for answer in answers:
            if answer.right is not None:
                share.count(answer.right)
        share.end_cluster()
    return share.figure()


def _differences(one: Sequence[Judged], other: Sequence[Judged]) -> list[list[float]]:
    """Return how much better ``one`` does on each pair that both read, prompt by prompt."""
    others = {answer.label.id: answer for answer in other}
    apart = []
    for answers in _by_prompt(one):
        apart.append(
            [
                answer.right - against
                for answer in answers
                if answer.right is not None and (against := others[answer.label.id].right) is not None
            ]
        )
    return apart


def _same_position(judged: Iterable[Judged]) -> Figure | None:
    """How often both orders of one pair favour the same position of the page, whatever stands there."""
    share = Share()
    for answers in _by_prompt(judged):
        for answer in answers:
            _count_positions(answer, share)
        share.end_cluster()
    return share.figure()


def _count_positions(answer: Judged, share: Share) -> None:
    for _, votes in groupby(answer.votes, key=lambda vote: (vote.judge, vote.mode, vote.principle)):
        odds = {vote.order: vote.log_odds for vote in votes}
        given, swapped = odds.get("given"), odds.get("swapped")
        if given is not None and swapped is not None:
            share.count(given * -swapped > 0)
