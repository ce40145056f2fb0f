"""Connections over loopback: what a client leaves unfinished ends, and whoever asks is served."""

import asyncio
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from base.errors import InputError
from service.serving.connections import RESERVE, Bounds, bounded, bounds
from service.settings import Settings

LONG = 3600.0  # seconds: never, as far as these tests go
SOON = 0.05
ASK = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"

Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def within(**some: float) -> Bounds:
    bounds = {"connections": 100, "header_seconds": LONG, "idle_seconds": LONG, "stalled_seconds": LONG} | some
    return Bounds(**bounds)  # type: ignore[arg-type]  # its fields are checked by name alone


async def read_all(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that reads its request and answers 200."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@asynccontextmanager
async def serving(bounds: Bounds, application: object = read_all) -> AsyncIterator[int]:
    """A server with these bounds; gives its port."""
    http = bounded(bounds)
    # uvicorn types its protocol classes more narrowly than it takes them.
    config = uvicorn.Config(application, port=0, http=http, ws="none", lifespan="off", log_config=None)  # type: ignore[arg-type]
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    try:
        yield int(server.servers[0].sockets[0].getsockname()[1])
    finally:
        for connection in list(server.server_state.connections):
            connection.transport.abort()
        await server.shutdown()
        assert not http.waiting and not http.unread  # nothing is kept of connections that are gone


async def connect(port: int) -> Pair:
    return await asyncio.open_connection("127.0.0.1", port)


async def ask(pair: Pair) -> bytes:
    """Send a whole request, and return the answer's status line."""
    reader, writer = pair
    writer.write(ASK)
    head = await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(2)
    return head.partition(b"\r\n")[0]


async def ended(reader: asyncio.StreamReader) -> bytes:
    """What comes until the server closes the connection."""
    try:
        return await asyncio.wait_for(reader.read(), 30)
    except ConnectionResetError:
        return b""


async def close(*pairs: Pair) -> None:
    for _, writer in pairs:
        writer.close()


async def test_half_a_head_is_answered_with_408_after_its_time() -> None:
    async with serving(within(header_seconds=SOON)) as port:
        reader, writer = await connect(port)
        writer.write(b"GET / HTTP/1.1\r\nhost:")
        assert (await ended(reader)).startswith(b"HTTP/1.1 408 ")
        writer.close()


async def test_a_head_that_comes_byte_by_byte_gets_no_more_time_than_one_that_does_not_come() -> None:
    async with serving(within(header_seconds=4 * SOON)) as port:
        reader, writer = await connect(port)
        finished = asyncio.create_task(ended(reader))
        writer.write(b"GET / HTTP/1.1\r\n")
        for _ in range(10_000):
            if finished.done():
                break
            writer.write(b"x-filler: 1\r\n")
            await asyncio.sleep(SOON / 5)
        assert finished.done()
        writer.close()


async def test_a_connection_that_says_nothing_is_closed_and_so_is_an_idle_one() -> None:
    async with serving(within(header_seconds=SOON, idle_seconds=SOON)) as port:
        silent, idle = await connect(port), await connect(port)
        assert await ask(idle) == b"HTTP/1.1 200 OK"
        assert await ended(silent[0]) == b""
        assert await ended(idle[0]) == b""
        await close(silent, idle)


async def test_an_idle_connection_that_begins_a_request_has_the_time_of_a_head_for_it() -> None:
    async with serving(within(header_seconds=SOON, idle_seconds=LONG)) as port:
        pair = await connect(port)
        assert await ask(pair) == b"HTTP/1.1 200 OK"
        await asyncio.sleep(3 * SOON)
        assert await ask(pair) == b"HTTP/1.1 200 OK"  # idle for long, and still open
        pair[1].write(b"GET ")
        assert (await ended(pair[0])).startswith(b"HTTP/1.1 408 ")
        await close(pair)


async def test_requests_sent_along_are_answered_in_turn() -> None:
    async with serving(within()) as port:
        reader, writer = await connect(port)
        writer.write(ASK * 3)
        for _ in range(3):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
            assert await reader.readexactly(2) == b"ok"
        writer.close()


async def test_a_request_under_way_is_not_hurried() -> None:
    going = asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await going.wait()
        await read_all(scope, receive, send)

    async with serving(within(header_seconds=SOON, idle_seconds=SOON), slow) as port:
        pair = await connect(port)
        answer = asyncio.create_task(ask(pair))
        await asyncio.sleep(4 * SOON)
        going.set()
        assert await answer == b"HTTP/1.1 200 OK"
        await close(pair)


async def test_whoever_asks_is_served_while_others_hold_every_connection() -> None:
    async with serving(within(connections=5)) as port:
        half = [await connect(port) for _ in range(20)]
        for _, writer in half:
            writer.write(b"POST / HTTP/1.1\r\n")
        for _ in range(10):
            honest = await connect(port)
            assert await ask(honest) == b"HTTP/1.1 200 OK"
            await close(honest)
        closed = await asyncio.gather(*(ended(reader) for reader, _ in half[:15]))
        assert closed == [b""] * 15  # those that had waited longest
        await close(*half)


async def test_where_every_connection_is_at_work_a_new_one_is_told_to_wait() -> None:
    going = asyncio.Event()
    under_way = asyncio.Semaphore(0)

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        under_way.release()
        await going.wait()
        await read_all(scope, receive, send)

    async with serving(within(connections=3), slow) as port:
        working = [await connect(port) for _ in range(3)]
        answers = [asyncio.create_task(ask(pair)) for pair in working]
        for _ in working:
            await under_way.acquire()
        refused = await connect(port)
        text = await ended(refused[0])
        assert text.startswith(b"HTTP/1.1 503 ") and b"retry-after: 1" in text
        going.set()
        assert set(await asyncio.gather(*answers)) == {b"HTTP/1.1 200 OK"}
        await close(refused, *working)


async def test_an_answer_that_nobody_reads_is_given_up() -> None:
    gave_up = asyncio.Event()

    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        asked = asyncio.create_task(_until_gone(receive, gave_up))
        for _ in range(10_000):
            await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": not gave_up.is_set()})
            if gave_up.is_set():
                break
        await asked

    async with serving(within(stalled_seconds=SOON), endless) as port:
        _, writer = await connect(port)
        writer.write(ASK)
        await asyncio.wait_for(gave_up.wait(), 30)
        writer.close()


async def _until_gone(receive: Receive, gave_up: asyncio.Event) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    gave_up.set()


async def test_a_last_answer_that_nobody_reads_does_not_keep_its_connection() -> None:
    """What is left to send after the server has closed is given up, too: uvicorn itself waits for ever."""
    done = asyncio.Event()

    async def last(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
        await send({"type": "http.response.body", "body": b"x" * 30_000_000})
        done.set()

    async with serving(within(stalled_seconds=SOON), last) as port:
        reader, writer = await connect(port)
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # asyncio types it as a writer alone
        writer.write(ASK)
        await done.wait()
        await asyncio.sleep(4 * SOON)
        writer.transport.resume_reading()  # type: ignore[attr-defined]  # as above
        assert len(await ended(reader)) < 30_000_000
        writer.close()


def test_there_are_fewer_connections_than_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    assert bounds(Settings()).connections == 1024 - RESERVE
    assert bounds(Settings(connections=50)).connections == 50
    with pytest.raises(InputError, match="1,000 connections need 1,640 descriptors") as refused:
        bounds(Settings(connections=1000))
    assert "ulimit -n 1640" in refused.value.fix
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert bounds(Settings()).connections == 10_000
