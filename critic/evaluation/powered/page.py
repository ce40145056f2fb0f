"""Figures from few human labels as a page."""

from collections.abc import Iterator, Sequence

from critic.evaluation.powered.estimates import AccuracyDifference, Estimate
from critic.pages.page import Picture, page
from critic.pages.scales import shares
from critic.pages.strips import Dot, Series, Strips
from critic.statistics.intervals import Figure

SERIES = (
    Series("people and the judge", "accent"),
    Series("people alone", "muted"),
    Series("Rogan and Gladen", "muted", diamond=True),
)


def title(what: str, of: str, group: str | None) -> str:
    """Name a figure as people read it."""
    return f"{what} of {of}" + (f", by {group}" if group else "")


def powered_page(figures: Sequence[Estimate], differences: Sequence[AccuracyDifference], notes: Sequence[str]) -> str:
    """Return the page of the figures."""
    rows = [_row(one) for one in figures]
    alarms = [f"{_name(one)}: {one.why_not['powered']}" for one in figures if "powered" in one.why_not]
    return page(
        "critic.evaluation.powered",
        "powered.html.j2",
        "Few human labels, many of a judge's",
        _pictures(figures),
        tiles=list(_tiles(figures)),
        rows=rows,
        alarms=alarms,
        is_routed=any(one.is_routed for one in figures),
        differences=differences,
        notes=notes,
    )


def _name(one: Estimate) -> str:
    return title(one.what, one.of, one.group)


def _tiles(figures: Sequence[Estimate]) -> Iterator[tuple[str, str, str]]:
    for one in figures:
        if one.powered is not None:
            yield _name(one), f"{100 * one.powered.estimate:.0f} %", _limits(one.powered)


def _limits(figure: Figure) -> str:
    return f"{100 * figure.low:.0f} to {100 * figure.high:.0f} %"


def _pictures(figures: Sequence[Estimate]) -> dict[str, Picture]:
    """One picture a kind of figure: a win rate and an accuracy are two things."""
    drawn: dict[str, Picture] = {}
    for what, text in (("win rate", "share of items that people prefer it on"), ("accuracy", "share of items")):
        own = [one for one in figures if one.what == what and one.powered is not None]
        if own:
            rows = [(_named(one), (_dot(one.powered), _dot(one.human), _dot(one.screened))) for one in own]
            # A series that has no dot at all would only stand in the legend.
            by_series = zip(*(dots for _, dots in rows), strict=True)
            kept = [place for place, dots in enumerate(by_series) if any(dots)]
            shown = tuple((name, _only(dots, kept)) for name, dots in rows)
            drawn[what] = Strips(shown, tuple(SERIES[place] for place in kept), shares(text), 0.5)
    return drawn


def _only(dots: Sequence[Dot | None], kept: Sequence[int]) -> tuple[Dot | None, ...]:
    return tuple(dots[place] for place in kept)


def _named(one: Estimate) -> str:
    return one.of + (f", by {one.group}" if one.group else "")


def _dot(figure: Figure | None) -> Dot | None:
    return None if figure is None else Dot(figure.estimate, figure.low, figure.high, figure.n)


def _row(one: Estimate) -> dict[str, str]:
    return {
        "name": _name(one),
        "both": _cell(one.powered),
        "alone": _cell(one.human),
        "screened": _cell(one.screened),
        "judge": "-" if one.judge is None else f"{one.judge:.2f}",
        "saved": "-" if one.saved is None else f"{max(0.0, one.saved):.0%}",
        "labelled": f"{one.labelled:,}",
        "judged": f"{one.judged:,}",
    }


def _cell(figure: Figure | None) -> str:
    return "-" if figure is None else f"{figure.estimate:.2f} ({figure.low:.2f} to {figure.high:.2f})"
