"""How a project stands: progress, who agrees with whom, judges beside people, disagreement, and how fast people are."""

from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import BaseModel

from critic.statistics.raters import Level
from service.api.body import StrictRoute
from service.context import Parts, allowed
from service.keys import access
from service.keys.auth import Caller
from service.labels.agreement import Group
from service.problems import responses
from service.review.agreement.coefficients import Coefficient, PairKappa
from service.review.agreement.contested import Contested
from service.review.agreement.figures import figures_of
from service.review.agreement.golden import GoldFigures
from service.review.agreement.judges import GroupPair, JudgeFigures
from service.review.agreement.pace import Pace
from service.review.pausing import Paused, PauseRequest, pause
from service.review.progress import ProjectProgress, progress_of

router = APIRouter(prefix="/v1/projects", tags=["review"], route_class=StrictRoute, responses=responses())

Maker = Annotated[Caller, allowed("feedback")]
Reader = Annotated[Caller, allowed(*access.LABELS)]


class GroupAlpha(BaseModel):
    """Krippendorff's alpha of the people of one group at each level; ``group`` is null for people who have none."""

    group: str | None
    alpha: dict[Level, Coefficient | None]


class JudgesBesidePeople(BaseModel):
    """Judges beside the people of each group, and people of different groups beside each other.

    ``alphas`` are of the people of each group, and ``kappas`` of those two by two who have most in common: with
    intervals.
    """

    alphas: list[GroupAlpha]
    kappas: list[PairKappa]
    judges: list[JudgeFigures]
    groups: list[GroupPair]


class Disagreement(BaseModel):
    """The items on which people disagree most, of so ``many`` that several people labelled; at most 500."""

    of: int
    items: list[Contested]


class Paces(BaseModel):
    """How fast annotators are, and whether a session tires them."""

    annotators: list[Pace]


class GoldResults(BaseModel):
    """Each annotator's answers to gold items."""

    annotators: list[GoldFigures]


@router.get("/{id}/progress", responses=responses(404))
async def progress(id: str, caller: Reader, parts: Parts) -> ProjectProgress:
    """How far a project is, by annotator and by the group that annotators belong to."""
    async with parts.database.read() as connection:
        return await progress_of(connection, id)


@router.get("/{id}/judges", responses=responses(404))
async def judges(id: str, request: Request, caller: Reader, parts: Parts) -> JudgesBesidePeople:
    """How far each judge agrees with people, beside how far people agree on the same items; and groups apart."""
    figures = await figures_of(parts, request, id)
    alphas = [GroupAlpha(group=group, alpha=dict(alpha)) for group, alpha in sorted(figures.alphas.items(), key=_name)]
    return JudgesBesidePeople(alphas=alphas, kappas=figures.kappas, judges=figures.judges, groups=figures.groups)


def _name(of_group: tuple[Group, object]) -> str:
    return of_group[0] or ""


@router.get("/{id}/disagreement", responses=responses(404))
async def disagreement(id: str, request: Request, caller: Reader, parts: Parts) -> Disagreement:
    """The items on which people disagree most. `GET /v1/items/ITEM` has all that was said of one."""
    figures = await figures_of(parts, request, id)
    return Disagreement(of=figures.contested_of, items=figures.contested)


@router.get("/{id}/pace", responses=responses(404))
async def pace(id: str, request: Request, caller: Reader, parts: Parts) -> Paces:
    """Each annotator's time for a label, and how it and their agreement change with the place in a session."""
    figures = await figures_of(parts, request, id)
    return Paces(annotators=figures.paces)


@router.get("/{id}/gold", responses=responses(404))
async def golden(id: str, request: Request, caller: Reader, parts: Parts) -> GoldResults:
    """How often each annotator is right on gold items."""
    figures = await figures_of(parts, request, id)
    return GoldResults(annotators=figures.gold)


@router.post("/{id}/pause", responses=responses(404))
async def paused(id: str, asked: PauseRequest, caller: Maker, parts: Parts) -> Paused:
    """Pause an annotator in a project, or let them go on.

    What they hold goes back to the others at once. With `put_back_labels` their labels are withdrawn, too, and each
    item asks for one more.
    """
    async with parts.database.transaction() as connection:
        return await pause(connection, caller, id, asked)
