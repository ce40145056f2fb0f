"""Jobs: the list, one with its progress as it goes on, its log, its files, and the report and curves that it leaves."""

import asyncio
import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from service.api.jobs import jobs as api
from service.api.paging import Cursor
from service.context import Parts, Service
from service.jobs.inputs.artifacts import Artifact, of_job
from service.jobs.job import ENDED, Job, JobEvent
from service.jobs.kinds import KINDS
from service.refusals import not_found
from service.web.manage.asking import JobReader, Submitter, new_number, only_once
from service.web.manage.job.logged import GrowingLogs, parsed
from service.web.rendering import csv, render
from service.web.visit import Form, PageRoute, Visit
from trainers.folder.report import pictures

router = APIRouter(include_in_schema=False, route_class=PageRoute)

PAGE = 50
EVENTS = 200  # of a log that a page shows, the last
REPORT, METRICS = "report.html", "metrics.jsonl"
MOST_METRICS, MOST_OF_REPORT = 32 * 2**20, 64 * 2**20  # bytes
_LOGS = GrowingLogs()


@router.get("/jobs")
async def listed(
    request: Request,
    visit: JobReader,
    parts: Parts,
    state: str | None = None,
    kind: str | None = None,
    cursor: Cursor = None,
) -> Response:
    """All jobs, the newest first."""
    chosen: dict[str, Any] = {"state": state or None, "kind": kind or None}
    page = await api.listed(visit.caller, parts, **chosen, limit=PAGE, cursor=cursor)
    return render(
        request, "manage/jobs.html.j2", jobs=page.items, next=page.next, state=state, kind=kind, kinds=list(KINDS)
    )


@router.get("/jobs/{id}")
async def one(request: Request, id: str, visit: JobReader, parts: Parts) -> Response:
    """A job."""
    return render(request, "manage/job.html.j2", **await _told(parts, visit, id))


@router.get("/jobs/{id}/live")
async def live(request: Request, id: str, visit: JobReader, parts: Parts) -> Response:
    """The part of a job's page that changes while it runs: the page's script asks for it."""
    return render(request, "manage/job_live.html.j2", **await _told(parts, visit, id))


@router.post("/jobs/{id}/cancel")
async def cancel(id: str, visit: Submitter, parts: Parts, form: Form) -> Response:
    """End a job."""
    await api.cancel(id, visit.caller, parts)
    return RedirectResponse(f"/jobs/{id}", 303)


@router.post("/jobs/{id}/retry")
async def retry(id: str, visit: Submitter, parts: Parts, form: Form) -> Response:
    """Do a job again."""
    await only_once(parts, visit, form, Job, lambda once: api.retry(id, visit.caller, parts, once))
    return RedirectResponse(f"/jobs/{id}", 303)


@router.get("/jobs/{id}/log")
async def log(id: str, visit: JobReader, parts: Parts) -> Response:
    """The whole log, as text."""
    return await api.logs(id, visit.caller, parts)


@router.get("/jobs/{id}/files/{name:path}")
async def file(id: str, name: str, visit: JobReader, parts: Parts) -> Response:
    """One of the job's files."""
    return await api.artifact(id, name, visit.caller, parts)


@router.get("/jobs/{id}/report")
async def report(id: str, visit: JobReader, parts: Parts) -> Response:
    """The report, as a page: nothing in it runs or loads, and its style is the one that it was written with."""
    await parts.jobs.readable(id, visit.caller)
    content = await asyncio.to_thread(_content, parts, id, REPORT, MOST_OF_REPORT)
    if content is None:
        raise not_found("report of job", id, "Runs, trainings and alignments leave one when they are done.")
    text = content.decode("utf-8", "replace")
    return HTMLResponse(text, headers={"Content-Security-Policy": _policy(text)})


@router.get("/jobs/{id}/curves/{name}.svg")
async def curve(id: str, name: str, visit: JobReader, parts: Parts) -> Response:
    """One of a training's curves as a file."""
    job = await parts.jobs.readable(id, visit.caller)
    drawn = pictures(await asyncio.to_thread(_metrics, parts, job)).get(name)
    if drawn is None:
        raise not_found("curve", name)
    return Response(str(drawn.file()), media_type="image/svg+xml")


@router.get("/jobs/{id}/curves/{name}.csv")
async def curve_csv(id: str, name: str, visit: JobReader, parts: Parts) -> Response:
    """The numbers of all curves, a step a row."""
    job = await parts.jobs.readable(id, visit.caller)
    return csv(f"metrics-{id}", await asyncio.to_thread(_metrics, parts, job))


async def _told(parts: Service, visit: Visit, id: str) -> dict[str, Any]:
    """What a job's page says: what is in it, only to who may read that."""
    job = await parts.jobs.get(id)
    readable = visit.caller.may("read") or job.key == visit.caller.key
    files: list[Artifact] = []
    events: list[JobEvent] = []
    drawn: dict[str, str] = {}
    if readable:
        files = await asyncio.to_thread(parts.jobs.artifacts.listing, of_job(id))
        events = [JobEvent.model_validate(event) for event in await parts.jobs.last_events(id, EVENTS)]
        drawn = await asyncio.to_thread(_curves, parts, job)
    return {
        "job": job,
        "running": job.state not in ENDED,
        "leaves_pairs": job.kind in KINDS and KINDS[job.kind].leaves_pairs,
        "readable": readable,
        "files": files,
        "has_report": any(artifact.name == REPORT for artifact in files),
        "events": events,
        "request_text": json.dumps(job.request, indent=2, ensure_ascii=False),
        "result": _result(job),
        "drawn": drawn,
        "number": new_number(),
    }


def _result(job: Job) -> list[tuple[str, Any]]:
    """What a job says of its result in single values."""
    return [(key, value) for key, value in (job.result or {}).items() if not isinstance(value, dict | list)]


def _curves(parts: Service, job: Job) -> dict[str, str]:
    """The pictures of what a training has logged, by name; of a job that logs nothing, none."""
    file = _log_file(parts, job)
    rows = [] if file is None else _LOGS.rows(file)
    return {name: picture.draw() for name, picture in pictures(rows).items()}


def _content(parts: Service, id: str, name: str, most: int) -> bytes | None:
    """A file of a job, where there is one of at most so many bytes: a longer one can be downloaded."""
    artifact = parts.jobs.artifacts.find(of_job(id), name)
    if artifact is None or artifact.bytes > most:
        return None
    return b"".join(parts.jobs.artifacts.blocks(of_job(id), artifact.name))


def _metrics(parts: Service, job: Job) -> list[dict[str, Any]]:
    """What a training has logged so far, all of it."""
    file = _log_file(parts, job)
    content = b"" if file is None else file.read_bytes()
    rows = map(parsed, content.split(b"\n")[:-1])  # the last is empty, or being written
    return [row for row in rows if row is not None]


def _log_file(parts: Service, job: Job) -> Path | None:
    """Where a training's log is; none that is too long to be drawn.

    One that runs writes it in its folder, also where it left a file when it ended before; where a job trains in several
    stages, the file that was written last counts. The folder of one that has ended is perhaps on another machine.
    """
    folder = parts.settings.data / "runs" / Path(job.id).name
    written = sorted(folder.rglob(METRICS), key=lambda path: path.stat().st_mtime)[-1:]
    kept = [parts.jobs.artifacts.root / of_job(job.id) / METRICS]
    files = [*kept, *written] if job.state in ENDED else [*written, *kept]
    file = next((path for path in files if path.is_file()), None)
    return file if file is not None and file.stat().st_size <= MOST_METRICS else None


def _policy(page: str) -> str:
    """A policy under which nothing acts, and no style applies but the page's own first one."""
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    allowed = "'none'"
    if style is not None:
        allowed = f"'sha256-{base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()}'"
    return f"default-src 'none'; style-src {allowed}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
