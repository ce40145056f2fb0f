"""The pages' own files: one stylesheet and a few scripts, each known by its content, so that browsers may keep it."""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from fastapi import APIRouter, Request, Response

from service.refusals import not_found

router = APIRouter(include_in_schema=False)

TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
KEPT = "public, max-age=31536000, immutable"
VERSION_DIGITS = 16


@dataclass(frozen=True, slots=True)
class File:
    """A file and the name of its content."""

    content: bytes
    type: str
    version: str


@cache
def known() -> dict[str, File]:
    """All files, by name. Nothing else is ever read for a request."""
    by_name = {}
    for file in files("service.web").joinpath("static").iterdir():
        content = file.read_bytes()
        version = hashlib.sha256(content).hexdigest()[:VERSION_DIGITS]
        by_name[file.name] = File(content, TYPES[file.name.rpartition(".")[2]], version)
    return by_name


def asset(name: str) -> str:
    """The address of a file with its present content."""
    return f"/static/{name}?v={known()[name].version}"


@router.get("/static/{name}")
async def file(name: str, request: Request, v: str = "") -> Response:
    """A file. Under the version of its content it is kept for a year, else it is asked for again."""
    kept = known().get(name)
    if kept is None:
        raise not_found("file", name)
    headers = {
        "Cache-Control": KEPT if v == kept.version else "no-cache",
        "ETag": f'"{kept.version}"',
        "X-Content-Type-Options": "nosniff",
    }
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return Response(kept.content, media_type=kept.type, headers=headers)
