"""``report.json`` and ``report.html`` of a chain: what the policy said before and after, and what the judge thinks."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from critic.run.figures import Picture
from critic.run.page import page
from critic.run.results import replace_text
from service.align.request import AlignRequest

SHOWN = 8  # prompts


def write_report(request: AlignRequest, found: Mapping[str, Any], out: Path) -> None:
    """Write the page, and then the figures, which tell that the chain is finished."""
    replace_text(out / "report.html", report(request, found))
    replace_text(out / "report.json", json.dumps(found, indent=2, allow_nan=False) + "\n")


def report(request: AlignRequest, found: Mapping[str, Any]) -> str:
    """Return the page of what `service.align.evaluate.evaluate` found."""
    samples = [
        {"prompt": row["prompt"], "before": row["before"][0], "after": row["after"][0]} for row in found["answers"]
    ]
    return page(
        "service.align",
        "report.html.j2",
        f"Before and after, under {found['constitution']}",
        _pictures(found),
        request=request,
        found=found,
        tiles=list(_tiles(found)),
        samples=samples[:SHOWN],
        stages=[(name, _stage(values)) for name, values in found["stages"].items()],
    )


def figures(found: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the shares that were found, by name, each an estimate with its interval."""
    for side in ("before", "after"):
        if found[side].get("verified"):
            yield f"verified {side}", found[side]["verified"]
    if found["win_rate"]:
        yield "win rate", found["win_rate"]


def _tiles(found: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for name, share in figures(found):
        low, high = 100 * share["low"], 100 * share["high"]
        yield name, f"{100 * share['estimate']:.0f} %", f"{low:.0f} to {high:.0f} %"
    for side in ("before", "after"):
        if words := found[side]["words"]:
            yield f"words {side}", f"{words['estimate']:.0f}", f"{found[side]['unanswered']} without an answer"


def _pictures(found: Mapping[str, Any]) -> dict[str, Picture]:
    shares = dict(figures(found))
    words = {side: found[side]["words"] for side in ("before", "after") if found[side]["words"]}
    half = {"type": "line", "x0": 0.5, "x1": 0.5, "yref": "paper", "y0": 0, "y1": 1,
            "line": {"color": "var:muted", "width": 1, "dash": "dot"}}  # fmt: skip
    return {
        "shares": _dots(shares, {"range": [-0.02, 1.02], "tickformat": ".0%"}, [half]),
        "words": _dots(words, {"rangemode": "tozero"}, []),
    }


def _dots(named: Mapping[str, Mapping[str, Any]], axis: dict[str, Any], shapes: list[Picture]) -> Picture:
    names = list(named)[::-1]
    spread = {
        "type": "data",
        "array": [named[name]["high"] - named[name]["estimate"] for name in names],
        "arrayminus": [named[name]["estimate"] - named[name]["low"] for name in names],
        "color": "var:accent",
        "thickness": 2,
        "width": 0,
    }
    dots = {
        "type": "scatter",
        "mode": "markers",
        "y": names,
        "x": [named[name]["estimate"] for name in names],
        "error_x": spread,
        "marker": {"color": "var:accent", "size": 11},
        "hovertemplate": "%{y}: %{x:.3g}<extra></extra>",
    }
    yaxis = {"automargin": True, "type": "category"}
    return {
        "data": [dots],
        "layout": {"height": 100 + 40 * len(names), "xaxis": axis, "yaxis": yaxis, "shapes": shapes},
    }


def _stage(values: Mapping[str, Any]) -> str:
    if "skipped" in values:
        return f"skipped: {values['skipped']}"
    return ", ".join(f"{value:,} {key}" for key, value in values.items() if isinstance(value, int))
