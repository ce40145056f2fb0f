"""People's agreement as a page."""

from collections.abc import Iterator, Mapping
from typing import Any

from critic.evaluation.agreement.figures import AgreementFigures, AnnotatorFigures
from critic.pages.page import Picture, page
from critic.pages.scales import linear, shares
from critic.pages.strips import Bars, Dot, Series, Strips
from critic.statistics.intervals import Figure, few
from critic.statistics.prediction.verdicts import Verdict
from critic.statistics.reliability.coefficient import FEWEST

MOST_DRAWN = 60  # annotators with a line of their own; the table has all

LOUD: frozenset[str] = frozenset({"people differ, keep the share"})


def agreement_page(name: str, figures: Mapping[str | None, AgreementFigures]) -> str:
    """Return the page of the labels in the file ``name``, with a part for each group of people."""
    drawn: dict[str, Picture] = {}
    parts = []
    for number, (group, its) in enumerate(figures.items()):
        drawn |= {f"{name} {number}": picture for name, picture in _pictures(its).items()}
        parts.append(_part(group, its, number))
    return page(
        "critic.evaluation.agreement",
        "agreement.html.j2",
        f"Agreement of people on {name}",
        drawn,
        parts=parts,
        kind=next(iter(figures.values())).kind,
    )


def _part(group: str | None, figures: AgreementFigures, number: int) -> dict[str, Any]:
    notes = [note for note in (few(figures.prompts, "prompt"), *figures.alarms) if note]
    return {
        "number": number,
        "of": group or "people of no group",
        "figures": figures,
        "tiles": list(_tiles(figures)),
        "notes": notes,
        "models": list(_models(figures)),
        "annotators": [_row(one) for one in sorted(figures.annotators, key=lambda one: -one.labels)],
    }


def _models(figures: AgreementFigures) -> Iterator[tuple[str, str, str, str]]:
    if figures.models is not None:
        for name, one in sorted(figures.models.strengths.items(), key=lambda named: -named[1].estimate):
            limits = f"{one.low:+z.0f} to {one.high:+z.0f}"
            yield name, f"{one.estimate:+z.0f} ({limits})", f"{figures.models.weighed[name]:+z.0f}", f"{one.n:,}"


def _tiles(figures: AgreementFigures) -> Iterator[tuple[str, str, str]]:
    yield "labels", f"{figures.labels:,}", f"{figures.units:,} units, {figures.prompts:,} prompts"
    yield "people", f"{len(figures.annotators):,}", figures.kind
    if figures.agreement is not None:
        value = figures.agreement
        limits = f"{100 * value.low:.0f} to {100 * value.high:.0f} %"
        yield "equal pairs of labels", f"{100 * value.estimate:.0f} %", limits
    for name, value in figures.coefficients.items():
        limits = f"{value.low:.3f} to {value.high:.3f}"
        yield name, f"{value.estimate:.3f}", limits if value.clusters >= FEWEST else f"fewer than {FEWEST} prompts"


def _pictures(figures: AgreementFigures) -> dict[str, Picture]:
    drawn: dict[str, Picture] = {}
    if figures.coefficients:
        low = min(value.low for value in figures.coefficients.values())
        rows = tuple((name, (_dot(value),)) for name, value in figures.coefficients.items())
        axis = linear("agreement beyond chance", (min(0.0, low), 1.0))
        drawn["coefficients"] = Strips(rows, (Series("coefficient", "accent"),), axis, 0.0)
    people = [(one.name, one.agreement) for one in _with_most(figures) if one.agreement is not None]
    if people:
        ordered = sorted(people, key=lambda named: -named[1].estimate)
        lines = tuple((name, (_dot(value),)) for name, value in ordered)
        drawn["people"] = Strips(lines, (Series("agreement", "accent"),), shares("others' labels that are equal"))
    if figures.verdicts:
        drawn["verdicts"] = Bars(tuple((verdict, figures.verdicts[verdict]) for verdict in _ordered(figures)), LOUD)
    return drawn


def _with_most(figures: AgreementFigures) -> list[AnnotatorFigures]:
    return sorted(figures.annotators, key=lambda one: -one.labels)[:MOST_DRAWN]


def _ordered(figures: AgreementFigures) -> list[Verdict]:
    return sorted(figures.verdicts, key=lambda verdict: -figures.verdicts[verdict])


def _dot(figure: Figure | None) -> Dot | None:
    return None if figure is None else Dot(figure.estimate, figure.low, figure.high, figure.n)


def _with_limits(figure: Figure | None) -> str:
    return "-" if figure is None else f"{figure.estimate:.2f} ({figure.low:.2f} to {figure.high:.2f})"


def _row(one: AnnotatorFigures) -> dict[str, str]:
    return {
        "name": one.name,
        "group": one.group or "-",
        "labels": f"{one.labels:,}",
        "agreement": "-" if one.agreement is None else f"{one.agreement.estimate:.2f}",
        "accuracy": _with_limits(one.accuracy),
        "kappa": "-" if one.informed.kappa is None else f"{one.informed.kappa.estimate:.2f}",
        "gold": "-" if one.gold is None else f"{one.gold.estimate:.2f} of {one.gold.n}",
        "drift": "-" if one.drift is None else f"{one.drift.difference.estimate:+.2f}",
        "fatigue": "-" if one.fatigue is None else f"{one.fatigue.difference.estimate:+.2f}",
    }
