"""Constitutions: the list, one version, its history, and what changed between two, word by word."""

import asyncio

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from base.errors import InputError
from constitution import Constitution, diff
from constitution.changes import Change, Diff, Edit
from service.bounds.lanes import Stop
from service.context import Parts, Service
from service.refusals import NotFound
from service.web.manage.asking import Everyone
from service.web.rendering import render
from service.web.visit import PageRoute

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get("/constitutions")
async def listed(request: Request, visit: Everyone, parts: Parts) -> Response:
    """All constitutions, each with its versions."""
    by_name: dict[str, list[Constitution]] = {}
    for ref in await parts.constitutions.refs():
        constitution = await parts.constitutions.get(ref)
        by_name.setdefault(constitution.name, []).append(constitution)
    return render(request, "manage/constitutions.html.j2", by_name=by_name, may_publish=visit.may("admin"))


@router.get("/constitutions/{ref}")
async def one(request: Request, ref: str, visit: Everyone, parts: Parts) -> Response:
    """One version: its principles, and the versions before and after."""
    constitution = await published(parts, ref)
    return render(
        request,
        "manage/constitution.html.j2",
        constitution=constitution,
        versions=await _versions(parts, constitution.name),
        may_publish=visit.may("admin"),
    )


@router.get("/constitutions/{ref}/file")
async def file(ref: str, visit: Everyone, parts: Parts) -> Response:
    """The file as it was published."""
    constitution = await published(parts, ref)
    content = await asyncio.to_thread(parts.constitutions.file(constitution).read_bytes)
    headers = {"Content-Disposition": f'attachment; filename="{constitution.name}-{constitution.version}.yaml"'}
    return Response(content, media_type="application/yaml", headers=headers)


@router.get("/constitutions/{ref}/diff")
async def compared(request: Request, ref: str, visit: Everyone, parts: Parts, to: str = "") -> Response:
    """What changed from one version to another."""
    a = await published(parts, ref)
    if not to:
        return RedirectResponse(f"/constitutions/{a.ref}", 303)
    b = await published(parts, to)
    difference, edits = await parts.figures.run(request, lambda stop: _with_edits(diff(a, b), stop))
    versions = await _versions(parts, a.name)
    return render(request, "manage/constitution_diff.html.j2", diff=difference, edits=edits, versions=versions)


def _with_edits(difference: Diff, stop: Stop) -> tuple[Diff, dict[Change, tuple[Edit, ...]]]:
    """A difference with the edits of each change: words are compared here, where it keeps nobody waiting."""
    changes = [*difference.header]
    for principle in (*difference.reworded, *difference.reweighted):
        changes += principle.fields
    return difference, {change: change.edits for change in stop.watched(changes)}


async def _versions(parts: Service, name: str) -> list[str]:
    """The versions of a constitution, the newest first."""
    refs = await parts.constitutions.refs()
    return [ref for ref in reversed(refs) if ref.rpartition("@")[0] == name]


async def published(parts: Service, ref: str) -> Constitution:
    """The constitution of this name. Raises `NotFound`."""
    try:
        return await parts.constitutions.get(ref)
    except InputError as error:
        raise NotFound(error.problem, error.fix) from None
