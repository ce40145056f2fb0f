"""Labelling projects: which items, which kind of feedback, under which guidelines, how many labels an item, by whom."""

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from critic.feedback import Kind
from critic.feedback.feedback import Name
from service.answers.page import Page
from service.answers.projects import ItemsAdded, Project, ProjectStanding
from service.api.body import StrictRoute
from service.api.paging import Cursor, Limit, decode, encode
from service.context import OnlyOnce, Parts, allowed
from service.keys import access
from service.keys.auth import Caller
from service.keys.names import ShownName
from service.labels import annotators
from service.labels.projects import projects
from service.labels.projects.project_items import ItemsRequest, gathered, new_rows, tasks_of
from service.labels.projects.project_options import form_of, with_options
from service.labels.projects.projects import ProjectState
from service.labels.tasks import answering, roles, tasking
from service.labels.tasks.roles import PageChange, PageSettings
from service.labels.tasks.tasking import REASONS, SkipReason
from service.problems import responses

router = APIRouter(prefix="/v1/projects", tags=["projects"], route_class=StrictRoute, responses=responses())

Maker = Annotated[Caller, allowed("feedback")]
Reader = Annotated[Caller, allowed(*access.PROJECTS)]

Labels = Annotated[int, Field(ge=1, le=1000, strict=True)]
Reasons = Annotated[list[SkipReason], Field(max_length=len(REASONS))]
Assigned = Annotated[list[Annotated[str, Field(max_length=64)]], Field(max_length=1000)]


class _ProjectRequest(ItemsRequest):
    """A project. ``guidelines`` are words, ``constitution`` is ``NAME@VERSION``, which labels are then bound to.

    ``assigned`` are annotators' ids; with none, everyone may label. ``skip_reasons`` are those that annotators may give
    for leaving a task to others: all where it is left out; ``settings`` say how its pages are. ``scale`` is for ratings
    (1 to 5 by default), ``levels`` says how many strengths a comparison's preference has, and ``by_principle`` asks for
    comparisons and ratings by each principle of the constitution, too. A project that is made ``closed`` can be looked
    at before it is opened.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "name": "rivers",
                    "kind": "comparison",
                    "guidelines": "Prefer the answer that a child understands.",
                    "labels_per_item": 2,
                    "items": [{"prompt": "Name a river.", "responses": ["The Po.", "The Nile, of course."]}],
                }
            ]
        },
    )

    name: ShownName
    kind: Kind
    constitution: Name | None = None
    guidelines: str = Field(default="", max_length=50_000)
    labels_per_item: Labels = 1
    assigned: Assigned = Field(default_factory=list)
    skip_reasons: Reasons | None = None
    closed: bool = Field(default=False, strict=True)
    settings: PageSettings = PageSettings()


if TYPE_CHECKING:
    ProjectRequest = _ProjectRequest
else:
    ProjectRequest = with_options(_ProjectRequest)


class ProjectChange(BaseModel):
    """What changes; what is left out stays. A closed project gives no tasks and takes no answers."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"assigned": []}, {"closed": True}]})

    assigned: Assigned | None = None
    labels_per_item: Labels | None = None
    skip_reasons: Reasons | None = None
    settings: PageChange | None = None
    closed: bool | None = Field(default=None, strict=True)


@router.post("", status_code=201, responses=responses(409))
async def make(asked: ProjectRequest, caller: Maker, parts: Parts, once: OnlyOnce) -> Project:
    """Make a project, with items given here or taken from stored feedback, each once. More can be added later."""
    form = form_of(asked.kind, asked, asked.constitution)
    bound = None if asked.constitution is None else await parts.constitutions.get(asked.constitution)
    values = {
        **asked.model_dump(include={"name", "kind", "guidelines", "labels_per_item", "assigned", "skip_reasons"}),
        "settings": asked.settings.model_dump(mode="json"),
        "constitution": bound and bound.ref,
        "constitution_hash": bound and bound.digest,
        "form": [field.model_dump(mode="json") for field in form],
    }
    row = projects.new(values, closed=asked.closed)
    async with parts.database.read() as connection:
        await annotators.must_be_there(connection, asked.assigned, "/assigned")
        by_name = {field.name: field for field in form}
        chosen = await gathered(connection, asked, asked.kind, by_name, parts.labels.texts)
        rows = await new_rows(connection, row["id"], chosen)
    work = [task for task in tasks_of(rows) if task["role"] == roles.WORK]
    made = _project(ProjectState(row, {"items": len(work)}))
    await projects.add(once, row, rows, made, caller, len(work))
    return made


@router.get("")
async def listed(caller: Reader, parts: Parts, limit: Limit = 50, cursor: Cursor = None) -> Page[Project]:
    """All projects, by id; a key with the scope `label` sees those that its annotator may label."""
    known, has_more = await projects.page(parts.database, decode(cursor) or "", limit, caller)
    shown = [_project(one) for one in known]
    return Page(items=shown, next=encode(shown[-1].id) if has_more else None)


@router.get("/{id}", responses=responses(404))
async def get(id: str, caller: Reader, parts: Parts) -> Project:
    """One project, with its progress."""
    return _project(await projects.get(parts.database, id, caller))


@router.patch("/{id}", responses=responses(404))
async def change(id: str, asked: ProjectChange, caller: Maker, parts: Parts) -> Project:
    """Assign a project to others, ask for more or fewer labels per item, close it or open it again."""
    changes = asked.model_dump(include={"assigned", "labels_per_item", "skip_reasons"}, exclude_none=True)
    settings = None if asked.settings is None else asked.settings.changed
    changed = await projects.change(parts.database, id, changes, caller, closed=asked.closed, settings=settings)
    return _project(changed)


@router.delete("/{id}", status_code=204, responses=responses(404, 409))
async def discard(id: str, caller: Maker, parts: Parts) -> None:
    """Discard a project that nobody has labelled, skipped or begun anything in."""
    await projects.discard(parts.database, id, caller)


@router.post("/{id}/items", status_code=201, responses=responses(404, 409))
async def add(id: str, asked: ItemsRequest, caller: Maker, parts: Parts, once: OnlyOnce) -> ItemsAdded:
    """Add items to a project."""
    async with parts.database.read() as connection:
        project = await projects.asked(connection, id)
        chosen = await gathered(connection, asked, project["kind"], answering.form_of(project), parts.labels.texts)
        rows = await new_rows(connection, id, chosen)
    added = ItemsAdded(added=len(tasks_of(rows)))
    await projects.add_items(once, id, rows, added, caller, added.added)
    return added


def _project(known: ProjectState) -> Project:
    told = {"progress": ProjectStanding(**known.progress), "skip_reasons": tasking.reasons_of(known.row)}
    return Project.model_validate(dict(known.row) | told)
