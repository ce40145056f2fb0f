"""A burst of connections over loopback: each is taken, in few turns of the event loop, and none is lost."""

import asyncio
import errno
import socket
from typing import Any

import pytest
import uvloop

from service.serving import accepting
from service.serving.accepting import AT_ONCE, QUEUE, Acceptor

BURST = 3 * AT_ONCE


class Counting(asyncio.Protocol):
    """Counts the connections that are made of one list."""

    def __init__(self, made: list[asyncio.BaseTransport]) -> None:
        self._made = made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._made.append(transport)


def listening() -> socket.socket:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(QUEUE)
    return listener


def connecting(listener: socket.socket, count: int) -> list[socket.socket]:
    """Clients that have connected, as far as the system is concerned, before anybody accepts them."""
    clients = [socket.create_connection(listener.getsockname()) for _ in range(count)]
    for client in clients:
        client.settimeout(10)
    return clients


def test_a_burst_is_taken_in_few_turns_of_the_loop() -> None:
    async def taken() -> tuple[int, int]:
        made: list[asyncio.BaseTransport] = []
        with listening() as listener:
            clients = connecting(listener, BURST)
            acceptor = Acceptor(listener, lambda: Counting(made))
            turns = 0
            while len(made) < BURST and turns < BURST:
                await asyncio.sleep(0)
                turns += 1
            acceptor.close()
            for transport in made:
                transport.close()
            for client in clients:
                client.close()
            await asyncio.sleep(0)
            return len(made), turns

    count, turns = uvloop.run(taken())
    assert count == BURST
    assert turns <= 10 * BURST // AT_ONCE  # one connection a turn would take as many turns as there are clients


async def test_who_closed_takes_no_more_and_leaves_what_was_taken() -> None:
    made: list[Any] = []
    with listening() as listener:
        first = connecting(listener, 1)[0]
        acceptor = Acceptor(listener, lambda: Counting(made))
        while not made:
            await asyncio.sleep(0.01)
        acceptor.close()
        await acceptor.wait_closed()
        second = connecting(listener, 1)[0]
        await asyncio.sleep(0.05)
        made[0].write(b"still here")
        assert await asyncio.to_thread(first.recv, 100) == b"still here" and len(made) == 1
        made[0].close()
        first.close()
        second.close()
        await asyncio.sleep(0)


async def test_without_descriptors_it_pauses_says_so_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(accepting, "PAUSE_SECONDS", 0.05)
    made: list[Any] = []
    failures = [OSError(errno.EMFILE, "Too many open files"), ConnectionAbortedError()]

    class Listener(socket.socket):
        def accept(self) -> Any:
            if failures:
                raise failures.pop(0)
            return super().accept()

    with Listener() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(QUEUE)
        [client] = connecting(listener, 1)
        acceptor = Acceptor(listener, lambda: Counting(made))
        while not made:
            await asyncio.sleep(0.01)
        assert not failures and caplog.text.count("no descriptor for a new connection") == 1
        acceptor.close()
        made[0].close()
        client.close()
        await asyncio.sleep(0)
