"""Data sets: immutable versions of rows for trainers, built from feedback, and downloaded in each export format."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi import Path as PathParameter
from fastapi.responses import FileResponse
from starlette.background import BackgroundTask

from service.answers.datasets import Dataset
from service.answers.page import Page
from service.api.body import StrictRoute
from service.api.paging import Cursor, Limit, decode, encode
from service.bounds.lanes import Stop
from service.context import OnlyOnce, Parts, allowed
from service.exports import datasets as building
from service.exports import versions
from service.exports.datasets import DatasetRequest
from service.formats import FORMATS, format_of
from service.formats.base import DATA_TABLES
from service.keys import access
from service.keys.auth import Caller, audited
from service.problems import responses
from service.refusals import Conflict, not_found
from service.store.database import AlreadyThere, Rows
from service.store.disk import dataset_folder
from service.store.disk.scratch import scratch, temporary

router = APIRouter(prefix="/v1/datasets", tags=["datasets"], route_class=StrictRoute, responses=responses())

Maker = Annotated[Caller, allowed("feedback")]
Reader = Annotated[Caller, allowed(*access.LABELS)]

Name = Annotated[str, PathParameter(max_length=64)]
Version = Annotated[int, PathParameter(ge=1, le=2**31 - 1)]
WRITING = [name for name, format in FORMATS.items() if not set(DATA_TABLES).isdisjoint(format.tables)]
Format = Annotated[str, Query(json_schema_extra={"enum": WRITING}, description="A file format.")]
Table = Annotated[
    str, Query(json_schema_extra={"enum": list(DATA_TABLES)}, description="One of the data set's tables.")
]


@router.post("", status_code=201, responses=responses(409))
async def make(asked: DatasetRequest, request: Request, caller: Maker, parts: Parts, once: OnlyOnce) -> Dataset:
    """Build the next version of a data set. It is answered when all of it is written.

    A client that goes away before has none. Where too many are being built already, the answer is 503.
    """

    def also(row: dict[str, Any]) -> Rows:
        entry = audited(caller, "dataset.made", f"{row['name']}@{row['version']}", sha256=row["sha256"])
        return {**entry, **once.rows(Dataset.model_validate(row))}

    try:
        return Dataset.model_validate(await building.make(parts, request, asked, also))
    except AlreadyThere:
        await once.replay()
        raise Conflict("another version was made at the same time", "Send it again.") from None


@router.get("")
async def listed(
    caller: Reader,
    parts: Parts,
    name: Annotated[str | None, Query(max_length=64, description="Only versions of this one.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[Dataset]:
    """All versions, by name, from the oldest."""
    built, has_more = await versions.page(parts.database, _place(decode(cursor)), limit, name)
    last = built[-1] if has_more else None
    return Page(items=built, next=None if last is None else encode(f"{last.name}@{last.version}"))


@router.get("/{name}/{version}", responses=responses(404))
async def get(name: Name, version: Version, caller: Reader, parts: Parts) -> Dataset:
    """One version."""
    return await versions.get(parts.database, name, version)


@router.get(
    "/{name}/{version}/download",
    response_class=FileResponse,
    responses={
        200: {
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
            "headers": {
                "Cai-Lost": {
                    "description": "What the format has no place for: a JSON object of names and numbers of rows.",
                    "schema": {"type": "string"},
                }
            },
        },
        **responses(404),
    },
)
async def download(
    name: Name,
    version: Version,
    request: Request,
    caller: Reader,
    parts: Parts,
    table: Table,
    format: Format = "jsonl",
) -> FileResponse:
    """One table of a version as a file. `jsonl` is the file as it was built, and loses nothing."""
    built = await versions.get(parts.database, name, version)
    if table not in built.counts.tables:
        tables = ", ".join(built.counts.tables)
        raise not_found("table", table, f"{built.name}@{built.version} has {tables}.")
    file = dataset_folder.folder(parts.settings.data, built.name, built.version) / f"{table}.jsonl"
    if not file.is_file():
        raise not_found("file of", f"{built.name}@{built.version}", "An administrator has to restore the data folder.")
    called = f"{built.name}-{built.version}-{table}"
    if format == "jsonl":
        return _answer(file, f"{called}.jsonl", {})
    stack = ExitStack()
    try:
        folder = stack.enter_context(scratch(temporary()))
        target, suffix, lost = await parts.builds.run(request, lambda stop: _convert(file, table, format, folder, stop))
    except BaseException:
        stack.close()
        raise
    return _answer(target, f"{called}{suffix}", lost, BackgroundTask(stack.close))


def _answer(file: Path, called: str, lost: dict[str, int], after: BackgroundTask | None = None) -> FileResponse:
    headers = {"Cai-Lost": json.dumps(lost)}
    return FileResponse(file, media_type="application/octet-stream", filename=called, headers=headers, background=after)


def _convert(file: Path, table: Any, format: str, folder: Path, stop: Stop) -> tuple[Path, str, dict[str, int]]:
    """Write a table in another format into ``folder``. Raises `InputError` where the format has no place for it."""
    form = format_of(format)
    target = folder / f"{table}{form.suffixes[0]}"
    with file.open(encoding="utf-8") as lines:
        lost = form.write(table, _rows(stop.watched(lines)), target)
    return target, form.suffixes[0], dict(lost)


def _rows(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    return (json.loads(line) for line in lines)


def _place(place: str | None) -> tuple[str, int] | None:
    """The name and version that a cursor holds; version 0 where it holds none."""
    if place is None:
        return None
    name, _, version = place.rpartition("@")
    return name, int(version) if version.isascii() and version.isdigit() and len(version) < 10 else 0
