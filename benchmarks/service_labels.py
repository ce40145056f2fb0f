"""Human labels through the HTTP API: a second by single POSTs and by batches, pages of many, and beside other clients.

A real server in a child process on SQLite and on PostgreSQL, the load generator beside it on the same cores. A label is
counted once it was acknowledged, and then it is on disk. Before the clock starts each path was used once. Pages are of
50 rows, the first and the one after row 5,000,000 in turn; their rows were put into the table directly.

The mixed load is `benchmarks.mixed`: 64 labellers, 32 comparers and 32 readers of pages of 500 at once for a minute,
then 64 labellers beside 16 readers. The floor beside it is what the same labellers reach alone on the same machine.
"""

import asyncio
import json
import sqlite3
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks import mixed
from benchmarks.figures import Measurement
from benchmarks.mixed import label
from benchmarks.serving import KeptConnection, Served, connections, postgres, serving, start
from service.api.paging import encode

TITLE = "Labels through the API"
CLIENTS, SECONDS, RUNS = 64, 5.0, 3
BATCH, BATCHES, BATCH_CLIENTS = 500, 40, 4
MIXED_SECONDS = 60.0
SHORT = {"MIXED_SECONDS": 20.0}
PAGE_ROWS, PAGE, PAGES = 5_000_000, 50, 40


def measure() -> list[Measurement]:
    """See the module's docstring."""
    figures = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:  # a killed server's files may linger
        folder = Path(name)
        with serving(folder / "sqlite", worker=False) as served:
            figures += rates("SQLite", served)
        with postgres(folder / "postgres") as url, serving(folder / "on postgres", url, worker=False) as served:
            figures += rates("PostgreSQL", served)
        figures += pages(folder / "pages")
        figures += mixed_load(folder / "mixed")
    return figures


def mixed_load(folder: Path) -> list[Measurement]:
    """Labellers beside comparers and readers."""
    folder.mkdir()
    script = folder / "script.yaml"
    script.write_text("choose: first")
    engines = {"scripted": {"spec": f"scripted:{script}", "mode": "logprob"}}
    with serving(folder / "data", worker=False, engines=engines) as served:
        asyncio.run(mixed.stock(served))
        alone = mixed.run(served, mixed.LoadSize(CLIENTS, 0, 0, MIXED_SECONDS / 4))["labellers"]
        all_kinds = mixed.run(served, mixed.LoadSize(CLIENTS, 32, 32, MIXED_SECONDS))
        beside = mixed.run(served, mixed.LoadSize(CLIENTS, 0, 16, MIXED_SECONDS / 2))
        given = [alone, all_kinds["labellers"], beside["labellers"]]
        lost = asyncio.run(mixed.lost(served, [id for felt in given for id in felt.ids]))
    labellers = all_kinds["labellers"]
    floor = f"alone {1000 * alone.worst_p99:,.0f} ms"
    others = f"beside {all_kinds['comparers'].rate:,.0f} comparisons/s and {all_kinds['readers'].rate:,.0f} pages/s"
    read = beside["readers"]
    floor_rate = f"alone {alone.rate:,.0f}; {read.rate:,.0f} pages/s, {read.bytes / read.elapsed / 1e6:,.0f} MB/s"
    return [
        Measurement(
            "mixed load: 99th percentile of the slowest labeller",
            1000 * labellers.worst_p99,
            "ms",
            500,
            floor,
            "at most",
        ),
        Measurement("mixed load: labels", labellers.rate, "labels/s", note=others),
        Measurement("mixed load: 99th percentile of a comparison", 1000 * all_kinds["comparers"].p99, "ms"),
        Measurement("mixed load: 99th percentile of a page of 500", 1000 * all_kinds["readers"].p99, "ms"),
        Measurement(
            "labels beside 16 readers of pages of 500",
            beside["labellers"].rate,
            "labels/s",
            300,
            floor_rate,
        ),
        Measurement(
            "labels that were acknowledged and are not there",
            lost,
            "",
            0,
            f"of {sum(len(f.ids) for f in given):,}",
            "at most",
        ),
    ]


def rates(database: str, served: Served) -> list[Measurement]:
    """Labels a second by both ways."""
    single = [asyncio.run(singles(served, run)) for run in range(RUNS)]
    batched = [asyncio.run(batches(served, run)) for run in range(RUNS)]
    return [
        Measurement(
            f"single POSTs, {database}", median(single), "labels/s", 400, f"{CLIENTS} clients; {spread(single)}"
        ),
        Measurement(f"batches of {BATCH}, {database}", median(batched), "labels/s", 5000, spread(batched)),
    ]


def spread(values: list[float]) -> str:
    """The range of several runs."""
    return f"runs {min(values):,.0f} to {max(values):,.0f}"


async def singles(served: Served, run: int) -> float:
    """Labels a second, one a POST, each with an idempotency key."""
    stored = 0
    end = 0.0

    async def client(connection: KeptConnection, number: int) -> None:
        nonlocal stored
        count = 0
        while time.monotonic() < end:
            name = f"{run}-{number}-{count}"
            status, answer = await connection.send(
                "POST", "/v1/feedback", json.dumps(label(name)).encode(), Idempotency_Key=name
            )
            if status != 201:
                raise AssertionError(f"{status}: {answer.decode()}")
            stored, count = stored + 1, count + 1

    async with connections(served, CLIENTS) as open:
        await open[0].send("POST", "/v1/feedback", json.dumps(label(f"warm {run}")).encode())
        began = time.monotonic()
        end = began + SECONDS
        await asyncio.gather(*(client(connection, number) for number, connection in enumerate(open)))
        return stored / (time.monotonic() - began)


async def batches(served: Served, run: int) -> float:
    """Labels a second, ``BATCH`` a POST."""
    waiting = []
    for number in range(BATCHES):
        waiting.append(json.dumps([label(f"{run}-{number}-{row}") for row in range(BATCH)]).encode())

    async def client(connection: KeptConnection) -> None:
        while waiting:
            status, answer = await connection.send("POST", "/v1/feedback", waiting.pop())
            if status != 201:
                raise AssertionError(f"{status}: {answer[:1000].decode()}")

    async with connections(served, BATCH_CLIENTS) as open:
        began = time.monotonic()
        await asyncio.gather(*(client(connection) for connection in open))
        return BATCH * BATCHES / (time.monotonic() - began)


def pages(folder: Path) -> list[Measurement]:
    """The time of a page at the start and at row 5,000,000."""
    with serving(folder, worker=False) as served:
        asyncio.run(batches(served, 0))  # one row to copy, and all tables as the service makes them
        served.kill()
        fill(folder / "cai.db")
    again = start(folder, "", {"worker": False}, served.key)
    try:
        first, deep = asyncio.run(page_times(again))
    finally:
        again.kill()
    return [
        Measurement("a page of 50, the first", 1000 * first, "ms"),
        Measurement(f"a page of 50 at row {PAGE_ROWS:,}", 1000 * deep, "ms"),
        Measurement("that page / the first", deep / first, "x", 2.0, f"medians of {PAGES}", "at most"),
    ]


def fill(file: Path) -> None:
    """Copy the first row of the table until there are enough of it."""
    with sqlite3.connect(file) as database:
        columns = [row[1] for row in database.execute("PRAGMA table_info(feedback)")]
        copied = ", ".join(
            {"seq": "numbers.n", "id": "printf('%064x', numbers.n)"}.get(name, f'f."{name}"') for name in columns
        )
        names = ", ".join(f'"{name}"' for name in columns)
        database.execute(
            f"INSERT INTO feedback ({names}) WITH RECURSIVE numbers(n) AS (SELECT (SELECT max(seq) FROM feedback) + 1"
            f" UNION ALL SELECT n + 1 FROM numbers WHERE n < {PAGE_ROWS + 1000})"
            f" SELECT {copied} FROM numbers JOIN feedback f ON f.seq = (SELECT min(seq) FROM feedback)"
        )
    database.close()


async def page_times(served: Served) -> tuple[float, float]:
    """Median seconds of the first page, and of the deep one, asked for in turn."""
    times: tuple[list[float], list[float]] = ([], [])
    async with KeptConnection(served) as connection:
        for _ in range(PAGES):
            for where, seconds in zip(("", f"&cursor={encode(PAGE_ROWS)}"), times, strict=True):
                began = time.perf_counter()
                status, body = await connection.send("GET", f"/v1/feedback?limit={PAGE}{where}")
                seconds.append(time.perf_counter() - began)
                if status != 200 or len(json.loads(body)["items"]) != PAGE:
                    raise AssertionError(f"{status}: {body[:1000].decode()}")
    return median(times[0]), median(times[1])
