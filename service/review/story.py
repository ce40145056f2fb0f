"""The whole story of an item, which is a prompt with its responses: from the texts to the models that learnt of them.

What people and judges said of it, the critiques and revisions that its responses came of, what reviewers decided, the
projects that ask for it, the data sets that hold it, and the models that were trained on those.
"""

from collections.abc import Iterable, Sequence

from pydantic import BaseModel
from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from critic.records import Prompt, Response
from service.bounds.text_bounds import TextBounds
from service.labels.label_query import FeedbackFilter, StoredFeedback, selected
from service.labels.label_text import PAGE_BYTES
from service.refusals import not_found
from service.review.adjudication import Adjudication
from service.review.some_labels import first_labels
from service.store.tables import (
    adjudications,
    datasets,
    feedback,
    items,
    job_events,
    jobs,
    models,
    projects,
    retractions,
    tasks,
)

MOST_LABELS = 500  # of an item that are told of, the first, as far as all have no more bytes than a page of labels
MOST_RUNS = 50  # whose critiques and revisions are looked for
LOOKED_THROUGH = 4 * PAGE_BYTES  # for those, in all
NEAR = 500  # labels of a job before and after: those of one row were stored together
MOST_VERSIONS = 500  # of data sets that are looked at, the newest


class Asking(BaseModel):
    """A project that asks for labels of the item."""

    id: str
    name: str
    labels: int
    wanted: int


class InDataset(BaseModel):
    """A version of a data set that was made of labels of the item: so many of them."""

    name: str
    version: int
    labels: int


class Learnt(BaseModel):
    """A model that was trained on a data set or a run with the item."""

    name: str
    trainer: str
    job: str | None
    source: str


class Story(BaseModel):
    """All that is known of an item. ``labels`` are in the order in which they were given.

    ``before`` are the critiques and revisions of the same prompt that the runs with this item made on the way.
    """

    item: str
    prompt: Prompt
    responses: list[Response]
    labels: list[StoredFeedback]
    before: list[StoredFeedback]
    decisions: list[Adjudication]
    projects: list[Asking]
    datasets: list[InDataset]
    models: list[Learnt]


async def story_of(connection: AsyncConnection, item: str) -> Story:
    """Return an item's story. Raises `NotFound`."""
    query = selected().where(feedback.c.item == item).order_by(feedback.c.seq).limit(MOST_LABELS)
    rows = await first_labels(connection, query, PAGE_BYTES)
    labels = [label for _, label in rows]
    places = [(row["job"], row["seq"]) for row, _ in rows if row["job"] is not None][:MOST_RUNS]
    prompt, responses = await _content(connection, item, labels)
    versions = await _datasets(connection, item)
    runs = sorted({label.job for label in labels if label.job is not None})
    return Story(
        item=item,
        prompt=prompt,
        responses=responses,
        labels=labels,
        before=await _before(connection, places, prompt),
        decisions=await _decisions(connection, item),
        projects=await _projects(connection, item),
        datasets=versions,
        models=await _models(connection, versions, runs),
    )


async def _content(
    connection: AsyncConnection, item: str, labels: Sequence[StoredFeedback]
) -> tuple[Prompt, list[Response]]:
    if labels:
        return labels[0].prompt, list(labels[0].responses)
    query = select(items.c.prompt, items.c.responses).join(tasks, tasks.c.content == items.c.id)
    row = (await connection.execute(query.where(tasks.c.item == item).limit(1))).first()
    if row is None:
        raise not_found("item", item, "GET /v1/search finds items by their texts.")
    return Prompt.model_validate(row.prompt), [Response.model_validate(response) for response in row.responses]


async def _before(
    connection: AsyncConnection, places: Iterable[tuple[str, int]], prompt: Prompt
) -> list[StoredFeedback]:
    """Critiques and revisions that the item's runs stored beside its labels."""
    near: dict[str, StoredFeedback] = {}
    left, kept = LOOKED_THROUGH, PAGE_BYTES
    for job, seq in sorted(places):
        kinds = ("critique", "correction")
        query = selected().where(feedback.c.job == job, feedback.c.kind.in_(kinds))
        query = query.where(feedback.c.seq.between(seq - NEAR, seq + NEAR)).order_by(feedback.c.seq)
        for row, label in await first_labels(connection, query, left):
            size = TextBounds.size(row["label"]) + TextBounds.size(label.prompt) + TextBounds.size(label.responses)
            left -= size
            if label.prompt.key == prompt.key and label.id not in near:
                kept -= size
                if kept < 0:
                    return list(near.values())
                near[label.id] = label
        if left <= 0:
            break
    return list(near.values())


async def _decisions(connection: AsyncConnection, item: str) -> list[Adjudication]:
    query = (
        select(adjudications, feedback.c.label)
        .join(feedback, feedback.c.id == adjudications.c.feedback)
        .where(adjudications.c.item == item)
        .order_by(feedback.c.seq.desc())
    )
    given, decided = [], set()
    for row in (await connection.execute(query)).mappings():
        given.append(Adjudication.model_validate({**row, "holds": row["project"] not in decided}))
        decided.add(row["project"])
    return given


async def _projects(connection: AsyncConnection, item: str) -> list[Asking]:
    query = select(projects.c.id, projects.c.name, tasks.c.answers, projects.c.labels_per_item)
    query = query.join(tasks, tasks.c.project == projects.c.id).where(tasks.c.item == item).order_by(projects.c.name)
    rows = await connection.execute(query)
    return [Asking(id=row.id, name=row.name, labels=row.answers, wanted=row.labels_per_item) for row in rows]


async def _datasets(connection: AsyncConnection, item: str) -> list[InDataset]:
    """The versions whose filter chooses labels of the item that stood when they were made."""
    columns = datasets.c.name, datasets.c.version, datasets.c.request, datasets.c.created_at
    newest = select(*columns).order_by(datasets.c.created_at.desc()).limit(MOST_VERSIONS)
    there = []
    for version in (await connection.execute(newest)).all():
        chosen = FeedbackFilter.model_validate(version.request.get("filter", {})).conditions()
        standing = or_(retractions.c.seq.is_(None), retractions.c.at > version.created_at)
        query = (
            select(feedback.c.seq)
            .join(retractions, retractions.c.seq == feedback.c.seq, isouter=True)
            .where(feedback.c.item == item, feedback.c.created_at <= version.created_at, standing, *chosen)
        )
        if labels := len((await connection.execute(query)).all()):
            there.append(InDataset(name=version.name, version=version.version, labels=labels))
    return there


async def _models(connection: AsyncConnection, versions: Sequence[InDataset], runs: Sequence[str]) -> list[Learnt]:
    """The models whose jobs say that they were given one of these data sets or runs."""
    named = {f"dataset {one.name}@{one.version}" for one in versions}
    named |= {f"job {run}" for run in runs}
    query = (
        select(models.c.name, models.c.trainer, models.c.job, job_events.c.body)
        .join(jobs, jobs.c.id == models.c.job)
        .join(job_events, (job_events.c.job == jobs.c.id) & (job_events.c.kind == "queued"))
        .order_by(models.c.name, job_events.c.seq)
    )
    learnt: dict[tuple[str, str], Learnt] = {}
    for row in await connection.execute(query):
        for source in row.body.get("sources", ()):
            if source in named:
                one = Learnt(name=row.name, trainer=row.trainer, job=row.job, source=source)
                learnt.setdefault((one.name, source), one)
    return list(learnt.values())
