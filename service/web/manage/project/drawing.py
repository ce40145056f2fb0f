"""A project's figures as pictures, which `critic.pages` draws, and their numbers as rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from critic.pages.heat import HeatMap
from critic.pages.page import Picture
from critic.pages.scales import shares
from critic.pages.strips import Dot, Series, Strips
from service.answers.agreement import ProjectAgreement, ShareFigure
from service.review.agreement.figures import Figures
from service.review.agreement.judges import GroupPair, JudgeFigures
from service.web.rendering import texts

MOST_NAMED = 40  # raters in one picture, those with the most labels

Names = Mapping[str, str]
Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class DrawnPicture:
    """A picture and the numbers in it."""

    picture: Picture
    rows: Rows


def agreement(agreement: ProjectAgreement, figures: Figures) -> DrawnPicture | None:
    """Agreement of people, and of each judge with people beside that of people among themselves."""
    rows: list[tuple[str, tuple[Dot | None, ...]]] = []
    for group in agreement.groups:
        if group.people.agreement is not None:
            rows.append((_all_items(group.group), (None, _dot(group.people.agreement))))
    rows += [(_beside(one), (_dot(one.with_people), _dot(one.among_people))) for one in figures.judges]
    if not rows:
        return None
    series = (Series(said("manage.with_people"), "accent"), Series(said("manage.among_people"), "chosen", diamond=True))
    numbers = [one.model_dump() for one in figures.judges]
    return DrawnPicture(Strips(tuple(rows), series, shares(said("manage.drawn.equal"))), numbers)


def _all_items(group: str | None) -> str:
    if group is None:
        return said("manage.drawn.all_items")
    return said("manage.drawn.all_items_of", group=group)


def _beside(one: JudgeFigures) -> str:
    return one.judge if one.group is None else said("manage.drawn.beside", judge=one.judge, group=one.group)


def leans(agreement: ProjectAgreement, names: Names) -> DrawnPicture | None:
    """How often each rater prefers what was shown first, and what is longer."""
    shown = [rater for rater in agreement.raters if rater.first_lean or rater.longer_lean]
    shown = sorted(shown, key=lambda rater: -rater.labels)[:MOST_NAMED]
    if not shown:
        return None
    rows = tuple(
        (_called(rater.annotator, names), (_dot(rater.first_lean), _dot(rater.longer_lean))) for rater in shown
    )
    series = (
        Series(said("manage.drawn.first"), "accent"),
        Series(said("manage.drawn.longer"), "rejected", diamond=True),
    )
    numbers = [
        {"rater": rater.annotator, "first": _numbers(rater.first_lean), "longer": _numbers(rater.longer_lean)}
        for rater in shown
    ]
    return DrawnPicture(Strips(rows, series, shares(said("manage.drawn.preferred")), middle=0.5), numbers)


def with_others(agreement: ProjectAgreement, names: Names) -> DrawnPicture | None:
    """How often each rater agrees with people other than themselves."""
    shown = [rater for rater in agreement.raters if rater.agreement is not None]
    shown = sorted(shown, key=lambda rater: -rater.labels)[:MOST_NAMED]
    if not shown:
        return None
    rows = tuple(
        (
            _called(rater.annotator, names),
            (
                _dot(rater.agreement) if rater.source == "human" else None,
                _dot(rater.agreement) if rater.source == "ai" else None,
            ),
        )
        for rater in shown
    )
    series = (Series(said("manage.drawn.person"), "chosen"), Series(said("manage.drawn.judge"), "accent", diamond=True))
    numbers = [
        {"rater": rater.annotator, "source": rater.source, "agreement": _numbers(rater.agreement)} for rater in shown
    ]
    return DrawnPicture(Strips(rows, series, shares(said("manage.picture.with_others"))), numbers)


def each_other(agreement: ProjectAgreement, names: Names) -> DrawnPicture | None:
    """Who agrees with whom: a table of shares."""
    raters = sorted({name for pair in agreement.pairs for name in (pair.first or "", pair.second or "")})
    if len(raters) < 2:
        return None
    place = {name: number for number, name in enumerate(raters)}
    table = [[0.0] * len(raters) for _ in raters]
    counts = [[0] * len(raters) for _ in raters]
    for pair in agreement.pairs:
        i, j = place[pair.first or ""], place[pair.second or ""]
        for a, b in ((i, j), (j, i)):
            table[a][b], counts[a][b] = pair.agreement or 0.0, pair.units
    for i in range(len(raters)):
        counts[i][i] = sum(counts[i])
    called = [_called(name, names) for name in raters]
    numbers = [pair.model_dump() for pair in agreement.pairs]
    return DrawnPicture(HeatMap.of(called, table, counts), numbers)


def groups(pairs: Sequence[GroupPair]) -> DrawnPicture | None:
    """How people agree within their group, and with those of others."""
    if not any(pair.first != pair.second for pair in pairs):
        return None
    rows = tuple((_pair(pair), (_dot(pair.agreement),)) for pair in pairs[:MOST_NAMED])
    return DrawnPicture(
        Strips(rows, (Series(said("manage.share"), "accent"),), shares(said("manage.drawn.equal"))),
        [pair.model_dump() for pair in pairs],
    )


def _pair(pair: GroupPair) -> str:
    first, second = (name or said("manage.no_group") for name in (pair.first, pair.second))
    if first == second:
        return said("manage.drawn.within", group=first)
    return said("manage.drawn.between", first=first, second=second)


def _dot(figure: ShareFigure | None) -> Dot | None:
    return None if figure is None else Dot(figure.estimate, figure.low, figure.high, figure.n)


def _numbers(figure: ShareFigure | None) -> dict[str, Any]:
    return {} if figure is None else figure.model_dump()


def _called(id: str | None, names: Names) -> str:
    return names.get(id or "", id or said("manage.nobody"))


def said(name: str, /, **values: object) -> str:
    """A text of the catalogue."""
    return texts()(name, **values)
