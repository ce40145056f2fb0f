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
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, ParamSpec, Self, TypeVar, overload

import httpx2
from pydantic import ValidationError

from base.backoff import BackOff, Silence
from base.errors import InputError
from service.answers.page import Page
from service.api import calls
from service.api.calls import Call, path_of
from service.refusals import ProblemDocument

TIMEOUT = httpx2.Timeout(30, read=600)  # building a data set is answered when it is done
PASSING = frozenset({429, 503})  # statuses
AGAIN = BackOff(first=0.5, longest=60.0, tries=5)
PAGE = 500

log = logging.getLogger("cai.client")

P = ParamSpec("P")
T = TypeVar("T")
Item = TypeVar("Item")


class Refused(InputError):
    """The service's problem document: ``document.type`` for programs, the rest for people."""

    def __init__(self, document: ProblemDocument) -> None:
        super().__init__(document.detail, fix=document.fix)
        self.document = document


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


class _Sending(Generic[T]):
    """One request, sent until it is answered."""

    def __init__(self, call: Call[T]) -> None:
        self._call, self._waits, self._silence = call, AGAIN.waits(), Silence(log)

    def settled(self, outcome: httpx2.Response | httpx2.TransportError) -> _Answer[T] | float:
        """The answer, or the seconds to wait before it is sent again. Raises `Refused` and `InputError`."""
        if isinstance(outcome, httpx2.TransportError):
            if (wait := next(self._waits, None)) is None:
                fix = "Is it running? cai serve starts one."
                raise InputError(f"the server can't be reached: {outcome}", fix=fix) from outcome
            return self._wait(f"the server can't be reached: {outcome}", wait)
        if outcome.status_code in PASSING and (wait := next(self._waits, None)) is not None:
            told = outcome.headers.get("Retry-After")
            asked = wait if told is None else min(AGAIN.longest, float(told))
            return self._wait(f"the server answered {outcome.status_code}", asked)
        refuse(outcome)
        return _Answer(self._call.read(outcome.json()))

    def _wait(self, why: str, seconds: float) -> float:
        self._silence.wait(why, seconds)
        return seconds


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


class _Methods:
    give = _Method(calls.give)
    feedback = _Method(calls.feedback)
    all_feedback = _List(calls.all_feedback)
    history = _List(calls.history)
    retract = _Method(calls.retract)
    make_key = _Method(calls.make_key)
    keys = _List(calls.keys)
    revoke_key = _Method(calls.revoke_key)
    make_annotator = _Method(calls.make_annotator)
    annotator = _Method(calls.annotator)
    annotators = _List(calls.annotators)
    erase_annotator = _Method(calls.erase_annotator)
    make_project = _Method(calls.make_project)
    project = _Method(calls.project)
    projects = _List(calls.projects)
    change_project = _Method(calls.change_project)
    add_items = _Method(calls.add_items)
    agreement = _Method(calls.agreement)
    next_task = _Method(calls.next_task)
    answer = _Method(calls.answer)
    task = _Method(calls.task)
    skip = _Method(calls.skip)
    unskip = _Method(calls.unskip)
    skips = _List(calls.skips)
    release = _Method(calls.release)
    make_dataset = _Method(calls.make_dataset)
    dataset = _Method(calls.dataset)
    datasets = _List(calls.datasets)
    audit = _List(calls.audit)
    constitutions = _List(calls.constitutions)
    constitution = _Method(calls.constitution)
    publish = _Method(calls.publish)
    compare = _Method(calls.compare)
    critique = _Method(calls.critique)
    reward = _Method(calls.reward)
    submit = _Method(calls.submit)
    job = _Method(calls.job)
    jobs = _List(calls.jobs)
    cancel = _Method(calls.cancel)
    retry = _Method(calls.retry)
    models = _List(calls.models)
    engines = _List(calls.engines)


def _options(server: str, key: str) -> dict[str, Any]:
    if not server.startswith(("http://", "https://")):
        raise InputError("this is no address of a server", where=server, fix="expected http://HOST:PORT")
    return {"base_url": server, "headers": {"Authorization": f"Bearer {key}"}, "timeout": TIMEOUT}


def _download(name: str, version: int, table: str, format: str) -> dict[str, Any]:
    params = {"table": table, "format": format}
    return {"method": "GET", "url": path_of("datasets", name, version, "download"), "params": params}


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
        request, sending = call.request(), _Sending(call)
        while True:
            outcome: httpx2.Response | httpx2.TransportError
            try:
                outcome = self._http.request(**request)
            except httpx2.TransportError as error:
                outcome = error
            settled = sending.settled(outcome)
            if isinstance(settled, _Answer):
                return settled.value
            time.sleep(settled)

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
        request, sending = call.request(), _Sending(call)
        while True:
            outcome: httpx2.Response | httpx2.TransportError
            try:
                outcome = await self._http.request(**request)
            except httpx2.TransportError as error:
                outcome = error
            settled = sending.settled(outcome)
            if isinstance(settled, _Answer):
                return settled.value
            await asyncio.sleep(settled)

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
