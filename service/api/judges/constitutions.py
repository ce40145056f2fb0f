"""Constitutions: list them, read one, see what changed between versions, check a text, and publish a version."""

import asyncio
import json
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict

from constitution import Constitution, InputError, diff
from constitution.changes import Change, Changed, Diff
from constitution.faults import FaultyFile
from constitution.lint import lint
from constitution.positions import MAX_BYTES
from service.answers.constitutions import Shown, Summary
from service.answers.page import Page
from service.api.body import StrictRoute, parse
from service.api.paging import Cursor, Limit, decode, encode
from service.bounds.lanes import Stop
from service.context import OnlyOnce, Parts, allowed
from service.keys import access
from service.keys.auth import Caller, audited
from service.problems import responses
from service.refusals import Fault, Forbidden, Invalid, NotFound
from service.store.constitutions import FILE, Constitutions

router = APIRouter(prefix="/v1", tags=["constitutions"], route_class=StrictRoute, responses=responses())

YAML = "application/yaml"

Reader = Annotated[Caller, allowed("read")]
OneReader = Annotated[Caller, allowed(*access.CONSTITUTIONS)]
Admin = Annotated[Caller, allowed("admin")]
Ref = Annotated[str, Path(max_length=200, description="NAME@VERSION, or NAME: its newest version.")]

_EXAMPLE = {
    "name": "brief",
    "version": "1.0.0",
    "title": "Brief answers",
    "summary": "Say what matters, and stop.",
    "license": "Apache-2.0",
    "language": "en",
    "principles": [
        {
            "id": "short",
            "title": "Be short",
            "statement": "The response says what matters in as few words as it needs.",
            "critique": "Point to words in the response that could go without loss.",
            "revision": "Rewrite the response with everything that matters in fewer words.",
            "compare": "Which response says what matters in fewer words?",
            "opposite": "The response takes many words to say little.",
        }
    ],
}


def _body(schema: dict[str, str]) -> dict[str, Any]:
    """What OpenAPI says of a body that is read by `_content`."""
    content = {"schema": schema, "example": _EXAMPLE}
    return {"requestBody": {"required": True, "content": {YAML: content, "application/json": content}}}


class FaultInFile(BaseModel):
    """Something that keeps a text from being a constitution; ``line`` counts from 1."""

    line: int | None
    key: str
    problem: str


class RemarkOnFile(BaseModel):
    """Something that deserves a second look: it works, but will judge worse, cost more or surprise someone."""

    model_config = ConfigDict(from_attributes=True)

    where: str
    problem: str


class Linted(BaseModel):
    """What is wrong with a text, and what could be better. ``ref`` and ``hash`` are there where nothing is wrong."""

    ref: str | None = None
    hash: str | None = None
    faults: list[FaultInFile] = []
    remarks: list[RemarkOnFile] = []


class Version(BaseModel):
    """One side of a difference."""

    ref: str
    hash: str


class FieldChange(BaseModel):
    """One field's text before and after."""

    model_config = ConfigDict(from_attributes=True)

    field: str
    before: str
    after: str


class PrincipleChange(BaseModel):
    """A principle that both versions have, with what differs."""

    id: str
    fields: list[FieldChange]


class Difference(BaseModel):
    """What changed from a to b. Votes under the principles in ``stale_digests`` don't hold for b."""

    a: Version
    b: Version
    header: list[FieldChange]
    added: list[str]
    removed: list[str]
    reworded: list[PrincipleChange]
    reweighted: list[PrincipleChange]
    unchanged: list[str]
    stale_digests: list[str]


async def _content(request: Request) -> bytes:
    """The body as a constitution file: JSON is YAML once its escapes are written out."""
    body = await request.body()
    if not body:
        raise Invalid("there is no body", "Send the constitution's YAML or JSON.", where="body")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" or len(body) > MAX_BYTES:  # too long is refused as such, without being parsed
        return body
    return await asyncio.to_thread(lambda: json.dumps(parse(body), ensure_ascii=False, indent=2).encode())


Content = Annotated[bytes, Depends(_content)]


@router.get("/constitutions")
async def listed(caller: Reader, parts: Parts, limit: Limit = 50, cursor: Cursor = None) -> Page[Summary]:
    """All published versions, those that come with the package included."""
    refs, after = await parts.constitutions.refs(), decode(cursor)
    start = refs.index(after) + 1 if after in refs else 0
    constitutions = [await parts.constitutions.get(ref) for ref in refs[start : start + limit]]
    more = start + limit < len(refs)
    return Page(items=[_summary(one) for one in constitutions], next=encode(constitutions[-1].ref) if more else None)


@router.post(
    "/constitutions",
    status_code=201,
    responses=responses(409) | {200: {"model": Summary}},
    openapi_extra=_body({"type": "object"}),
)
async def publish(caller: Admin, parts: Parts, once: OnlyOnce, content: Content, response: Response) -> Summary:
    """Publish a version. It never changes after that: the same bytes again are no error, others are refused."""
    try:
        constitution = await parts.constitutions.check(content)
    except InputError as error:
        raise _refused(error) from None
    answer = _summary(constitution)
    record = audited(caller, "constitution.published", constitution.ref, hash=constitution.digest)
    if not await parts.constitutions.publish(constitution, content, {**record, **once.rows(answer)}):
        response.status_code = 200
    return answer


@router.post("/lint", openapi_extra=_body({}))
async def linted(request: Request, caller: Reader, parts: Parts, content: Content) -> Linted:
    """Check a text as if it were to be published, without publishing it."""
    await parts.constitutions.refresh()
    return await parts.figures.run(request, lambda stop: checked_text(parts.constitutions, content, stop))


@router.get(
    "/constitutions/{ref}",
    response_model=Shown,
    responses=responses(404) | {200: {"content": {YAML: {"schema": {}}}}},
)
async def get(
    ref: Ref,
    caller: OneReader,
    parts: Parts,
    format: Annotated[Literal["yaml", "json"] | None, Query(description="By default what Accept asks for.")] = None,
    accept: Annotated[str, Header(max_length=1000)] = "",
) -> Any:
    """One constitution: the file as it was published (YAML), or with its includes and hashes (JSON).

    A key with the scope `label` reads those that its annotator's projects name.
    """
    constitution = await _found(parts, ref)
    async with parts.database.read() as connection:
        if not await access.reads_constitution(connection, caller, constitution.ref):
            raise Forbidden(f"no task of yours names {constitution.ref}", "Use a key with the scope read.")
    if format == "yaml" or (format is None and "yaml" in accept):
        content = await asyncio.to_thread(parts.constitutions.file(constitution).read_bytes)
        return Response(content, media_type=YAML)
    hashes = {principle.id: principle.digest for principle in constitution.principles}
    return Shown(ref=constitution.ref, hash=constitution.digest, constitution=constitution, principle_hashes=hashes)


@router.get("/constitutions/{ref}/diff", responses=responses(404))
async def compared(
    ref: Ref,
    request: Request,
    caller: Reader,
    parts: Parts,
    to: Annotated[str, Query(max_length=200, description="NAME@VERSION, or NAME: its newest version.")],
) -> Difference:
    """What changed from one version to another, and which votes that leaves without a principle."""
    a, b = await _found(parts, ref), await _found(parts, to)
    return await parts.figures.run(request, lambda stop: _difference(diff(a, b)))


async def _found(parts: Parts, ref: str) -> Constitution:
    try:
        return await parts.constitutions.get(ref)
    except InputError as error:
        raise NotFound(error.problem, error.fix) from None


def checked_text(constitutions: Constitutions, content: bytes, stop: Stop) -> Linted:
    """What is wrong with a text, and what could be better; in a thread, and of what was refreshed before."""
    try:
        constitution = constitutions.checked(content, stop.check)
    except InputError as error:
        return Linted(faults=_faults(error))
    stop.check()
    remarks = [RemarkOnFile.model_validate(remark) for remark in lint(constitution)]
    return Linted(ref=constitution.ref, hash=constitution.digest, remarks=remarks)


def _summary(constitution: Constitution) -> Summary:
    return Summary(
        ref=constitution.ref,
        name=constitution.name,
        version=constitution.version,
        title=constitution.title,
        hash=constitution.digest,
        principles=len(constitution.principles),
    )


def _difference(diff: Diff) -> Difference:
    added = [principle.id for principle in diff.added]
    return Difference(
        a=Version(ref=diff.a.ref, hash=diff.a.digest),
        b=Version(ref=diff.b.ref, hash=diff.b.digest),
        header=_fields(diff.header),
        added=added,
        removed=[principle.id for principle in diff.removed],
        reworded=_changed(diff.reworded),
        reweighted=_changed(diff.reweighted),
        unchanged=list(diff.unchanged),
        stale_digests=list(diff.stale_digests),
    )


def _changed(principles: tuple[Changed, ...]) -> list[PrincipleChange]:
    return [PrincipleChange(id=changed.id, fields=_fields(changed.fields)) for changed in principles]


def _fields(changes: tuple[Change, ...]) -> list[FieldChange]:
    return [FieldChange.model_validate(change) for change in changes]


def _refused(error: InputError) -> Invalid:
    """Name every fault of a text that can't be published."""
    faults = [Fault(where=f"line {f.line} {f.key}".strip(), problem=f.problem) for f in _faults(error)]
    return Invalid(f"{error.where}: {error.problem}".strip(": "), error.fix, faults=faults)


def _faults(error: InputError) -> list[FaultInFile]:
    """Each fault with its place: its line and key, where it is the text itself that is wrong."""
    if isinstance(error, FaultyFile) and str(error.file) == FILE:
        named = [FaultInFile(line=fault.line, key=fault.key, problem=fault.problem) for fault in error.faults]
        more = [FaultInFile(line=None, key="", problem=f"and {error.unnamed} more")] if error.unnamed else []
        return named + more
    return [FaultInFile(line=None, key="", problem=error.problem)]
