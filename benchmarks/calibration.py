"""What a map fitted on 200 of people's labels mends on the rest: calibration error before and after, with intervals.

``python -m benchmarks.calibration`` takes judges that need no model, so that it runs in seconds: one that prefers the
shorter answer, more surely the shorter it is (HH harmless), and one person who is taken at their word, where another
decides (PandaLM). Five seeds choose the 200. Intervals are of the first seed; prompts are the clusters.
"""

import json
import math
from dataclasses import dataclass

import numpy as np

from benchmarks import data
from critic.statistics.intervals import Figure
from critic.statistics.judges.calibration_error import calibration_error
from critic.statistics.judges.maps import Isotonic, Temperature, isotonic, mended, temperature
from critic.statistics.reliability.ratings import Floats

SEEDS, LABELS = 5, 200
TIMES = 2.0  # log-odds for a response that is e times as short
SURE = 0.97  # what a person's word is taken for


@dataclass(frozen=True, slots=True, eq=False)
class JudgedPairs:
    """Pairs: the judge's probabilities of the first response, people's shares (both (n,)), and the prompts."""

    judge: Floats
    people: Floats
    prompts: tuple[str, ...]


def shorter() -> JudgedPairs:
    """HH harmless, by length alone; either response stands first in half of the pairs."""
    labels, _ = data.harmless(data.data_folder())
    is_first = np.random.default_rng(0).random(len(labels)) < 0.5
    lead = [math.log(len(label.worse) / len(label.better)) for label in labels]
    odds = TIMES * np.where(is_first, lead, np.negative(lead))
    prompts = tuple(label.prompt.messages[0].content for label in labels)
    return JudgedPairs(1 / (1 + np.exp(-odds)), is_first.astype(float), prompts)


def person() -> JudgedPairs:
    """PandaLM, the first annotator for a judge, the third for the people."""
    rows = json.loads((data.data_folder() / "pandalm" / "testset-v1.json").read_text(encoding="utf-8"))
    said = np.array([0.5, SURE, 1 - SURE])[[row["annotator1"] for row in rows]]
    people = np.array([0.5, 1.0, 0.0])[[row["annotator3"] for row in rows]]
    return JudgedPairs(said, people, tuple(f"{row['instruction']}\n{row['input']}" for row in rows))


def errors(judged: JudgedPairs, seed: int) -> dict[str, Figure]:
    """Return the calibration error on all but 200 pairs: before, and after each map that was fitted on those."""
    order = np.random.default_rng(seed).permutation(judged.judge.size)
    fitting, rest = order[:LABELS], order[LABELS:]
    prompts = [judged.prompts[place] for place in rest]
    f, y = judged.judge[fitting], judged.people[fitting]
    after: dict[str, Temperature | Isotonic] = {"temperature": temperature(f, y), "isotonic": isotonic(f, y)}
    by_way = {"before": judged.judge[rest]}
    by_way |= {name: mended(map, judged.judge[rest]) for name, map in after.items()}
    errors_by_way = {name: calibration_error(values, judged.people[rest], prompts) for name, values in by_way.items()}
    return {name: figure for name, figure in errors_by_way.items() if figure is not None}


def main() -> None:
    """Print the table."""
    print(f"| judge | | calibration error of the rest | of {SEEDS} seeds |\n|---|---|---:|---:|")
    for name, judged in {"the shorter, HH harmless": shorter(), "a person, PandaLM": person()}.items():
        of_seeds = [errors(judged, seed) for seed in range(SEEDS)]
        for way, figure in of_seeds[0].items():
            all_of_it = [one[way].estimate for one in of_seeds]
            interval = f"{figure.estimate:.3f} ({figure.low:.3f} to {figure.high:.3f})"
            print(f"| {name} | {way} | {interval} | {min(all_of_it):.3f} to {max(all_of_it):.3f} |")


if __name__ == "__main__":
    main()
