"""Agreement, bias and throughput of a labelling project: people and judges side by side."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel
from sqlalchemy import BigInteger, func, select, type_coerce

from critic.feedback import KINDS, Kind, Source
from critic.statistics.intervals import Share
from critic.statistics.raters import Level
from service.api.body import StrictRoute
from service.context import Parts, Service, allowed
from service.keys import access
from service.keys.auth import Caller
from service.labels.agreement import Agreement, Rated, Rater, Reliability, Together
from service.labels.tasks.tasking import ANSWERED
from service.problems import responses
from service.review.agreement.figures import figures_of
from service.store.tables import feedback, leases, tasks

router = APIRouter(prefix="/v1/projects", tags=["agreement"], route_class=StrictRoute, responses=responses())

Reader = Annotated[Caller, allowed(*access.LABELS)]
Pooled = Annotated[
    bool, Query(description="Bring the people of several groups together, which no figure does unasked.")
]

SECOND = 1_000_000  # in the database's microseconds


class ShareFigure(BaseModel):
    """A share with its 95 % interval, wider where several observations come from one item; ``n`` observations."""

    estimate: float
    low: float
    high: float
    n: int
    clusters: int


class ReliabilityFigures(BaseModel):
    """Agreement of several raters: the share of pairs of labels that are equal, and Krippendorff's alpha.

    Alpha is null where all labels are the same; by ``level`` it counts how far apart two values are, too. The ordinal
    one is null where there are more than 256 different values.
    """

    units: int
    agreement: ShareFigure | None
    alpha: dict[Level, float | None]


class RaterFigures(BaseModel):
    """One rater. ``agreement`` is with people other than themselves, label by label: of a person's own group, if any.

    It is null for a judge where people are of several groups: `GET /v1/projects/{id}/judges` sets it beside each group.

    ``first_lean`` is how often the preferred response is the one shown first, ``longer_lean`` how often the longer one:
    0.5 is no lean. ``unsure`` is how many of the labels say that their annotator can't tell.

    ``seconds`` is the mean time that an answer to a task took, and ``labels_per_hour`` how many fit in an hour: by the
    time that the annotator's page measured, without pauses, or else that from lease to answer.
    """

    source: Source
    annotator: str | None
    group: str | None
    labels: int
    unsure: int
    agreement: ShareFigure | None
    first_lean: ShareFigure | None
    longer_lean: ShareFigure | None
    seconds: float | None
    labels_per_hour: float | None


class PairFigures(BaseModel):
    """Two raters, on the units that both have rated: the share of equal values, and Cohen's kappa."""

    first: str | None
    second: str | None
    units: int
    agreement: float | None
    kappa: float | None


class GroupAgreement(BaseModel):
    """How far the people of one group agree among themselves; ``group`` is null for people who have none.

    ``by_principle`` is how far they agree by one principle each, where they were asked for that.
    """

    group: str | None
    people: ReliabilityFigures
    by_principle: dict[str, ReliabilityFigures]


class ProjectAgreement(BaseModel):
    """A project's figures. Judges are among ``everyone`` where they labelled the same items, in the project or not.

    ``groups`` has the people of each group apart, at most 100 of them. Where there are several, ``people``,
    ``everyone`` and ``by_principle``, which bring them together, are null unless the request asks for them, ``pooled``.

    Of ``raters`` there are at most 1,000, those who labelled first: ``raters_left_out`` are among all other figures.
    ``pairs`` are of the first 100. ``by_principle`` is how far people agree by one principle each, where they were
    asked for that, of up to 500 principles.
    """

    project: str
    kind: Kind
    items: int
    labels: int
    pooled: bool
    people: ReliabilityFigures | None
    everyone: ReliabilityFigures | None
    by_principle: dict[str, ReliabilityFigures] | None
    principles_left_out: int
    groups: list[GroupAgreement]
    groups_left_out: int
    raters: list[RaterFigures]
    raters_left_out: int
    pairs: list[PairFigures]


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
        speed = {row.annotator: _seconds(row.n, row.spent) for row in await connection.execute(_speed(project))}
    return _figures(
        project, figures.kind, figures.agreement, speed, pooled or not figures.agreement.is_of_several_groups
    )


def _speed(project: str) -> Any:
    """For each annotator the labels, and the time that they took in microseconds: as measured, or since the lease."""
    leased = type_coerce(leases.c.until, BigInteger) - type_coerce(leases.c.since, BigInteger)
    spent = func.coalesce(feedback.c.seconds * SECOND, leased)
    query = select(leases.c.annotator, func.count().label("n"), func.sum(spent).label("spent"))
    query = query.join(tasks, leases.c.task == tasks.c.id).join(feedback, feedback.c.id == leases.c.feedback)
    query = query.where(tasks.c.project == project)
    return query.where(leases.c.state == ANSWERED).group_by(leases.c.annotator)


def _seconds(labels: int, spent: Any) -> float | None:
    return float(spent) / SECOND / labels if spent else None


def _figures(
    project: str, kind: Any, found: Agreement, speed: dict[str, float | None], pooled: bool
) -> ProjectAgreement:
    groups = sorted(found.groups.items(), key=lambda group: group[0] or "")
    return ProjectAgreement(
        project=project,
        kind=kind,
        items=found.items,
        labels=found.labels,
        pooled=pooled,
        people=_reliability(found.pooled.people, kind) if pooled else None,
        everyone=_reliability(found.everyone, kind) if pooled else None,
        by_principle=_by_principle(found.pooled, kind) if pooled else None,
        principles_left_out=len(found.principles_left_out),
        groups=[
            GroupAgreement(
                group=name, people=_reliability(together.people, kind), by_principle=_by_principle(together, kind)
            )
            for name, together in groups
        ],
        groups_left_out=len(found.groups_left_out),
        raters=[_rater(rater, rated, speed, pooled) for rater, rated in sorted(found.raters.items(), key=str)],
        raters_left_out=len(found.left_out),
        pairs=[
            PairFigures(
                first=first.annotator,
                second=second.annotator,
                units=pair.units,
                agreement=pair.agreement,
                kappa=pair.kappa,
            )
            for (first, second), pair in sorted(found.pairs.items(), key=str)
        ],
    )


def _by_principle(together: Together, kind: str) -> dict[str, ReliabilityFigures]:
    return {name: _reliability(said, kind) for name, said in sorted(together.by_principle.items())}


def _rater(rater: Rater, rated: Rated, speed: dict[str, float | None], pooled: bool) -> RaterFigures:
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
            "agreement": None if with_others is None else _share(with_others),
            "first_lean": _share(rated.first_lean),
            "longer_lean": _share(rated.longer_lean),
            "seconds": seconds,
            "labels_per_hour": None if seconds is None else 3600 / seconds,
        }
    )


def _reliability(found: Reliability, kind: str) -> ReliabilityFigures:
    alpha = {level: found.coincidences.alpha(level) for level in KINDS[kind].agreement}
    return ReliabilityFigures(units=found.coincidences.units, agreement=_share(found.agreement), alpha=alpha)


def _share(share: Share) -> ShareFigure | None:
    figure = share.figure()
    return None if figure is None else ShareFigure(**asdict(figure))
