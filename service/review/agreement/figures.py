"""All figures of a project's labels, computed in one pass and kept until a label, a retraction or a decision comes.

Several pages show parts of them, one after the other; the API gives the same.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import BigInteger, Connection, Select, func, or_, select, type_coerce

from critic.feedback import KINDS, Kind
from critic.feedback.base import Form
from critic.statistics.raters import Level
from service.bounds.kept import State
from service.bounds.lanes import Stop
from service.bounds.watching import WaitingClient
from service.context import Service
from service.labels.agreement import MOST_GROUPS, Agreement, Group, Rater, Values, units
from service.labels.label_query import RETRACTED, StoredFeedback, numbers
from service.labels.snapshot import labels_by_item
from service.labels.tasks.answering import form_of
from service.labels.tasks.tasking import ANSWERED
from service.refusals import not_found
from service.review.agreement.coefficients import Coefficient, CollectedRatings, PairKappa
from service.review.agreement.contested import Contested, MostContested
from service.review.agreement.golden import Golden, GoldFigures, expected_of
from service.review.agreement.judges import GroupPair, Groups, JudgeFigures, Judges, apart
from service.review.agreement.pace import Pace, PaceCounter
from service.store.tables import adjudications, feedback, leases, projects, retractions, tasks

SECOND = 1_000_000  # of the database's microseconds


@dataclass(frozen=True, slots=True)
class Figures:
    """What was computed of one project's labels."""

    kind: Kind
    agreement: Agreement
    judges: list[JudgeFigures]
    groups: list[GroupPair]
    alphas: Mapping[Group, Mapping[Level, Coefficient | None]]
    kappas: list[PairKappa]
    contested: list[Contested]
    contested_of: int
    paces: list[Pace]
    gold: list[GoldFigures]


async def figures_of(parts: Service, client: WaitingClient | None, project: str) -> Figures:
    """Return a project's figures. Raises `NotFound`, and `Busy` where too many wait or it takes too long."""
    async with parts.database.read() as connection:
        row = (await connection.execute(select(projects).where(projects.c.id == project))).mappings().one_or_none()
        if row is None:
            raise not_found("project", project, "GET /v1/projects lists them.")
        kind, form = row["kind"], form_of(row)
        state: State = tuple((await connection.execute(_state(project))).one())
    kept: Figures | None = parts.reviewed.get(project, state)
    if kept is not None:
        return kept

    def compute(stop: Stop) -> Figures:
        with parts.snapshots.open(stop) as connection:
            return _computed(connection, project, kind, form, stop)

    figures = await parts.figures.run(client, compute)
    parts.reviewed.put(project, state, figures)
    return figures


def chosen_labels(project: str, kind: str) -> Select[tuple[int]]:
    """The numbers of the labels that a project's figures are of.

    Those that were given in it, and judges' of the same items wherever they were given. A reviewer's decision is none:
    who decides has seen the others.
    """
    mine = or_(feedback.c.project == project, feedback.c.source == "ai")
    decided = select(adjudications.c.feedback)
    query = numbers().join(tasks, tasks.c.item == feedback.c.item).where(tasks.c.project == project)
    return query.where(feedback.c.kind == kind, mine, ~RETRACTED, feedback.c.id.not_in(decided))


def _state(project: str) -> Select[Any]:
    """All that figures depend on goes up, or is counted here; cheap to ask for, whatever the size of the tables."""
    last = select(func.coalesce(func.max(feedback.c.seq), 0)).scalar_subquery()
    withdrawn = select(func.count()).select_from(retractions).scalar_subquery()
    decided = select(func.count()).select_from(adjudications).scalar_subquery()
    asked = select(func.count()).where(tasks.c.project == project).scalar_subquery()
    return select(last, withdrawn, decided, asked)


def _computed(connection: Connection, project: str, kind: Kind, form: Form, stop: Stop) -> Figures:
    judges, groups, contested, rated = Judges(), Groups(), MostContested(), CollectedRatings()
    by_group: dict[Group, CollectedRatings] = {}
    paces = PaceCounter(_seconds(connection, project))
    golden = Golden(expected_of(connection, project, kind, form))

    def seen(labels: Iterable[StoredFeedback]) -> Iterator[StoredFeedback]:
        """Yield the labels on, each item's when it was counted here."""
        for _, item in groupby(labels, key=lambda label: label.item):
            of_item = list(item)
            of_groups = {Rater(label.source, label.annotator): label.group for label in of_item}
            said = list(units(of_item))
            judges.add(said, of_groups)
            rated.add(said)
            for group, own in _apart(said, of_groups).items():
                if group in by_group or len(by_group) < MOST_GROUPS:
                    by_group.setdefault(group, CollectedRatings()).add(own)
            groups.add(said, of_groups)
            contested.add(of_item, said)
            paces.add(of_item, said)
            golden.add(of_item)
            yield from of_item

    labels = labels_by_item(connection, chosen_labels(project, kind), stop)
    agreement = Agreement(seen(labels), stop.check)
    return Figures(
        kind=kind,
        agreement=agreement,
        judges=judges.figures(),
        groups=groups.figures(),
        alphas={group: own.alpha(KINDS[kind].agreement) for group, own in by_group.items()},
        kappas=rated.kappas(),
        contested=contested.figures(),
        contested_of=contested.items,
        paces=paces.figures(),
        gold=golden.figures(),
    )


def _apart(said: Iterable[Values], groups: Mapping[Rater, Group]) -> dict[Group, list[Values]]:
    """An item's units, each as the people of one group see it."""
    by_group: dict[Group, list[Values]] = {}
    for unit in said:
        for group, own in apart(unit, groups).items():
            by_group.setdefault(group, []).append(own)
    return by_group


def _seconds(connection: Connection, project: str) -> dict[str, float]:
    """What each label took, by its id: the time from lease to answer."""
    took = type_coerce(leases.c.until, BigInteger) - type_coerce(leases.c.since, BigInteger)
    query = select(leases.c.feedback, took.label("took")).join(tasks, leases.c.task == tasks.c.id)
    query = query.where(tasks.c.project == project, leases.c.state == ANSWERED, leases.c.feedback.is_not(None))
    return {id: micros / SECOND for id, micros in connection.execute(query)}
