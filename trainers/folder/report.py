"""``report.html`` of a training run: losses, margins, accuracy, reward against KL, and samples, on one page.

It works without a network; see `critic.pages.page` for what keeps texts from doing anything.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from critic.pages.page import Picture, number, page
from critic.pages.plots import Color, Curves, PlotLine
from critic.pages.scales import Axis, linear, shares, steps
from critic.run.folder.results import replace_text

Logs = Sequence[Mapping[str, Any]]


class Chart(NamedTuple):
    """A picture of some of what is logged, over steps. ``unit`` says what its values are; a share is one of 0 to 1."""

    name: str
    title: str
    caption: str
    unit: str
    keys: tuple[str, ...]


SHARE = "share"
CHARTS = (
    Chart("loss", "Loss", "The mean of the steps since the last point; of held-out examples where there are any.",
          "loss", ("loss", "eval_loss", "loss/policy", "loss/value")),
    Chart("margins", "Margins", "How much higher the chosen answers' rewards are than the rejected ones'.",
          "reward", ("rewards/margins", "eval_rewards/margins")),
    Chart("rewards", "Rewards", "Of chosen and rejected answers. If both fall, the lead grows by making both unlikely.",
          "reward", ("rewards/chosen", "rewards/rejected", "rewards/desirable", "rewards/undesirable",
                     "eval_rewards/chosen", "eval_rewards/rejected")),
    Chart("accuracy", "Accuracy", "How often the chosen answer has the higher reward.",
          SHARE, ("rewards/accuracies", "eval_rewards/accuracies", "eval_accuracy")),
    Chart("reward", "Reward", "The mean of the answers that were written in a step; on held-out prompts both opinions.",
          "reward", ("reward", "eval_reward", "eval_heldout")),
    Chart("kl", "KL to the reference", "How far the policy has moved.", "nats per answer", ("kl",)),
    Chart("entropy", "Entropy", "Near 0, the policy says one thing only.", "nats a token", ("entropy",)),
    Chart("length", "Length", "A steady rise may be a reward that likes length.", "tokens per answer", ("length",)),
    Chart("answers", "Repetition and refusals", "Of runs of four tokens, and of answers.",
          SHARE, ("repetition", "refusals")),
    Chart("seconds", "Seconds a step", "Writing answers, scoring them, and learning from them.",
          "seconds", ("seconds/rollout", "seconds/scoring", "seconds/update")),
    Chart("learning-rate", "Learning rate", "As it was at each point.", "learning rate", ("learning_rate",)),
    Chart("gradient", "Norm of the gradient", "Before it is clipped.", "norm", ("grad_norm",)),
)  # fmt: skip
_AGAINST = Chart("reward-kl", "Reward against KL", "Each point is a step. Reward that costs ever more KL is often a "
                 "flaw of the reward that was found.", "reward", ())  # fmt: skip
_COLORS: tuple[Color, ...] = ("accent", "rejected", "chosen", "muted")


def write_report(lineage: Mapping[str, Any], logs: Logs, samples: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Write ``report.html`` into the model's folder."""
    replace_text(folder / "report.html", report(lineage, logs, samples))


def report(lineage: Mapping[str, Any], logs: Logs, samples: Sequence[Mapping[str, Any]]) -> str:
    """Return the page. ``logs`` are the rows of ``metrics.jsonl``, ``samples`` those of ``samples.jsonl``."""
    return page(
        "trainers",
        "report.html.j2",
        f"Training by {lineage['trainer']}",
        pictures(logs),
        made=lineage,
        tiles=list(_tiles(lineage)),
        charts=[(chart.name, chart.title, chart.caption) for chart in (_AGAINST, *CHARTS)],
        samples=samples,
        logged=bool(logs),
    )


def pictures(logs: Logs) -> dict[str, Picture]:
    """Return the pictures by name; those with nothing to show are left out."""
    made = {chart.name: _over_steps(chart, logs) for chart in CHARTS}
    made[_AGAINST.name] = _reward_against_kl(logs)
    return {name: picture for name, picture in made.items() if picture is not None}


def _tiles(lineage: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield (name, figure, note)."""
    counts, figures = lineage["counts"], lineage["figures"]
    refused = sum(counts["refused"].values())
    yield "examples", f"{counts['examples']:,}", f"{counts['held_out']:,} held out, {refused:,} rows refused"
    yield "steps", f"{lineage['steps']:,}", ""
    for key in ("eval_loss", "loss", "eval_accuracy", "eval_rewards/accuracies", "rewards/margins", "reward", "kl"):
        if key in figures:
            yield key.replace("eval_", "held-out ").replace("/", " "), number(figures[key]), "the last one"


def _over_steps(chart: Chart, logs: Logs) -> Curves | None:
    """Return a quantity's curves; None where each has one point at most, which is no curve."""
    names = list(dict.fromkeys(key.removeprefix("eval_") for key in chart.keys))
    lines = [_line(key, logs, _COLORS[names.index(key.removeprefix("eval_"))]) for key in chart.keys]
    drawn = tuple(line for line in lines if line.points)
    if max((len(line.points) for line in drawn), default=0) < 2:
        return None
    x = steps("step", [step for line in drawn for step, _ in line.points])
    return Curves(drawn, x, _axis(chart, [value for line in drawn for _, value in line.points]))


def _axis(chart: Chart, values: Sequence[float]) -> Axis:
    return shares(SHARE) if chart.unit == SHARE else linear(chart.unit, values)


def _line(key: str, logs: Logs, color: Color) -> PlotLine:
    """Return one quantity's line, of held-out examples dashed and in the same colour."""
    points = tuple((row["step"], row[key]) for row in logs if _is_number(row.get(key)))
    held_out = key.startswith("eval_")
    return PlotLine(f"held-out {key.removeprefix('eval_')}" if held_out else key, points, color, dashed=held_out)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _reward_against_kl(logs: Logs) -> Curves | None:
    points = tuple(
        (row["kl"], row["reward"]) for row in logs if _is_number(row.get("reward")) and _is_number(row.get("kl"))
    )
    if len(points) < 2:
        return None
    x = linear("KL to the reference, nats per answer", [kl for kl, _ in points])
    y = linear("reward", [reward for _, reward in points])
    return Curves((PlotLine("steps", points, "accent"),), x, y)
