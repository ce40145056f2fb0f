"""Agreement, bias and throughput of a labelling project: people and judges side by side."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from critic.feedback import KINDS
from service.answers.agreement import (
    GroupAgreement,
    PairFigures,
    ProjectAgreement,
    RaterFigures,
    ReliabilityFigures,
)
from service.api.body import StrictRoute
from service.context import Parts, Service, allowed
from service.keys import access
from service.keys.auth import Caller
from service.labels.agreement import Agreement, RatedBy, Rater, Reliability, Together
from service.problems import responses
from service.review.agreement.figures import figures_of
from service.review.agreement.shares import share_of
from service.review.agreement.speed import speeds

router = APIRouter(prefix="/v1/projects", tags=["agreement"], route_class=StrictRoute, responses=responses())

Reader = Annotated[Caller, allowed(*access.LABELS)]
Pooled = Annotated[
    bool, Query(description="Bring the people of several groups together, which no figure does unasked.")
]


@router.get("/{id}/agreement", responses=responses(404))
async def agreement(
    id: str, request: Request, caller: Reader, parts: Parts, pooled: Pooled = False
) -> ProjectAgreement:
    """How far a project's raters agree, which way they lean, and how fast they are. Retracted labels don't count.

    It is computed when it is asked for; where too many others wait for figures, or it takes too long, the answer is
    503. Of rankings of more than 100 responses pairs are drawn.
    """
    return await agreement_of(parts, request, id, pooled=pooled)


async def agreement_of(
    parts: Service, request: Request | None, project: str, *, pooled: bool = False
) -> ProjectAgreement:
    """A project's agreement, as `agreement` answers it."""
    figures = await figures_of(parts, request, project)
    async with parts.database.read() as connection:
        speed = await speeds(connection, project)
    return _figures(
        project, figures.kind, figures.agreement, speed, pooled or not figures.agreement.is_of_several_groups
    )


def _figures(
    project: str, kind: Any, agreement: Agreement, speed: dict[str, float | None], pooled: bool
) -> ProjectAgreement:
    groups = sorted(agreement.groups.items(), key=lambda group: group[0] or "")
    raters = [_rater(rater, rated, speed, pooled) for rater, rated in sorted(agreement.raters.items(), key=str)]
    pairs = [
        PairFigures(
            first=first.annotator,
            second=second.annotator,
            units=pair.units,
            agreement=pair.agreement,
            kappa=pair.kappa,
        )
        for (first, second), pair in sorted(agreement.pairs.items(), key=str)
    ]
    return ProjectAgreement(
        project=project,
        kind=kind,
        items=agreement.items,
        labels=agreement.labels,
        pooled=pooled,
        people=_reliability(agreement.pooled.people, kind) if pooled else None,
        everyone=_reliability(agreement.everyone, kind) if pooled else None,
        by_principle=_by_principle(agreement.pooled, kind) if pooled else None,
        principles_left_out=len(agreement.principles_left_out),
        groups=[
            GroupAgreement(
                group=name, people=_reliability(together.people, kind), by_principle=_by_principle(together, kind)
            )
            for name, together in groups
        ],
        groups_left_out=len(agreement.groups_left_out),
        raters=raters,
        raters_left_out=len(agreement.left_out),
        pairs=pairs,
    )


def _by_principle(together: Together, kind: str) -> dict[str, ReliabilityFigures]:
    return {name: _reliability(said, kind) for name, said in sorted(together.by_principle.items())}


def _rater(rater: Rater, rated: RatedBy, speed: dict[str, float | None], pooled: bool) -> RaterFigures:
    seconds = speed.get(rater.annotator or "")
    with_others = rated.with_people if pooled else None
    if not pooled and rater.source == "human":
        with_others = rated.within_group
    return RaterFigures.model_validate(
        {
            "source": rater.source,
            "annotator": rater.annotator,
            "group": rated.group,
            "labels": rated.labels,
            "unsure": rated.unsure,
            "agreement": None if with_others is None else share_of(with_others),
            "first_lean": share_of(rated.first_lean),
            "longer_lean": share_of(rated.longer_lean),
            "seconds": seconds,
            "labels_per_hour": None if seconds is None else 3600 / seconds,
        }
    )


def _reliability(reliability: Reliability, kind: str) -> ReliabilityFigures:
    alpha = {level: reliability.coincidences.alpha(level) for level in KINDS[kind].agreement}
    return ReliabilityFigures(
        units=reliability.coincidences.units, agreement=share_of(reliability.agreement), alpha=alpha
    )
