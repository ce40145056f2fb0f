"""Labellers, comparers and readers at one server at once, each as fast as it is answered.

Each kind of client is a process of its own, so that one that reads megabytes is not what another waits for. The server
has `STOCK` labels before the clock starts; readers go through pages of `PAGE` from the first to the last and begin
again; comparers ask the scripted engine, which answers at once.
"""

import asyncio
import json
import math
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import count
from multiprocessing import get_context

from benchmarks.service_overhead import compare, prepare
from benchmarks.serving import KeptConnection, Served, connections

STOCK, BATCH = 20_000, 500
PAGE = 500
IDS = re.compile(rb'"id":"([0-9a-f]{32})"')
NEXT = re.compile(rb'"next":(?:null|"([^"]*)")\}$')


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """A running server, as another process is told of it."""

    port: int
    key: str


@dataclass(frozen=True, slots=True)
class LoadSize:
    """How many clients of each kind, and for how long."""

    labellers: int
    comparers: int
    readers: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Felt:
    """What the clients of one kind saw: the seconds of each request, client by client, and what was acknowledged."""

    seconds: list[list[float]]
    ids: list[str]
    bytes: int
    elapsed: float

    @property
    def rate(self) -> float:
        """Requests a second."""
        return sum(map(len, self.seconds)) / self.elapsed

    @property
    def p99(self) -> float:
        """The 99th percentile of all requests, in seconds."""
        return percentile([one for client in self.seconds for one in client])

    @property
    def worst_p99(self) -> float:
        """The 99th percentile of the client that fared worst, in seconds."""
        return max(map(percentile, self.seconds))


def percentile(seconds: Sequence[float], share: float = 0.99) -> float:
    """The least value that ``share`` of all are not above; infinite of none: that client was never answered."""
    return sorted(seconds)[math.ceil(share * len(seconds)) - 1] if seconds else math.inf


@dataclass(slots=True)
class LoadClient:
    """One connection's work: ``acts`` say how each request is made, and what was acknowledged and read by it."""

    act: Callable[[KeptConnection, int], Awaitable[tuple[list[str], int]]]

    async def run(self, connection: KeptConnection, number: int, end: float, felt: Felt) -> int:
        """Ask again and again until ``end``; return the bytes read."""
        taken = 0
        for turn in count(number, 1_000_000):
            if time.monotonic() >= end:
                return taken
            began = time.monotonic()
            ids, size = await self.act(connection, turn)
            felt.seconds[number].append(time.monotonic() - began)
            felt.ids.extend(ids)
            taken += size
        raise AssertionError("unreachable")


def label(name: str) -> dict[str, object]:
    """One comparison, with texts of its own."""
    return {
        "kind": "comparison",
        "prompt": f"How do I keep basil alive in winter? ({name})",
        "responses": [
            f"Put it on a bright window sill, water it when the soil feels dry. ({name})",
            f"Basil dies in winter anyway. Buy a new one in spring. ({name})",
        ],
        "label": {"choice": "first"},
        "source": "human",
        "group": "gardeners",
    }


async def _label(connection: KeptConnection, turn: int) -> tuple[list[str], int]:
    name = f"mixed {turn} {time.time_ns()}"
    status, answer = await connection.send(
        "POST", "/v1/feedback", json.dumps(label(name)).encode(), Idempotency_Key=name
    )
    if status != 201:
        raise AssertionError(f"{status}: {answer.decode()}")
    return [json.loads(answer)["id"]], len(answer)


async def _compare(connection: KeptConnection, turn: int) -> tuple[list[str], int]:
    await compare(connection, turn, constitution="two")
    return [], 0


def reader() -> Callable[[KeptConnection, int], Awaitable[tuple[list[str], int]]]:
    """Reads pages one after the other: each client from its own place on."""
    places: dict[int, bytes] = {}

    async def read(connection: KeptConnection, turn: int) -> tuple[list[str], int]:
        client = turn % 1_000_000
        place = places.get(client)
        status, answer = await connection.send("GET", f"/v1/feedback?limit={PAGE}" + _after(place))
        if status != 200:
            raise AssertionError(f"{status}: {answer[:1000].decode()}")
        places[client] = next_of(answer)
        return [], len(answer)

    return read


def next_of(page: bytes) -> bytes:
    """The cursor of the page after this one; nothing where this is the last."""
    matched = NEXT.search(page)
    if matched is None:
        raise AssertionError("a page without a cursor")
    return matched[1] or b""


def _after(place: bytes | None) -> str:
    return f"&cursor={place.decode()}" if place else ""


def clients(server: ServerAddress, kind: str, number: int, seconds: float) -> Felt:
    """Run so many clients of one kind in this process."""
    act = {"labellers": _label, "comparers": _compare, "readers": reader()}[kind]
    return asyncio.run(_clients(server, LoadClient(act), number, seconds))


async def _clients(server: ServerAddress, client: LoadClient, number: int, seconds: float) -> Felt:
    felt = Felt([[] for _ in range(number)], [], 0, 0)
    served = Served(server.port, server.key, None)  # type: ignore[arg-type]  # its process is another's child
    async with connections(served, number) as open:
        began = time.monotonic()
        end = began + seconds
        taken = await asyncio.gather(*(client.run(one, turn, end, felt) for turn, one in enumerate(open)))
        return Felt(felt.seconds, felt.ids, sum(taken), time.monotonic() - began)


async def stock(served: Served) -> None:
    """Store labels for readers to read, and the constitution that comparers name."""
    await prepare(served)
    async with KeptConnection(served) as connection:
        for batch in range(STOCK // BATCH):
            rows = [label(f"stock {batch} {row}") for row in range(BATCH)]
            status, answer = await connection.send("POST", "/v1/feedback", json.dumps(rows).encode())
            if status != 201:
                raise AssertionError(f"{status}: {answer[:1000].decode()}")


def run(served: Served, load: LoadSize) -> dict[str, Felt]:
    """Put the load on a server that has its stock; return what each kind of client saw."""
    server = ServerAddress(served.port, served.key)
    numbers = {"labellers": load.labellers, "comparers": load.comparers, "readers": load.readers}
    wanted = {kind: number for kind, number in numbers.items() if number}
    with ProcessPoolExecutor(len(wanted), get_context("spawn")) as pool:
        futures = {kind: pool.submit(clients, server, kind, number, load.seconds) for kind, number in wanted.items()}
        return {kind: future.result() for kind, future in futures.items()}


async def lost(served: Served, acknowledged: Sequence[str]) -> int:
    """How many of the labels that were acknowledged are not among all that can be read."""
    there: set[str] = set()
    place = b""
    async with KeptConnection(served) as connection:
        while True:
            status, answer = await connection.send("GET", f"/v1/feedback?limit={PAGE}" + _after(place))
            if status != 200:
                raise AssertionError(f"{status}: {answer[:1000].decode()}")
            there.update(row["id"] for row in json.loads(answer)["items"])
            place = next_of(answer)
            if not place:
                return len(set(acknowledged) - there)
