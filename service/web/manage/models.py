"""Models that were trained here: the list, and one with all that it comes from, from constitution to weights."""

from typing import Any

from fastapi import APIRouter, Request, Response

from service.api.jobs import models as api
from service.api.paging import Cursor
from service.context import Parts, Service
from service.jobs import listing
from service.web.manage.asking import JobReader
from service.web.rendering import render
from service.web.visit import PageRoute

router = APIRouter(include_in_schema=False, route_class=PageRoute)

PAGE = 100


@router.get("/models")
async def listed(request: Request, visit: JobReader, parts: Parts, cursor: Cursor = None) -> Response:
    """All models, by name."""
    page = await api.listed(visit.caller, parts, limit=PAGE, cursor=cursor)
    return render(request, "manage/models.html.j2", models=page.items, next=page.next)


@router.get("/models/{name:path}")
async def one(request: Request, name: str, visit: JobReader, parts: Parts) -> Response:
    """One model and its lineage."""
    model = await api.get(name, visit.caller, parts)
    refs = await _constitutions(parts)
    lineage = model.lineage
    constitutions = [(digest, refs.get(digest)) for digest in lineage.get("constitutions", ())]
    return render(
        request,
        "manage/model.html.j2",
        model=model,
        constitutions=constitutions,
        sources=[_source(text) for text in await listing.sources(parts.database, model.job)],
        ancestors=_ancestors(lineage),
        parent=lineage.get("parent", {}),
        figures=sorted(lineage.get("figures", {}).items()),
        counts=lineage.get("counts", {}),
        settings=sorted(lineage.get("settings", {}).items()),
        packages=sorted(lineage.get("packages", {}).items()),
    )


async def _constitutions(parts: Service) -> dict[str, str]:
    """Every published version by its content's hash."""
    constitutions = [await parts.constitutions.get(ref) for ref in await parts.constitutions.refs()]
    return {constitution.digest: constitution.ref for constitution in constitutions}


def _source(text: str) -> dict[str, str]:
    """A source in words, and its page where it has one."""
    what, _, name = text.partition(" ")
    address = {"dataset": f"/datasets/{name.replace('@', '/')}", "job": f"/jobs/{name}"}.get(what, "")
    return {"what": what, "name": name, "address": address}


def _ancestors(lineage: Any, depth: int = 0) -> list[dict[str, Any]]:
    """All models that it comes from, those nearest to it first, each with how far back it is."""
    ancestors: list[dict[str, Any]] = []
    for one in lineage.get("ancestors", ()):
        ancestors.append({"name": one["name"], "trainer": one["trainer"], "depth": depth})
        ancestors += _ancestors(one, depth + 1)
    return ancestors
