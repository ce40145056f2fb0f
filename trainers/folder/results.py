"""The files that a run leaves beside its model: refused rows, then settings, card and report, and last its lineage."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from json import dumps
from pathlib import Path
from typing import Any, Self

import yaml

from critic.records import Quarantined
from critic.run.folder.results import replace_text
from trainers.config import TrainConfig
from trainers.folder import metrics
from trainers.folder.card import Made, write_card
from trainers.folder.identity import LINEAGE, lineage, resolved
from trainers.folder.report import write_report

CONFIG, REFUSED = "config.yaml", "refused.jsonl"
_BOOKKEEPING = {"step", "epoch", "learning_rate", "grad_norm", "total_flos"}


@dataclass(frozen=True, slots=True)
class TrainingCounts:
    """What a run trains on: examples, those held out, and how many rows were refused for which reason.

    ``thoughts`` counts the rows that also say what a model thought, which is left out.
    """

    examples: int
    held_out: int
    refused: Mapping[str, int]
    thoughts: int = 0


@dataclass(frozen=True, slots=True)
class Trained:
    """What a run came to. ``new`` is False where it had been finished before."""

    folder: Path
    counts: TrainingCounts
    figures: Mapping[str, float]
    steps: int
    new: bool

    @classmethod
    def of(cls, folder: Path, card: Mapping[str, Any], *, new: bool) -> Self:
        """Read it off `facts`, which ``lineage.json`` holds too."""
        return cls(folder, TrainingCounts(**card["counts"]), card["figures"], card["steps"], new)


def write_refused(folder: Path, rows: Iterable[Quarantined]) -> None:
    """Write ``refused.jsonl``: the rows that are not trained on, each with its reason."""
    replace_text(folder / REFUSED, "".join(row.model_dump_json() + "\n" for row in rows))


def facts(counts: TrainingCounts, figures: Mapping[str, float], steps: int) -> dict[str, Any]:
    """Return what a run came to, as plain JSON."""
    return {"counts": asdict(counts), "figures": dict(figures), "steps": steps}


def figures(folder: Path) -> dict[str, float]:
    """Return the last value of all that the run in ``folder`` has logged about what it learns."""
    latest: dict[str, float] = {}
    for row in metrics.read(folder):
        latest |= {key: value for key, value in row.items() if isinstance(value, int | float)}
    return {key: v for key, v in latest.items() if key not in _BOOKKEEPING and not key.startswith("train_")}


def write(
    made: Made,
    config: TrainConfig,
    run: Mapping[str, Any],
    constitutions: Sequence[str],
    facts: Mapping[str, Any],
    samples: Sequence[Mapping[str, Any]],
    others: Sequence[str] = (),
) -> None:
    """Write all of them into the run's folder, where the model lies already.

    ``made`` is what the card says of the method. ``run`` is its `trainers.folder.identity.identity`, ``facts`` its
    `facts`; ``others`` name the folders of further models that taught it.
    """
    folder = Path(config.output_dir or "")
    origin = lineage(run, constitutions, facts, others)
    replace_text(folder / CONFIG, yaml.safe_dump(resolved(config), sort_keys=False, allow_unicode=True))
    write_card(origin, made, folder)
    write_report(origin, metrics.read(folder), samples, folder)
    (folder / "training_args.bin").unlink(missing_ok=True)  # a pickle of what config.yaml says
    replace_text(folder / LINEAGE, dumps(origin, indent=2) + "\n")
