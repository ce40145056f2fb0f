"""Data sets: the list, one version with what it was made of, its files in every format, and making the next one."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from base.errors import InputError
from critic.feedback import KINDS
from service import problems
from service.answers.datasets import Dataset
from service.api.evidence import certificates
from service.api.labels import datasets as api
from service.api.labels import projects
from service.api.paging import Cursor
from service.context import Parts, Service
from service.exports.datasets import DatasetRequest
from service.jobs import models
from service.labels.projects import projects as stored_projects
from service.refusals import Invalid, ProblemDocument, Refusal
from service.web.forms import requested
from service.web.manage.asking import Maker, Reader, lines_of, new_number, only_once, typed
from service.web.rendering import render
from service.web.visit import Form, PageRoute, Visit, text_of

router = APIRouter(include_in_schema=False, route_class=PageRoute)

PAGE, MOST_PROJECTS = 100, 200
METHODS = ("majority", "each", "soft")


@router.get("/datasets")
async def listed(request: Request, visit: Reader, parts: Parts, cursor: Cursor = None) -> Response:
    """All versions of all data sets."""
    return await _listed(request, visit, parts, cursor, {}, None)


@router.post("/datasets")
async def make(request: Request, visit: Maker, parts: Parts, form: Form) -> Response:
    """Build the next version of a data set."""
    names = ("kind", "source", "project", "group")
    filter = {name: value for name in names if (value := text_of(form, name).strip())}
    values = {
        "name": text_of(form, "name").strip(),
        "aggregation": text_of(form, "aggregation"),
        "filter": filter,
        "pool_groups": text_of(form, "pool_groups") == "yes",
    }
    asks = {name: text_of(form, name) for name in ("certificate", "bounds", "require", "mend")}
    try:
        asked = requested(DatasetRequest, values | _certified(asks))
        made = await only_once(
            parts, visit, form, Dataset, lambda once: api.make(asked, request, visit.caller, parts, once)
        )
    except (InputError, Refusal) as error:
        return await _listed(request, visit, parts, None, values | filter | asks, problems.of(error).public())
    return RedirectResponse(f"/datasets/{made.name}/{made.version}", 303)


@router.get("/datasets/{name}/{version}")
async def one(request: Request, name: api.Name, version: api.Version, visit: Reader, parts: Parts) -> Response:
    """One version."""
    dataset = await api.get(name, version, visit.caller, parts)
    filter = dataset.request.get("filter", {})
    return render(
        request,
        "manage/dataset.html.j2",
        dataset=dataset,
        filter=filter,
        project=await stored_projects.name(parts.database, filter.get("project", "")),
        formats=api.WRITING,
        models=await models.trained_on(parts.database, f"dataset {name}@{version}"),
    )


@router.get("/datasets/{name}/{version}/download")
async def download(
    request: Request,
    name: api.Name,
    version: api.Version,
    visit: Reader,
    parts: Parts,
    table: str,
    format: str = "jsonl",
) -> Response:
    """A table as a file."""
    return await api.download(name, version, request, visit.caller, parts, table, format)


def _certified(asks: Mapping[str, str]) -> dict[str, Any]:
    """What is asked of the certificates of judges, where something is."""
    asked: dict[str, Any] = {"certificate": asks["certificate"]} if asks["certificate"] else {}
    bounds = dict(_bound(line) for line in lines_of(asks["bounds"]))
    if bounds or asks["require"] == "yes":
        asked["require_certificate"] = bounds or True
    if asks["mend"] == "yes":
        asked["mend"] = True
    return asked


def _bound(line: str) -> tuple[str, float]:
    name, _, value = line.partition("=")
    try:
        return name.strip(), float(value)
    except ValueError:
        raise Invalid(f"{line[:100]!r} is no bound", "Write it as in accuracy = 0.7.", where="/bounds") from None


async def _listed(
    request: Request,
    visit: Visit,
    parts: Service,
    cursor: str | None,
    given: dict[str, Any],
    problem: ProblemDocument | None,
) -> Response:
    page = await api.listed(visit.caller, parts, limit=PAGE, cursor=cursor)
    known = await projects.listed(visit.caller, parts, limit=MOST_PROJECTS)
    return render(
        request,
        "manage/datasets.html.j2",
        status=200 if problem is None else problem.status,
        datasets=page.items,
        next=page.next,
        projects=known.items,
        kinds=list(KINDS),
        methods=METHODS,
        certificates=(await certificates.listed(visit.caller, parts)).items,
        given=typed(given),
        problem=problem,
        number=new_number(),
        may_make=visit.may("feedback"),
    )
