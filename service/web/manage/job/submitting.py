"""Submitting a job on a page: a form for each kind of job, made of its request, which then goes the API's way."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, get_args

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from starlette.datastructures import FormData, UploadFile

from base.errors import InputError
from service import problems
from service.api.body import parse
from service.api.jobs import jobs as api
from service.context import Parts, Service
from service.exports import versions
from service.jobs import listing, models
from service.jobs.inputs.uploads import Ending
from service.jobs.job import Job
from service.jobs.kinds import KINDS
from service.refusals import Invalid, ProblemDocument, Refusal, not_found
from service.review.item_files import known_ending
from service.store.repeats.idempotency import Once
from service.web.forms import requested
from service.web.manage.asking import Submitter, new_number, only_once, typed
from service.web.manage.job.request_form import Entry, entries_of, values_of
from service.web.rendering import render
from service.web.visit import Form, PageRoute, Visit, text_of

router = APIRouter(include_in_schema=False, route_class=PageRoute)

ORIGINS = ("upload", "dataset", "job", "rows")  # where rows come from: see `service.jobs.requests.Source`
ENDINGS: tuple[str, ...] = get_args(Ending)
MOST_LISTED = 200  # jobs and data sets to choose from, the newest
MOST_SOURCES = 16
KINDS_SHOWN = sorted(KINDS, key=lambda name: not KINDS[name].leaves_pairs)  # first those whose results others read


@router.get("/jobs/new")
async def form(request: Request, visit: Submitter, parts: Parts, kind: str = KINDS_SHOWN[0]) -> Response:
    """Ask for a job. The address may say what the form begins with, such as a data set to train on."""
    given = {name: value for name, value in request.query_params.items() if name != "kind"}
    return await _page(request, parts, kind, given)


@router.post("/jobs/new")
async def submit(request: Request, visit: Submitter, parts: Parts, form: Form) -> Response:
    """Submit a job, or ask for a form with room for one more source."""
    kind = text_of(form, "kind")
    given = {name: text_of(form, name) for name in form}
    if text_of(form, "do") == "another":
        return await _page(request, parts, kind, given | {"sources": str(_count(given) + 1)})
    if kind not in KINDS:
        raise not_found("kind of job", kind, f"There are: {', '.join(KINDS)}.")
    try:
        made = await _submitted(parts, visit, form, kind, given)
    except (InputError, Refusal) as error:  # told above the form, with what was typed still in it
        return await _page(request, parts, kind, given, problems.of(error).public())
    return RedirectResponse(f"/jobs/{made}", 303)


async def _submitted(parts: Service, visit: Visit, form: FormData, kind: str, given: dict[str, str]) -> str:
    """Check all of a request, then store the files that it names, then put the job into the queue."""
    uploads: dict[str, tuple[bytes, Any]] = {}
    entries = entries_of(KINDS[kind].request)
    values = {"kind": kind, **values_of(entries, given)}
    for entry in entries:
        if entry.control == "source":
            values[entry.key] = await _source(form, given, entry.name, uploads)
        if entry.control == "sources":
            names = [f"{entry.name}.{number}" for number in range(_count(given))]
            filled = [name for number, name in enumerate(names) if number == 0 or _is_filled(form, given, name)]
            values[entry.key] = [await _source(form, given, name, uploads) for name in filled]
    asked: Any = requested(KINDS[kind].request, values)
    for content, ending in uploads.values():
        await parts.uploads.store(content, ending, visit.caller, Once(parts.database, visit.caller.key, None, ""))
    made = await only_once(parts, visit, form, Job, lambda once: api.submit(asked, visit.caller, parts, once))
    return made.id


async def _source(
    form: FormData, given: dict[str, str], name: str, uploads: dict[str, tuple[bytes, Any]]
) -> dict[str, Any]:
    """Where rows come from, as a request says it; a file goes into ``uploads``, by the id that it will have."""
    columns, file = (given.get(f"{name}.{part}", "").strip() for part in ("columns", "file"))
    source: dict[str, Any] = {"columns": columns} if columns else {}
    match origin := given.get(f"{name}.from", ORIGINS[0]):
        case "upload":
            id, content, ending = await _upload(form.get(f"{name}.upload"), name)
            uploads[id] = (content, ending)
            return {**source, "upload": id}
        case "rows":
            return {**source, "rows": _rows(given.get(f"{name}.rows", ""), name)}
        case "dataset":
            ref, _, version = given.get(f"{name}.dataset", "").partition("@")
            if version:
                source["version"] = int(version) if version.isascii() and version.isdecimal() else version
            source["dataset"] = ref
        case "job":
            source["job"] = given.get(f"{name}.job", "")
        case _:
            raise Invalid(f"rows don't come from {origin[:40]!r}", "Choose one.", where=_where(name))
    if not source[origin]:
        raise Invalid("where do the rows come from?", "Choose one.", where=_where(name))
    return {**source, "file": file} if file else source


def _is_filled(form: FormData, given: dict[str, str], name: str) -> bool:
    """Whether somebody began to say where more rows come from: a further source may stay empty."""
    file = form.get(f"{name}.upload")
    has_file = isinstance(file, UploadFile) and bool(file.filename)
    return has_file or any(given.get(f"{name}.{part}", "").strip() for part in ("rows", "dataset", "job"))


async def _upload(file: Any, name: str) -> tuple[str, bytes, str]:
    """A file's id, content and ending. Raises `Invalid`."""
    if not isinstance(file, UploadFile) or not file.filename:
        raise Invalid("which file?", "Choose one with one row per line.", where=_where(name))
    ending = known_ending(file.filename).removeprefix(".")
    if ending not in ENDINGS:
        problem = f"{file.filename[:200]!r} has none of the endings {', '.join(ENDINGS)}"
        raise Invalid(problem, "Rename or convert it.", where=_where(name))
    content = await file.read()
    return sha256(content).hexdigest(), content, ending


def _rows(text: str, name: str) -> list[Any]:
    """Rows in the form itself, a JSON value a line. Raises `Invalid`."""
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            rows.append(parse(line.encode()))
        except Refusal:
            problem = f"line {number} is no JSON that can be used: {line.strip()[:80]}"
            fix = 'Write one row per line, such as {"prompt": "Name a river."}'
            raise Invalid(problem, fix, where=_where(name)) from None
    return rows


def _where(name: str) -> str:
    return f"/{name.replace('.', '/')}"


def _count(given: dict[str, str]) -> int:
    """How many sources the form has room for."""
    text = given.get("sources", "")
    return min(int(text), MOST_SOURCES) if text.isascii() and text.isdigit() and len(text) < 4 and int(text) else 1


def _says(entry: Entry, given: Mapping[str, str]) -> bool:
    """Whether somebody has said something in any of the entry's own fields."""
    return any(given.get(one.name) for one in entry.entries)


async def _page(
    request: Request, parts: Service, kind: str, given: dict[str, str], problem: ProblemDocument | None = None
) -> Response:
    if kind not in KINDS:
        raise not_found("kind of job", kind, f"There are: {', '.join(KINDS)}.")
    entries = entries_of(KINDS[kind].request)
    main = [entry for entry in entries if entry.is_required or entry.suggested]
    more = [entry for entry in entries if entry not in main]
    opened = {entry.name for entry in entries if _says(entry, given)}
    return render(
        request,
        "manage/new_job.html.j2",
        status=200 if problem is None else problem.status,
        kind=kind,
        kinds=KINDS_SHOWN,
        about=KINDS[kind].about,
        entries=main,
        more=more,
        opened=opened,
        named=await _named(parts),
        origins=ORIGINS,
        count=_count(given),
        given=typed(given),
        problem=problem,
        number=new_number(),
    )


async def _named(parts: Service) -> dict[str, list[str]]:
    """What a request may name, by lists."""
    database = parts.database
    made = await models.newest(database, MOST_LISTED)
    jobs = [row.id for row in await listing.done(database, MOST_LISTED)]
    named = {
        "jobs": jobs,
        "datasets": [f"{row.name}@{row.version}" for row in await versions.newest(database, MOST_LISTED)],
    }
    engines = list(parts.engines.names)
    both = [*made, *(engine for engine in engines if engine not in made)]
    return named | {
        "constitutions": list(await parts.constitutions.refs()),
        "engines": engines,
        "models": both,
    }
