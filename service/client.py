"""The service's Python client, for programs that wait (`Client`) and for asyncio (`AsyncClient`).

    with Client("http://127.0.0.1:8300", key) as client:
        client.give({"kind": "demonstration", "prompt": "Name a river.", "label": "The Po."})
        for label in client.all_feedback(kind="demonstration"):
            print(label.label)

With an `AsyncClient` the same methods are awaited, and lists are iterated with ``async for``. Every POST carries an
``Idempotency-Key``, so a request whose answer is lost is sent again without being done twice. What the service refuses
is raised as `Refused`.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, ParamSpec, Self, TypeVar, overload
from urllib.parse import quote

import httpx2
from pydantic import TypeAdapter, ValidationError

from constitution.errors import InputError
from service.api.agreement import ProjectAgreement
from service.api.annotators import Annotator
from service.api.audit import AuditEntry
from service.api.datasets import Dataset
from service.api.feedback import BatchGiven, Given
from service.api.keys import Key, KeyMade
from service.api.paging import Page
from service.api.projects import ItemsAdded, Project
from service.api.tasks import Done, NextTask
from service.label_query import StoredFeedback
from service.problems import ProblemDocument

TIMEOUT = httpx2.Timeout(30, read=600)  # building a data set is answered when it is done
TRIES = 6
AGAIN = frozenset({429, 503})  # statuses that pass
LONGEST_WAIT = 60.0
PAGE = 500

P = ParamSpec("P")
T = TypeVar("T")
Item = TypeVar("Item")


class Refused(InputError):
    """The service's problem document: ``document.type`` for programs, the rest for people."""

    def __init__(self, document: ProblemDocument) -> None:
        super().__init__(document.detail, fix=document.fix)
        self.document = document


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request, and how its answer is read."""

    method: str
    path: str
    read: Callable[[Any], T]
    json: Any = None
    params: dict[str, Any] = field(default_factory=dict)
    idempotency_key: str | None = None

    def request(self) -> dict[str, Any]:
        """What is sent, every time that it is."""
        headers = {"Idempotency-Key": self.idempotency_key or str(uuid.uuid4())} if self.method == "POST" else {}
        params = {name: value for name, value in self.params.items() if value is not None}
        body = {} if self.json is None else {"json": self.json}
        return {"method": self.method, "url": self.path, "headers": headers, "params": params, **body}

    def settled(self, outcome: httpx2.Response | httpx2.TransportError, attempt: int) -> "_Answer[T] | float":
        """The answer, or the seconds to wait before the request is sent again. Raises `Refused` and `InputError`."""
        if isinstance(outcome, httpx2.TransportError):
            if attempt == TRIES:
                raise InputError(f"the server can't be reached: {outcome}", fix="Is it running? cai serve starts one.")
            return min(LONGEST_WAIT, 0.25 * 2.0**attempt)
        if outcome.status_code in AGAIN and attempt < TRIES:
            told = outcome.headers.get("Retry-After")
            return min(LONGEST_WAIT, 0.25 * 2.0**attempt if told is None else float(told))
        refuse(outcome)
        return _Answer(self.read(outcome.json()))


@dataclass(frozen=True, slots=True)
class _Answer(Generic[T]):
    value: T


def refuse(response: httpx2.Response) -> None:
    """Raise what a response says is wrong, if anything."""
    if response.is_success:
        return
    try:
        document = ProblemDocument.model_validate_json(response.content)
    except ValidationError:
        raise InputError(
            f"answered {response.status_code}, and not as this service does", where=response.url.path
        ) from None
    raise Refused(document)


class _Method(Generic[P, T]):
    """A method of both clients: called on one it gives the answer, on the other what is awaited for it."""

    def __init__(self, make: Callable[P, Call[T]]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    @overload
    def __get__(self, client: "Client", _: object) -> Callable[P, T]: ...
    @overload
    def __get__(self, client: "AsyncClient", _: object) -> Callable[P, Awaitable[T]]: ...
    def __get__(self, client: Any, _: object) -> Any:
        return lambda *args, **named: client.send(self._make(*args, **named))


class _List(Generic[P, Item]):
    """A method of both clients that lists everything, page by page."""

    def __init__(self, make: Callable[P, Call[Page[Item]]]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    @overload
    def __get__(self, client: "Client", _: object) -> Callable[P, Iterator[Item]]: ...
    @overload
    def __get__(self, client: "AsyncClient", _: object) -> Callable[P, AsyncIterator[Item]]: ...
    def __get__(self, client: Any, _: object) -> Any:
        return lambda *args, **named: client.pages(self._make(*args, **named))


def _reader(model: Any) -> Callable[[Any], Any]:
    return TypeAdapter(model).validate_python


def _page(model: Any) -> Callable[[Any], Any]:
    return _reader(Page[model])


def _path(*parts: object) -> str:
    return "/v1/" + "/".join(quote(str(part), safe="") for part in parts)


def read_feedback(row: dict[str, Any]) -> StoredFeedback:
    """Read one label of an answer."""
    return StoredFeedback.model_validate({name: row[name] for name in row if name in StoredFeedback.model_fields})


def _read_feedback_page(page: dict[str, Any]) -> Page[StoredFeedback]:
    return Page(items=[read_feedback(row) for row in page["items"]], next=page["next"])


def _read_given(answer: dict[str, Any]) -> Given | BatchGiven:
    return Given.model_validate(answer) if "id" in answer else BatchGiven.model_validate(answer)


def give(
    rows: dict[str, Any] | Sequence[dict[str, Any]], *, idempotency_key: str | None = None
) -> Call[Given | BatchGiven]:
    """Store one label, or a list of up to 10,000: see `service.label_form` for what may be left out."""
    return Call("POST", _path("feedback"), _read_given, rows, idempotency_key=idempotency_key)


def feedback(id: str) -> Call[StoredFeedback]:
    """One label."""
    return Call("GET", _path("feedback", id), read_feedback)


def all_feedback(**filters: Any) -> Call[Page[StoredFeedback]]:
    """Labels in the order in which they were stored, by the filters of ``GET /v1/feedback``."""
    return Call("GET", _path("feedback"), _read_feedback_page, params=filters)


def retract(id: str, reason: str) -> Call[StoredFeedback]:
    """Withdraw a label."""
    return Call("POST", _path("feedback", id, "retract"), read_feedback, {"reason": reason})


def make_key(name: str, scopes: Sequence[str], annotator: str | None = None) -> Call[KeyMade]:
    """Make an API key; its text is told only now."""
    return Call("POST", _path("keys"), _reader(KeyMade), {"name": name, "scopes": list(scopes), "annotator": annotator})


def keys() -> Call[Page[Key]]:
    """All API keys, without their texts."""
    return Call("GET", _path("keys"), _page(Key))


def revoke_key(id: str) -> Call[Key]:
    """Revoke an API key."""
    return Call("DELETE", _path("keys", id), _reader(Key))


def make_annotator(name: str, **more: Any) -> Call[Annotator]:
    """Make an annotator: ``group`` and ``attributes`` may be given."""
    return Call("POST", _path("annotators"), _reader(Annotator), {"name": name, **more})


def annotator(id: str) -> Call[Annotator]:
    """One annotator."""
    return Call("GET", _path("annotators", id), _reader(Annotator))


def annotators(name: str | None = None) -> Call[Page[Annotator]]:
    """All annotators, or the one with this name."""
    return Call("GET", _path("annotators"), _page(Annotator), params={"name": name})


def erase_annotator(id: str) -> Call[Annotator]:
    """Erase who an annotator is. Labels stay."""
    return Call("DELETE", _path("annotators", id), _reader(Annotator))


def make_project(name: str, kind: str, **more: Any) -> Call[Project]:
    """Make a labelling project: ``items``, ``guidelines``, ``labels_per_item`` and more as in ``POST /v1/projects``."""
    return Call("POST", _path("projects"), _reader(Project), {"name": name, "kind": kind, **more})


def project(id: str) -> Call[Project]:
    """One project, with its progress."""
    return Call("GET", _path("projects", id), _reader(Project))


def projects() -> Call[Page[Project]]:
    """All projects."""
    return Call("GET", _path("projects"), _page(Project))


def change_project(id: str, **changes: Any) -> Call[Project]:
    """Assign, close or open a project."""
    return Call("PATCH", _path("projects", id), _reader(Project), changes)


def add_items(project: str, items: Sequence[dict[str, Any]]) -> Call[ItemsAdded]:
    """Add items to a project."""
    return Call("POST", _path("projects", project, "items"), _reader(ItemsAdded), {"items": list(items)})


def agreement(project: str) -> Call[ProjectAgreement]:
    """A project's figures."""
    return Call("GET", _path("projects", project, "agreement"), _reader(ProjectAgreement))


def next_task(project: str) -> Call[NextTask]:
    """Lease the next task of a project to the key's annotator."""
    return Call("POST", _path("projects", project, "tasks", "next"), _reader(NextTask))


def answer(task: str, label: Any) -> Call[Given]:
    """Answer a task, in the order in which its responses were shown."""
    return Call("POST", _path("tasks", task, "answer"), _reader(Given), {"label": label})


def skip(task: str) -> Call[Done]:
    """Leave a task to others."""
    return Call("POST", _path("tasks", task, "skip"), _reader(Done))


def release(task: str) -> Call[Done]:
    """Give a task back."""
    return Call("POST", _path("tasks", task, "release"), _reader(Done))


def make_dataset(name: str, aggregation: str, **more: Any) -> Call[Dataset]:
    """Build a version of a data set: ``filter`` and ``pool_groups`` may be given."""
    return Call("POST", _path("datasets"), _reader(Dataset), {"name": name, "aggregation": aggregation, **more})


def dataset(name: str, version: int) -> Call[Dataset]:
    """One version of a data set."""
    return Call("GET", _path("datasets", name, version), _reader(Dataset))


def datasets(name: str | None = None) -> Call[Page[Dataset]]:
    """All versions of all data sets, or of one."""
    return Call("GET", _path("datasets"), _page(Dataset), params={"name": name})


def audit(**filters: Any) -> Call[Page[AuditEntry]]:
    """Who did what, by the filters of ``GET /v1/audit``."""
    return Call("GET", _path("audit"), _page(AuditEntry), params=filters)


class _Methods:
    give = _Method(give)
    feedback = _Method(feedback)
    all_feedback = _List(all_feedback)
    retract = _Method(retract)
    make_key = _Method(make_key)
    keys = _List(keys)
    revoke_key = _Method(revoke_key)
    make_annotator = _Method(make_annotator)
    annotator = _Method(annotator)
    annotators = _List(annotators)
    erase_annotator = _Method(erase_annotator)
    make_project = _Method(make_project)
    project = _Method(project)
    projects = _List(projects)
    change_project = _Method(change_project)
    add_items = _Method(add_items)
    agreement = _Method(agreement)
    next_task = _Method(next_task)
    answer = _Method(answer)
    skip = _Method(skip)
    release = _Method(release)
    make_dataset = _Method(make_dataset)
    dataset = _Method(dataset)
    datasets = _List(datasets)
    audit = _List(audit)


def _options(server: str, key: str) -> dict[str, Any]:
    if not server.startswith(("http://", "https://")):
        raise InputError("this is no address of a server", where=server, fix="expected http://HOST:PORT")
    return {"base_url": server, "headers": {"Authorization": f"Bearer {key}"}, "timeout": TIMEOUT}


def _download(name: str, version: int, table: str, format: str) -> dict[str, Any]:
    params = {"table": table, "format": format}
    return {"method": "GET", "url": _path("datasets", name, version, "download"), "params": params}


class Client(_Methods):
    """The client for programs that wait for each answer."""

    def __init__(self, server: str, key: str, *, transport: httpx2.BaseTransport | None = None) -> None:
        self._http = httpx2.Client(**_options(server, key), transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def send(self, call: Call[T]) -> T:
        """Send one request until it is answered."""
        request, attempt = call.request(), 0
        while True:
            attempt += 1
            outcome: httpx2.Response | httpx2.TransportError
            try:
                outcome = self._http.request(**request)
            except httpx2.TransportError as error:
                outcome = error
            found = call.settled(outcome, attempt)
            if isinstance(found, _Answer):
                return found.value
            time.sleep(found)

    def pages(self, call: Call[Page[Item]]) -> Iterator[Item]:
        """Yield all of a list."""
        cursor: str | None = None
        while True:
            page = self.send(replace(call, params={"limit": PAGE, **call.params, "cursor": cursor}))
            yield from page.items
            if (cursor := page.next) is None:
                return

    def download(self, name: str, version: int, table: str, target: Path, format: str = "jsonl") -> None:
        """Write one table of a data set to a file."""
        with self._http.stream(**_download(name, version, table, format)) as response:
            if not response.is_success:
                response.read()
                refuse(response)
            with target.open("wb") as file:
                for part in response.iter_bytes():
                    file.write(part)


class AsyncClient(_Methods):
    """The client for asyncio."""

    def __init__(self, server: str, key: str, *, transport: httpx2.AsyncBaseTransport | None = None) -> None:
        self._http = httpx2.AsyncClient(**_options(server, key), transport=transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def send(self, call: Call[T]) -> T:
        """Send one request until it is answered."""
        request, attempt = call.request(), 0
        while True:
            attempt += 1
            outcome: httpx2.Response | httpx2.TransportError
            try:
                outcome = await self._http.request(**request)
            except httpx2.TransportError as error:
                outcome = error
            found = call.settled(outcome, attempt)
            if isinstance(found, _Answer):
                return found.value
            await asyncio.sleep(found)

    async def pages(self, call: Call[Page[Item]]) -> AsyncIterator[Item]:
        """Yield all of a list."""
        cursor: str | None = None
        while True:
            page = await self.send(replace(call, params={"limit": PAGE, **call.params, "cursor": cursor}))
            for item in page.items:
                yield item
            if (cursor := page.next) is None:
                return

    async def download(self, name: str, version: int, table: str, target: Path, format: str = "jsonl") -> None:
        """Write one table of a data set to a file."""
        async with self._http.stream(**_download(name, version, table, format)) as response:
            if not response.is_success:
                await response.aread()
                refuse(response)
            with target.open("wb") as file:
                async for part in response.aiter_bytes():
                    file.write(part)
