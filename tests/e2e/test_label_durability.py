"""A label that was acknowledged is stored, whatever happens to the server; sent again, it is not stored twice."""

import asyncio
import json
import random
from pathlib import Path

import pytest

from benchmarks.mixed import label
from benchmarks.serving import KeptConnection, Served, connections, postgres, start
from tests import warm

KILLS, CLIENTS = 3, 8
SETTINGS = {"worker": False}  # nobody asks for a job


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_every_acknowledged_label_is_there_once_after_kills(kind: str, tmp_path: Path) -> None:
    if kind == "sqlite":
        acknowledged, stored = through_kills(tmp_path / "server", "")
    else:
        with postgres(tmp_path / "postgres") as url:
            acknowledged, stored = through_kills(tmp_path / "server", url)
    assert len(acknowledged) > 10 * KILLS
    assert sorted(stored) == sorted(acknowledged)


def through_kills(folder: Path, database: str) -> tuple[list[str], list[str]]:
    """Store labels while the server is killed and started again; return the acknowledged ids and all stored ones."""
    rng = random.Random(7)
    served = start(folder, database, SETTINGS, begin=warm.forked)
    key = served.key
    acknowledged: dict[str, str] = {}
    open_ends: list[str] = []
    try:
        for life in range(KILLS):
            asyncio.run(load(served, life, rng.uniform(0.5, 1.5), open_ends, acknowledged))
            served = start(folder, database, SETTINGS, key, begin=warm.forked)
        asyncio.run(repeat(served, open_ends, acknowledged))
        return list(acknowledged.values()), asyncio.run(stored(served))
    finally:
        served.kill()


async def load(served: Served, life: int, seconds: float, open_ends: list[str], acknowledged: dict[str, str]) -> None:
    """Clients that store labels until the server is killed under them. What the server before left open goes first."""
    again, open_ends[:] = list(open_ends), []

    async def client(connection: KeptConnection, number: int) -> None:
        count = 0
        while True:
            name = again.pop() if again else f"{life}-{number}-{count}"
            try:
                await store(connection, name, acknowledged)
            except OSError:
                open_ends.append(name)
                return
            count += 1

    async with connections(served, CLIENTS) as open:
        clients = [asyncio.create_task(client(connection, number)) for number, connection in enumerate(open)]
        await asyncio.sleep(seconds)
        served.kill()
        await asyncio.gather(*clients)
    open_ends += again


async def repeat(served: Served, names: list[str], acknowledged: dict[str, str]) -> None:
    """Send what got no answer, and some of what did: the answers must be the first ones."""
    async with KeptConnection(served) as connection:
        for name in names:
            await store(connection, name, acknowledged)
        for name, id in list(acknowledged.items())[::7]:
            await store(connection, name, acknowledged)
            assert acknowledged[name] == id


async def store(connection: KeptConnection, name: str, acknowledged: dict[str, str]) -> None:
    body = json.dumps(label(name)).encode()
    status, answer = await connection.send("POST", "/v1/feedback", body, Idempotency_Key=name)
    assert status == 201, answer
    acknowledged[name] = json.loads(answer)["id"]


async def stored(served: Served) -> list[str]:
    """The ids of all stored labels."""
    ids: list[str] = []
    cursor = ""
    async with KeptConnection(served) as connection:
        while True:
            status, answer = await connection.send("GET", f"/v1/feedback?limit=500{cursor}")
            assert status == 200, answer
            page = json.loads(answer)
            ids += [item["id"] for item in page["items"]]
            if page["next"] is None:
                return ids
            cursor = f"&cursor={page['next']}"
