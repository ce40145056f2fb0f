"""The engines of a server, through the socket that its worker has: the same answers, the same errors."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType

import pytest

from base.errors import InputError
from critic.engine import (
    Choices,
    Completion,
    EngineDown,
    EngineError,
    Lane,
    Node,
    OwnTokens,
    Request,
    RequestTooLong,
    Sampling,
    Unavailable,
)
from critic.records import Message
from service.engines import Engines, SharedEngine
from service.jobs.worker.link import LinkedEngines, Patience, WorkerLink, serve
from service.settings import EngineSettings, Settings
from service.store.database import Database
from tests.factories import FakeEngine
from tests.service.jobs.processes import script

PATIENCE = Patience(60, 60)
QUESTION = Request((Message(role="user", content="Name a river.\u2028\x00"),), Sampling(8), seed=7)
TREE = Node(
    (Message(role="user", content="Which?"),),
    Choices(("A", "B")),
    (Node((Message(role="assistant", content="The Nile."),), OwnTokens()),),
)


@asynccontextmanager
async def linked(folder: Path, **scripts: object) -> AsyncIterator[tuple[Engines, LinkedEngines, WorkerLink]]:
    spec = script(folder / "script.yaml", **scripts)
    settings = Settings(data=folder, engines={"scripted": EngineSettings(spec=spec)}, worker=False)
    ours, theirs = socket.socketpair()
    async with Engines(settings) as engines:
        serving = asyncio.create_task(serve(ours, settings, engines, PATIENCE))
        link = await WorkerLink.open(theirs)
        assert link.settings == settings
        async with Database(settings.url) as database, LinkedEngines(link, settings, database) as far:
            yield engines, far, link
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        await asyncio.wait_for(link.ended.wait(), 600)
        link.close()


ERRORS: list[Exception] = [RequestTooLong("too long"), Unavailable("busy", 7.0), EngineDown("gone"), KeyError("x")]


class Odd(FakeEngine):
    """Fails in the way that the seed says."""

    def __init__(self) -> None:
        super().__init__("odd")
        self.lanes: list[Lane] = []
        self.under_way = 0

    async def complete(self, request: Request, lane: Lane = "batch") -> Completion:
        self.lanes.append(lane)
        errors: list[Exception] = [
            RequestTooLong("too long"),
            Unavailable("busy", 7.0),
            EngineDown("gone"),
            KeyError("x"),
        ]
        if request.seed < len(errors):
            raise errors[request.seed]
        self.under_way += 1
        try:
            await asyncio.sleep(60)
        finally:
            self.under_way -= 1
        raise AssertionError


async def test_answers_are_the_servers(tmp_path: Path) -> None:
    async with linked(tmp_path) as (engines, far, _):
        near, linked_one = await engines.get("scripted"), await far.get("scripted")
        assert linked_one.identity == near.identity and linked_one.whole_trees == near.whole_trees
        assert await linked_one.complete(QUESTION) == await near.complete(QUESTION)
        assert await linked_one.score(TREE) == await near.score(TREE)
        many = await asyncio.gather(*(linked_one.complete(QUESTION) for _ in range(200)))
        assert len(set(many)) == 1
        with pytest.raises(InputError, match="no engine 'other'"):
            await far.get("other")


class Learning(FakeEngine):
    """Finds out with its first answer that its model thinks."""

    capabilities = MappingProxyType({"thinks first": "no"})

    async def complete(self, request: Request, lane: Lane = "batch") -> Completion:
        self.capabilities = MappingProxyType({"thinks first": "yes"})
        self.usage.room = 4096
        return Completion("Four.", "stop")


async def test_what_the_servers_engine_learns_is_known_here(tmp_path: Path) -> None:
    async with linked(tmp_path) as (engines, far, _):
        (await engines.get("scripted"))._engine = Learning("learning")
        engine = await far.get("scripted")
        assert (engine.capabilities["thinks first"], engine.usage.room) == ("no", 0)
        await engine.complete(QUESTION)
        assert (engine.capabilities["thinks first"], engine.usage.room) == ("yes", 4096)


@pytest.mark.parametrize(
    "seed, kind, text", [(0, RequestTooLong, "too long"), (2, EngineDown, "gone"), (3, EngineError, "KeyError")]
)
async def test_errors_are_of_the_servers_kind(tmp_path: Path, seed: int, kind: type[Exception], text: str) -> None:
    async with linked(tmp_path) as (engines, far, _):
        odd = await put(engines, far)
        with pytest.raises(kind, match=text):
            await odd.complete(Request(QUESTION.messages, QUESTION.sampling, seed), "interactive")


async def test_a_wait_that_the_server_asks_for_crosses_too(tmp_path: Path) -> None:
    async with linked(tmp_path) as (engines, far, _):
        odd = await put(engines, far)
        with pytest.raises(Unavailable) as told:
            await odd.complete(Request(QUESTION.messages, QUESTION.sampling, 1))
        assert told.value.retry_after == 7.0


async def test_a_call_that_is_cancelled_here_is_cancelled_there_and_is_of_the_batch_lane(tmp_path: Path) -> None:
    async with linked(tmp_path) as (engines, far, _):
        odd = await put(engines, far)
        asked = asyncio.create_task(odd.complete(QUESTION, "interactive"))
        engine = (await engines.get("scripted"))._engine
        assert isinstance(engine, Odd)
        while not engine.under_way:
            await asyncio.sleep(0.01)
        assert engine.lanes == ["batch"]
        asked.cancel()
        while engine.under_way:
            await asyncio.sleep(0.01)


async def test_where_the_server_is_gone_nothing_is_answered_wrongly(tmp_path: Path) -> None:
    spec = script(tmp_path / "script.yaml", latency=30)
    settings = Settings(data=tmp_path, engines={"scripted": EngineSettings(spec=spec)}, worker=False)
    ours, theirs = socket.socketpair()
    async with Engines(settings) as engines:
        serving = asyncio.create_task(serve(ours, settings, engines, PATIENCE))
        link = await WorkerLink.open(theirs)
        await link.ask("scripted", "about")
        asked = asyncio.create_task(link.ask("scripted", "complete", QUESTION))
        await asyncio.sleep(0.1)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        await asyncio.wait_for(link.ended.wait(), 600)
        await asyncio.sleep(0.1)
        assert not asked.done()  # an error here would quarantine a row that is without fault
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        link.close()


async def put(engines: Engines, far: LinkedEngines) -> SharedEngine:
    """Put an odd engine in the place of the scripted one; return the worker's view of it."""
    shared = await engines.get("scripted")
    shared._engine = Odd()
    return await far.get("scripted")


async def test_a_worker_that_says_nothing_any_more_is_given_up_and_one_that_beats_is_not(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, worker=False, heartbeat_seconds=0.02)
    ours, theirs = socket.socketpair()
    async with Engines(settings) as engines:
        serving = asyncio.create_task(serve(ours, settings, engines, Patience(60, 2)))
        link = await WorkerLink.open(theirs)
        await asyncio.sleep(0.1)
        link._beating.cancel()  # as where its process was stopped: the socket stays
        done, _ = await asyncio.wait([serving], timeout=30)
        assert done and isinstance(serving.exception(), TimeoutError)
        await asyncio.wait_for(link.ended.wait(), 5)
        link.close()


async def test_a_worker_that_never_begins_is_given_up(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, worker=False)
    ours, theirs = socket.socketpair()
    async with Engines(settings) as engines:
        with theirs, pytest.raises(TimeoutError):
            await serve(ours, settings, engines, Patience(0.01, 60))
