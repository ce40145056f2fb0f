"""``report.html`` of a training run: losses, margins, accuracy, reward against KL, and samples, on one page.

It works without a network; see `critic.run.page` for what keeps texts from doing anything.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from critic.run.figures import Picture
from critic.run.page import number, page
from critic.run.results import replace_text

Logs = Sequence[Mapping[str, Any]]


class Chart(NamedTuple):
    """A picture of some of what is logged, over steps."""

    name: str
    title: str
    caption: str
    keys: tuple[str, ...]


CHARTS = (
    Chart("loss", "Loss", "The mean of the steps since the last point; of held-out examples where there are any.",
          ("loss", "eval_loss", "loss/policy", "loss/value")),
    Chart("margins", "Margins", "How much higher the chosen answers' rewards are than the rejected ones'.",
          ("rewards/margins", "eval_rewards/margins")),
    Chart("rewards", "Rewards", "Of chosen and rejected answers. If both fall, the lead grows by making both unlikely.",
          ("rewards/chosen", "rewards/rejected", "rewards/desirable", "rewards/undesirable",
           "eval_rewards/chosen", "eval_rewards/rejected")),
    Chart("accuracy", "Accuracy", "How often the chosen answer has the higher reward.",
          ("rewards/accuracies", "eval_rewards/accuracies", "eval_accuracy")),
    Chart("reward", "Reward", "The mean of the answers that were written in a step; on held-out prompts both opinions.",
          ("reward", "eval_reward", "eval_heldout")),
    Chart("kl", "KL to the reference", "Nats an answer; how far the policy has moved.", ("kl",)),
    Chart("entropy", "Entropy", "Nats a token. Near 0, the policy says one thing only.", ("entropy",)),
    Chart("length", "Length", "Tokens an answer. A steady rise may be a reward that likes length.", ("length",)),
    Chart("answers", "Repetition and refusals", "Shares: of runs of four tokens that repeat, of answers that refuse.",
          ("repetition", "refusals")),
    Chart("seconds", "Seconds a step", "Writing answers, scoring them, and learning from them.",
          ("seconds/rollout", "seconds/scoring", "seconds/update")),
    Chart("learning-rate", "Learning rate", "As it was at each point.", ("learning_rate",)),
    Chart("gradient", "Norm of the gradient", "Before it is clipped.", ("grad_norm",)),
)  # fmt: skip
_AGAINST = Chart("reward-kl", "Reward against KL", "Each point is a step. Reward that costs ever more KL is often a "
                 "flaw of the reward that was found.", ())  # fmt: skip
_COLORS = ("var:chosen", "var:rejected", "var:accent", "var:muted")


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


def _over_steps(chart: Chart, logs: Logs) -> Picture | None:
    names = list(dict.fromkeys(key.removeprefix("eval_") for key in chart.keys))
    lines = [line for key in chart.keys if (line := _line(key, logs, names.index(key.removeprefix("eval_"))))]
    if not lines:
        return None
    return {
        "data": lines,
        "layout": {
            "height": 260,
            "xaxis": {"title": {"text": "step"}},
            "yaxis": {"exponentformat": "power"},
            "showlegend": len(lines) > 1,
        },
    }


def _line(key: str, logs: Logs, number: int) -> Picture | None:
    """Return one quantity's line, of held-out examples dashed and in the same colour."""
    points = [(row["step"], row[key]) for row in logs if row.get(key) is not None]
    if not points:
        return None
    return {
        "type": "scatter",
        "mode": "lines+markers" if len(points) < 40 else "lines",
        "name": key,
        "x": [step for step, _ in points],
        "y": [value for _, value in points],
        "line": {"color": _COLORS[number], "width": 2, "dash": "dot" if key.startswith("eval_") else "solid"},
        "hovertemplate": f"step %{{x}}: %{{y:.4g}}<extra>{key}</extra>",
    }


def _reward_against_kl(logs: Logs) -> Picture | None:
    points = [row for row in logs if row.get("reward") is not None and row.get("kl") is not None]
    if not points:
        return None
    dots = {
        "type": "scatter",
        "mode": "lines+markers",
        "x": [row["kl"] for row in points],
        "y": [row["reward"] for row in points],
        "customdata": [row["step"] for row in points],
        "line": {"color": "var:line", "width": 1},
        "marker": {"color": "var:accent", "size": 7},
        "hovertemplate": "step %{customdata}: KL %{x:.3g}, reward %{y:.3g}<extra></extra>",
    }
    axes = {"xaxis": {"title": {"text": "KL to the reference"}}, "yaxis": {"title": {"text": "reward"}}}
    return {"data": [dots], "layout": {"height": 320, **axes}}
