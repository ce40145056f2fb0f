"""The report's pictures, as plain data that plotly.js draws. Colours are names (``var:...``) that the page resolves.

So they follow the page's light or dark scheme, and no plotting library is loaded to write a report.
"""

import math
from collections.abc import Iterable
from typing import Any

from critic.run.results import Results
from critic.statistics.intervals import Figure
from critic.statistics.run import BINS, LENGTH_EDGES, Lengths, RunStatistics

TICKS = [count * 10**power for power in range(7) for count in (1, 3)]  # of lengths

Picture = dict[str, Any]


def figures(results: Results) -> dict[str, Picture]:
    """Return the pictures by name; those with nothing to show are left out."""
    made = {
        "probabilities": _probabilities(results.statistics),
        "lengths": _lengths(results.statistics),
        "positions": _positions(results.statistics),
        "agreement": _agreement(results.statistics),
        "dropped": _dropped(results),
    }
    return {name: picture for name, picture in made.items() if picture is not None}


def _probabilities(statistics: RunStatistics) -> Picture | None:
    if not any(statistics.probabilities):
        return None
    width = 1 / (BINS - 1)
    centres = [round(i * width, 4) for i in range(BINS)]
    bars = {
        "type": "bar",
        "x": centres,
        "y": statistics.probabilities,
        "width": width,
        "marker": {"color": "var:accent", "line": {"color": "var:surface", "width": 1}},
        "customdata": [f"{max(0, c - width / 2):.3f} to {min(1, c + width / 2):.3f}" for c in centres],
        "hovertemplate": "%{customdata}: %{y}<extra></extra>",
    }
    half = {"type": "line", "x0": 0.5, "x1": 0.5, "yref": "paper", "y0": 0, "y1": 1, "line": _dotted()}
    return {
        "data": [bars],
        "layout": {
            "height": 300,
            "xaxis": {"range": [-0.03, 1.03], "title": {"text": "probability that the first answer is better"}},
            "yaxis": {"title": {"text": "comparisons"}, **_whole(statistics.probabilities)},
            "shapes": [half],
        },
    }


def _lengths(statistics: RunStatistics) -> Picture | None:
    if not statistics.pairs:
        return None
    sides = (("chosen", statistics.chosen, "var:chosen"), ("rejected", statistics.rejected, "var:rejected"))
    filled = [i for _, lengths, _ in sides for i, count in enumerate(lengths.bins) if count]
    first, last = max(0, min(filled) - 1), min(len(LENGTH_EDGES), max(filled) + 2)
    return {
        "data": [_steps(name, lengths, color, first, last) for name, lengths, color in sides],
        "layout": {
            "height": 300,
            "xaxis": {"type": "log", "title": {"text": "characters"}, "tickvals": TICKS, "tickformat": "~s"},
            "yaxis": {"title": {"text": "pairs"}, **_whole(statistics.chosen.bins + statistics.rejected.bins)},
            "showlegend": True,
        },
    }


def _steps(name: str, lengths: Lengths, color: str, first: int, last: int) -> Picture:
    edges = (1, *LENGTH_EDGES)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": edges[first : last + 1],
        "y": lengths.bins[first : last + 1],
        "line": {"shape": "hv", "color": color, "width": 2},
        "fill": "tozeroy",
        "opacity": 0.9,
        "hovertemplate": f"{name}, from %{{x}} characters: %{{y}}<extra></extra>",
    }


def _positions(statistics: RunStatistics) -> Picture | None:
    found = {
        name: (principle.first_lean.figure(), principle.same_position.figure())
        for name, principle in statistics.principles.items()
    }
    names = [name for name, (lean, same) in found.items() if lean or same]
    if not names:
        return None
    names.sort(key=lambda name: (found[name][0] or Figure(0.5, 0, 0, 0, 0)).estimate)
    half = {"type": "line", "x0": 0.5, "x1": 0.5, "yref": "paper", "y0": 0, "y1": 1, "line": _dotted()}
    return {
        "data": [
            _dots("favours the first position", names, [found[n][0] for n in names], "var:accent", "circle"),
            _dots("same position in both orders", names, [found[n][1] for n in names], "var:rejected", "diamond-open"),
        ],
        "layout": {
            "height": 110 + 26 * len(names),
            "xaxis": {"range": [-0.02, 1.02], "tickformat": ".0%"},
            "yaxis": {"automargin": True, "type": "category"},
            "shapes": [half],
            "showlegend": True,
        },
    }


def _dots(label: str, names: list[str], shares: list[Figure | None], color: str, symbol: str) -> Picture:
    known = [(name, share) for name, share in zip(names, shares, strict=True) if share is not None]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": label,
        "y": [name for name, _ in known],
        "x": [share.estimate for _, share in known],
        "error_x": {
            "type": "data",
            "array": [share.high - share.estimate for _, share in known],
            "arrayminus": [share.estimate - share.low for _, share in known],
            "color": color,
            "thickness": 1,
            "width": 0,
        },
        "marker": {"color": color, "symbol": symbol, "size": 9},
        "customdata": [share.n for _, share in known],
        "hovertemplate": "%{y}: %{x:.0%} (n = %{customdata})<extra>" + label + "</extra>",
    }


def _agreement(statistics: RunStatistics) -> Picture | None:
    names = statistics.agreement.principles
    shares, counts = statistics.agreement.shares().tolist(), statistics.agreement.counts().tolist()
    if len(names) < 2 or not any(map(any, counts)):
        return None
    heat = {
        "type": "heatmap",
        "x": names,
        "y": names,
        "z": [[None if math.isnan(share) else share for share in line] for line in shares],
        "customdata": counts,
        "zmin": 0,
        "zmax": 1,
        "colorscale": [[0, "var:rejected"], [0.5, "var:neutral"], [1, "var:accent"]],
        "colorbar": {"tickformat": ".0%", "thickness": 12, "outlinewidth": 0},
        "xgap": 1,
        "ygap": 1,
        "hovertemplate": "%{y} and %{x}: %{z:.0%} of %{customdata} comparisons<extra></extra>",
    }
    if len(names) <= 16:
        heat |= {"texttemplate": "%{z:.0%}", "textfont": {"size": 10}}
    return {
        "data": [heat],
        "layout": {
            "height": 200 + 26 * len(names),
            "xaxis": {"automargin": True, "tickangle": -45, "type": "category", "showgrid": False},
            "yaxis": {"automargin": True, "autorange": "reversed", "type": "category", "showgrid": False},
        },
    }


def _dropped(results: Results) -> Picture | None:
    lost = {f"{what}: {reason}": count for (what, reason), count in results.statistics.drops.items()}
    lost |= {f"quarantined: {reason}": count for reason, count in results.quarantined.items()}
    if not lost:
        return None
    ordered = sorted(lost, key=lambda name: lost[name])
    bars = {
        "type": "bar",
        "orientation": "h",
        "y": ordered,
        "x": [lost[name] for name in ordered],
        "text": [f"{lost[name]:,}" for name in ordered],
        "textposition": "auto",
        "marker": {"color": ["var:rejected" if name.startswith("quar") else "var:muted" for name in ordered]},
        "hovertemplate": "%{y}: %{x}<extra></extra>",
    }
    axis = {"automargin": True, "type": "category"}
    return {
        "data": [bars],
        "layout": {"height": 90 + 30 * len(ordered), "xaxis": _whole(lost.values()), "yaxis": axis, "bargap": 0.35},
    }


def _whole(counts: Iterable[int]) -> dict[str, Any]:
    """Settings of an axis of counts: no half ones between small numbers."""
    return {"dtick": 1} if max(counts) < 8 else {}


def _dotted() -> dict[str, Any]:
    return {"color": "var:muted", "width": 1, "dash": "dot"}
