"""What a project's labels say: agreement beside the judge's, annotators' pace and leans, contested items."""

from collections.abc import Callable, Mapping

from fastapi import APIRouter, Request, Response

from service.answers.agreement import ProjectAgreement
from service.api.evidence import certificates
from service.api.labels import projects as api
from service.api.labels.agreement import agreement_of
from service.context import Parts, Service
from service.labels import annotators
from service.refusals import not_found
from service.review.adjudication import decisions
from service.review.agreement.figures import Figures, figures_of
from service.web.manage.asking import Reader
from service.web.manage.project import drawing
from service.web.manage.project.drawing import DrawnPicture
from service.web.rendering import csv, render
from service.web.visit import PageRoute, Visit

router = APIRouter(include_in_schema=False, route_class=PageRoute)

ITEMS = 100  # of the most contested, on a page
Draw = Callable[[ProjectAgreement, Figures, Mapping[str, str]], DrawnPicture | None]

PICTURES: dict[str, Draw] = {
    "agreement": lambda agreement, figures, names: drawing.agreement(agreement, figures),
    "with-others": lambda agreement, figures, names: drawing.with_others(agreement, names),
    "leans": lambda agreement, figures, names: drawing.leans(agreement, names),
    "each-other": lambda agreement, figures, names: drawing.each_other(agreement, names),
    "groups": lambda agreement, figures, names: drawing.groups(figures.groups),
}
"""By their names in addresses."""


@router.get("/projects/{id}/agreement")
async def agreement(request: Request, id: str, visit: Reader, parts: Parts) -> Response:
    """How far people agree, beside how far judges agree with them on the same items."""
    project = await api.get(id, visit.caller, parts)
    agreed, figures, names = await _figures(request, parts, id)
    pictures = _pictures(("agreement", "each-other", "groups"), agreed, figures, names)
    return render(
        request,
        "manage/agreement.html.j2",
        tab="agreement",
        project=project,
        agreement=agreed,
        figures=figures,
        kappas={(pair.first, pair.second): pair.kappa for pair in figures.kappas},
        names=names,
        certified=await _certified(parts, visit),
        pictures=pictures,
    )


@router.get("/projects/{id}/people")
async def people(request: Request, id: str, visit: Reader, parts: Parts) -> Response:
    """Each annotator: time, leans, agreement with others, and how these change in a session."""
    project = await api.get(id, visit.caller, parts)
    agreed, figures, names = await _figures(request, parts, id)
    raters = [rater for rater in agreed.raters if rater.source == "human"]
    gold = {one.annotator: one.right for one in figures.gold}
    return render(
        request,
        "manage/people.html.j2",
        tab="people",
        project=project,
        raters=raters,
        gold=gold,
        paces={pace.annotator: pace for pace in figures.paces},
        names=names,
        pictures=_pictures(("with-others", "leans"), agreed, figures, names),
    )


@router.get("/projects/{id}/items")
async def items(request: Request, id: str, visit: Reader, parts: Parts) -> Response:
    """The items on which people disagree most, and those that were decided."""
    project = await api.get(id, visit.caller, parts)
    figures = await figures_of(parts, request, id)
    shown = figures.contested[:ITEMS]
    async with parts.database.read() as connection:
        decided = {one.item: one for one in await decisions(connection, id) if one.holds}
    has_groups = any(one.between is not None for one in shown)
    return render(
        request,
        "manage/items.html.j2",
        tab="items",
        project=project,
        items=shown,
        of=figures.contested_of,
        has_groups=has_groups,
        has_verdicts=any(own.verdict is not None for one in shown for own in one.groups),
        decided=decided,
    )


@router.get("/projects/{id}/items.csv")
async def items_csv(request: Request, id: str, visit: Reader, parts: Parts) -> Response:
    """The numbers of the most contested items."""
    figures = await figures_of(parts, request, id)
    rows = [
        one.model_dump(exclude={"groups"})
        | {"group": own.group or ""}
        | {
            "group_labels": own.labels,
            "group_disagreement": own.disagreement,
            "verdict": own.verdict,
        }
        for one in figures.contested
        for own in one.groups
    ]
    return csv(f"disagreement-{id}", rows)


@router.get("/projects/{id}/people.csv")
async def people_csv(request: Request, id: str, visit: Reader, parts: Parts) -> Response:
    """The numbers of each annotator's stages of a session."""
    figures = await figures_of(parts, request, id)
    rows = [
        {"annotator": pace.annotator, "seconds_median": pace.seconds, "sessions": pace.sessions} | stage.model_dump()
        for pace in figures.paces
        for stage in pace.stages
    ]
    return csv(f"pace-{id}", rows)


@router.get("/projects/{id}/pictures/{name}.svg")
async def picture(request: Request, id: str, name: str, visit: Reader, parts: Parts) -> Response:
    """A picture as a file."""
    return Response(str((await _drawn(request, parts, id, name)).picture.file()), media_type="image/svg+xml")


@router.get("/projects/{id}/pictures/{name}.csv")
async def numbers(request: Request, id: str, name: str, visit: Reader, parts: Parts) -> Response:
    """The numbers of a picture."""
    return csv(f"{name}-{id}", (await _drawn(request, parts, id, name)).rows)


async def _certified(parts: Service, visit: Visit) -> dict[str, list[str]]:
    """The certificates of each judge, by its name."""
    by_judge: dict[str, list[str]] = {}
    for one in (await certificates.listed(visit.caller, parts)).items:
        by_judge.setdefault(one.judge, []).append(one.sha256)
    return by_judge


async def _figures(request: Request, parts: Service, id: str) -> tuple[ProjectAgreement, Figures, dict[str, str]]:
    agreed = await agreement_of(parts, request, id)
    figures = await figures_of(parts, request, id)
    people = [rater.annotator for rater in agreed.raters if rater.source == "human"]
    return agreed, figures, await annotators.names(parts.database, people)


def _pictures(
    wanted: tuple[str, ...], agreed: ProjectAgreement, figures: Figures, names: Mapping[str, str]
) -> dict[str, str]:
    drawn = {name: PICTURES[name](agreed, figures, names) for name in wanted}
    return {name: one.picture.draw() for name, one in drawn.items() if one is not None}


async def _drawn(request: Request, parts: Service, id: str, name: str) -> DrawnPicture:
    if name not in PICTURES:
        raise not_found("picture", name, f"There are: {', '.join(PICTURES)}.")
    drawn = PICTURES[name](*(await _figures(request, parts, id)))
    if drawn is None:
        raise not_found("picture", name, "There are too few labels for it yet.")
    return drawn
