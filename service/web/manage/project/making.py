"""Making a project on one page: what is asked, under which constitution, of whom, and where the items come from.

A project is made closed. Its page then shows the first task as annotators will see it; a button opens it, another one
discards it. So nobody labels what was set up by mistake.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from starlette.datastructures import FormData, UploadFile

from base.errors import InputError
from critic.feedback import KINDS
from service import problems
from service.answers.projects import Project
from service.api.labels import projects as api
from service.bounds.lanes import Stop
from service.context import Parts, Service
from service.exports import versions
from service.jobs import listing
from service.jobs.inputs.unpacked import check_unpacked
from service.jobs.kinds import KINDS as JOB_KINDS
from service.labels.tasks.tasking import REASONS
from service.refusals import Fault, Invalid, ProblemDocument, Refusal
from service.review.item_files import ItemsOfFile, items_of, known_ending, known_items_of
from service.store.disk import dataset_folder
from service.web.forms import requested
from service.web.manage.asking import Maker, new_number, only_once, typed
from service.web.manage.project.pools import pools_of
from service.web.rendering import render
from service.web.visit import Form, PageRoute, text_of

router = APIRouter(include_in_schema=False, route_class=PageRoute)

T = TypeVar("T")
Read = Callable[[Path, Any, Callable[[], None]], T]
"""Reads a file's items of a kind; the last argument is called once a row."""

ROLES = ("gold", "practice")
SOURCES = ("file", "run", "dataset", "feedback", "later")
WITH_PAIRS = [name for name, kind in JOB_KINDS.items() if kind.leaves_pairs]  # kinds of jobs
MOST_LISTED = 200  # runs and data sets to choose from, the newest


@router.get("/projects/new")
async def form(request: Request, visit: Maker, parts: Parts) -> Response:
    """Ask for a project."""
    return await _page(request, parts, {}, None)


@router.post("/projects/new")
async def make(request: Request, visit: Maker, parts: Parts, form: Form) -> Response:
    """Make a project, closed."""
    try:
        values, read = await _asked(request, parts, form)
        asked = requested(api.ProjectRequest, values)
        made = await only_once(parts, visit, form, Project, lambda once: api.make(asked, visit.caller, parts, once))
    except (InputError, Refusal) as error:
        return await _page(request, parts, _given(form), problems.of(error).public())
    left_out = f"?left_out={read.left_out_count}" if read is not None and read.left_out_count else ""
    return RedirectResponse(f"/projects/{made.id}{left_out}", 303)


async def _page(request: Request, parts: Service, given: dict[str, Any], problem: ProblemDocument | None) -> Response:
    choices = {
        "runs": await listing.done(parts.database, MOST_LISTED, WITH_PAIRS),
        "datasets": await versions.newest(parts.database, MOST_LISTED),
    }
    faults: list[Fault] = [] if problem is None else problem.faults
    return render(
        request,
        "manage/new_project.html.j2",
        status=200 if problem is None else problem.status,
        kinds=list(KINDS),
        sources=SOURCES,
        reasons=REASONS,
        constitutions=await parts.constitutions.refs(),
        given=typed(given),
        problem=problem,
        faults=faults,
        number=new_number(),
        pools=await pools_of(parts),
        **choices,
    )


def _given(form: FormData) -> dict[str, Any]:
    """What was typed, to be shown again; of a field with several values all."""
    given: dict[str, Any] = {name: text_of(form, name) for name in form}
    several = ("assigned", "skip_reasons")
    return given | {name: list(map(str, form.getlist(name))) for name in several}


async def _asked(request: Request, parts: Service, form: FormData) -> tuple[dict[str, Any], ItemsOfFile | None]:
    """The request that the form means, and what was read of a file, if one was sent."""
    values: dict[str, Any] = {
        "name": text_of(form, "name").strip(),
        "kind": text_of(form, "kind"),
        "constitution": text_of(form, "constitution") or None,
        "guidelines": text_of(form, "guidelines"),
        "assigned": [str(id) for id in form.getlist("assigned")],
        "closed": True,
    }
    for name in ("labels_per_item", "levels"):
        if (number := _whole(form, name)) is not None:
            values[name] = number
    if values["kind"] != "comparison":
        values.pop("levels", None)
    values |= _options(form)
    if values["kind"] == "rating" and text_of(form, "scale_min").strip():
        ends = ("min", "max", "min_means", "max_means")
        values["scale"] = {name: text_of(form, f"scale_{name}").strip() for name in ends}
    if values["kind"] not in KINDS:
        raise Invalid("which kind of label?", "Choose one.", where="/kind")
    read = await _items(request, parts, form, values)
    if read is not None:
        values["items"] = [item.model_dump() for item in read.items]
    for role in ROLES:
        known = await of_upload(request, parts, form, role, values["kind"], known_items_of)
        values["items"] = [*values.get("items", ()), *(item.model_dump() | {"role": role} for item in known or ())]
    if read is not None:
        values["name"] = values["name"] or _called(form)
    return values, read


def _options(form: FormData) -> dict[str, Any]:
    """What else a project may say, where something was said."""
    options: dict[str, Any] = {}
    if text_of(form, "by_principle") == "yes":
        options["by_principle"] = True
    if text_of(form, "asks_reasons"):
        options["skip_reasons"] = [str(reason) for reason in form.getlist("skip_reasons")]
    settings: dict[str, Any] = {"blur": text_of(form, "blur") == "yes"}
    for name in ("break_minutes", "gold_every"):
        if (number := _whole(form, name)) is not None:
            settings[name] = number
    if share := text_of(form, "pass_percent").strip():
        settings["pass_share"] = int(share) / 100 if share.isascii() and share.isdigit() and len(share) < 4 else share
    return options | {"settings": settings}


async def _items(request: Request, parts: Service, form: FormData, values: dict[str, Any]) -> ItemsOfFile | None:
    """Read the items, or say in ``values`` which stored ones are meant."""
    match text_of(form, "source"):
        case "file":
            read: ItemsOfFile | None = await of_upload(request, parts, form, "file", values["kind"], items_of)
            if read is None:
                raise InputError("which file?", where="/file", fix="Choose one with a row for each item.")
            return read
        case "run":
            job = text_of(form, "run")
            values["from_feedback"] = {"filter": {"job": job}, "limit": _whole(form, "limit") or 1000}
            if not job:
                raise Invalid("which run?", "Choose one.", where="/run")
        case "dataset":
            return await _of_dataset(request, parts, text_of(form, "dataset"), values["kind"])
        case "feedback":
            names = ("kind", "source", "group", "project")
            chosen = {name: text_of(form, f"filter_{name}").strip() for name in names}
            filter = {name: value for name, value in chosen.items() if value}
            values["from_feedback"] = {"filter": filter, "limit": _whole(form, "limit") or 1000}
        case "later":
            pass
        case _:
            raise Invalid("where do the items come from?", "Choose one.", where="/source")
    return None


async def of_upload(request: Request, parts: Service, form: FormData, name: str, kind: Any, read: Read[T]) -> T | None:
    """What is read of the file in a field; None where none was chosen. It takes its turn in the lane of figures."""
    file = form.get(name)
    if not isinstance(file, UploadFile) or not file.filename:
        return None
    content, suffix = await file.read(), known_ending(file.filename)

    def reading(stop: Stop) -> T:
        with tempfile.TemporaryDirectory(prefix="cai-items-") as folder:
            path = Path(folder) / f"{name}{suffix}"
            path.write_bytes(content)
            check_unpacked(path)
            return read(path, kind, stop.check)

    return await parts.figures.run(request, reading)


async def _of_dataset(request: Request, parts: Service, named: str, kind: Any) -> ItemsOfFile:
    name, _, version = named.partition("@")
    number = int(version) if version.isascii() and version.isdigit() and len(version) < 10 else 0
    there = await versions.tables(parts.database, name, number)
    if there is None:
        raise InputError(f"there is no data set {named!r}", where="/dataset", fix="Choose one.")
    tables = [table for table in ("pairs", "rankings", "ratings", "sft") if table in there]
    file = dataset_folder.folder(parts.settings.data, name, number) / f"{tables[0]}.jsonl"
    return await parts.figures.run(request, lambda stop: items_of(file, kind, stop.check))


def _called(form: FormData) -> str:
    """A project without a name has its file's."""
    file = form.get("file")
    name = file.filename if isinstance(file, UploadFile) and file.filename else ""
    return Path(name).name.partition(".")[0][:200]


def _whole(form: FormData, name: str) -> Any:
    """A whole number; what is none is left for the request to refuse; None where nothing was said."""
    text = text_of(form, name).strip()
    if not text:
        return None
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text
