"""The pictures of a run's report."""

from critic.pages.heat import HeatMap
from critic.pages.page import Picture
from critic.pages.plots import Color, Curves, Histogram, PlotLine
from critic.pages.scales import linear, logarithmic, shares
from critic.pages.strips import Bars, Dot, Series, Strips
from critic.run.folder.results import Results
from critic.statistics.intervals import Figure
from critic.statistics.run import BINS, LENGTH_EDGES, Lengths, RunStatistics

MOST_PRINCIPLES = 60  # that the picture of positions has a line for; the table below it has all


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


def _probabilities(statistics: RunStatistics) -> Histogram | None:
    counts = tuple(statistics.probabilities)
    if not any(counts):
        return None
    width = 1 / (BINS - 1)
    return Histogram(
        centres=tuple(round(i * width, 4) for i in range(BINS)),
        counts=counts,
        width=width,
        x=linear("probability that the first answer is better", (0.0, 1.0)),
        y=linear("comparisons", counts, whole=True, zero=True),
        middle=0.5,
    )


def _lengths(statistics: RunStatistics) -> Curves | None:
    if not statistics.pairs:
        return None
    sides: tuple[tuple[str, Lengths, Color], ...] = (
        ("chosen", statistics.chosen, "chosen"),
        ("rejected", statistics.rejected, "rejected"),
    )
    filled = [i for _, lengths, _ in sides for i, count in enumerate(lengths.bins) if count]
    first, last = max(0, min(filled) - 1), min(len(LENGTH_EDGES), max(filled) + 2)
    edges = (1, *LENGTH_EDGES)[first : last + 1]

    def line(name: str, lengths: Lengths, color: Color) -> PlotLine:
        counts = lengths.bins[first : last + 1]
        return PlotLine(name, tuple(zip(edges, counts, strict=True)), color, dashed=name == "rejected")

    return Curves(
        lines=tuple(line(*side) for side in sides),
        x=logarithmic("characters", edges[0], edges[-1]),
        y=linear("pairs", statistics.chosen.bins + statistics.rejected.bins, whole=True, zero=True),
        stepped=True,
    )


def _positions(statistics: RunStatistics) -> Strips | None:
    observed = {
        name: (principle.first_lean.figure(), principle.same_position.figure())
        for name, principle in statistics.principles.items()
    }
    names = [name for name, (lean, same) in observed.items() if lean or same]
    if not names:
        return None
    # Those that are farthest from fair are kept where there are too many, and then the highest comes first.
    names.sort(key=lambda name: -abs(_estimate(observed[name][0]) - 0.5))
    names = sorted(names[:MOST_PRINCIPLES], key=lambda name: -_estimate(observed[name][0]))
    return Strips(
        rows=tuple((name, (_dot(observed[name][0]), _dot(observed[name][1]))) for name in names),
        series=(
            Series("favours the first position", "accent"),
            Series("same position in both orders", "rejected", diamond=True),
        ),
        axis=shares("share of votes"),
        middle=0.5,
    )


def _estimate(figure: Figure | None) -> float:
    return 0.5 if figure is None else figure.estimate


def _dot(figure: Figure | None) -> Dot | None:
    return None if figure is None else Dot(figure.estimate, figure.low, figure.high, figure.n)


def _agreement(statistics: RunStatistics) -> HeatMap | None:
    agreement = statistics.agreement
    counts = agreement.counts().tolist()
    if len(agreement.principles) < 2 or not any(map(any, counts)):
        return None
    return HeatMap.of(agreement.principles, agreement.shares().tolist(), counts)


def _dropped(results: Results) -> Bars | None:
    lost = {f"{what}: {reason}": count for (what, reason), count in results.statistics.drops.items()}
    refused = {f"quarantined: {reason}": count for reason, count in results.quarantined.items()}
    lost |= refused
    if not lost:
        return None
    return Bars(tuple(sorted(lost.items(), key=lambda item: (-item[1], item[0]))), frozenset(refused))
