"""Labels by honest annotators while four others attack the server at once, on one machine, for half a minute.

The server is started with 1,024 file descriptors, as most systems give them. The attackers: made-up HTTP methods and
paths, and the metrics that they would become; requests that are half sent, on as many connections as are taken; labels
of 15 MB, and pages of them; figures that are heavy to compute (agreement over long rankings, lint), whose clients hang
up. Two of them have a key. Honest annotators go to a new connection after `KEPT` labels and come again where they are
turned away; a label's time counts from the first try, and one that is not stored by the end counts for as long as it
waited.
"""

import asyncio
import contextlib
import json
import random
import resource
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.figures import Measurement, peak_memory
from benchmarks.mixed import ServerAddress, label, percentile
from benchmarks.serving import KeptConnection, Served, serving

TITLE = "The service under attack"
SECONDS, HONEST, KEPT = 30.0, 16, 20
ANSWER_SECONDS = 20.0  # after which a client, honest or not, gives up a request
DESCRIPTORS = 1024
METHODS_AT_ONCE, HALVES, HUGE_AT_ONCE, FIGURES_AT_ONCE = 8, 1200, 2, 8
COMES_AGAIN = 2.0  # seconds until a half request whose connection was ended is followed by another
HUGE, SEED_LABELS = 15_000_000, 60
RANKED = (2000, 1000, 500, 200)  # answers in a ranking: the most that the server takes
HALF = b"POST /v1/feedback HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nX-Half: "

Attack = Callable[[Served, float, dict[str, Any]], Awaitable[int]]


def measure() -> list[Measurement]:
    """See the module's docstring."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with _descriptors(DESCRIPTORS), contextlib.ExitStack() as stack:
            served = stack.enter_context(serving(folder, worker=False))
            return _measured(served, folder)


def _measured(served: Served, folder: Path) -> list[Measurement]:
    asked = asyncio.run(prepare(served))
    server = ServerAddress(served.port, served.key)
    with ProcessPoolExecutor(len(ATTACKS) + 1, get_context("spawn")) as pool:
        before = pool.submit(honest, server, SECONDS / 5).result()
        attacks = {name: pool.submit(attack, name, server, SECONDS, asked) for name in ATTACKS}
        during = pool.submit(honest, server, SECONDS).result()
        sent = {name: future.result() for name, future in attacks.items()}
        after = pool.submit(honest, server, SECONDS / 5).result()
    note = ", ".join(f"{name} {count:,}" for name, count in sent.items())
    log = (folder / "server.log").stat().st_size
    return [
        Measurement(
            "honest labels before", 1000 * percentile(before), "ms", note=f"99th percentile of {len(before):,}"
        ),
        Measurement("honest labels under attack, median", 1000 * percentile(during, 0.5), "ms", note=note),
        Measurement(
            "honest labels under attack, 99th percentile",
            1000 * percentile(during),
            "ms",
            1000,
            f"{len(during) / SECONDS:,.0f} labels/s; longest {max(during):,.1f} s",
            "at most",
        ),
        Measurement("memory", peak_memory(served.process.pid) / 2**20, "MiB", 600, "peak of the server", "at most"),
        Measurement("log", log / 2**20, "MiB", 10, bound="at most"),
        Measurement("honest labels afterwards", 1000 * percentile(after), "ms", 1000, "without a restart", "at most"),
    ]


@contextlib.contextmanager
def _descriptors(number: int) -> Iterator[None]:
    """What is started meanwhile may open so many files."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (number, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def prepare(served: Served) -> dict[str, Any]:
    """Store what heavy figures are computed from; return where they are asked for."""
    async with KeptConnection(served) as connection:

        async def post(path: str, body: Any) -> tuple[int, Any]:
            status, answer = await connection.send("POST", path, json.dumps(body).encode())
            return status, json.loads(answer)

        for ranked in RANKED:
            item = {"prompt": "Rank these names.", "responses": [f"name {number}" for number in range(ranked)]}
            project = {"name": f"ranked {ranked}", "kind": "ranking", "items": [item], "labels_per_item": 8}
            status, made = await post("/v1/projects", project)
            orders = [random.Random(seed).sample(range(1, ranked + 1), ranked) for seed in range(SEED_LABELS)]
            labels = [item | {"kind": "ranking", "label": order, "source": "ai"} for order in orders]
            named = [one | {"annotator": f"judge {number}"} for number, one in enumerate(labels)]
            if status == 201 and (await post("/v1/feedback", named))[0] == 201:
                return {"project": made["id"]}
    raise AssertionError("no ranking was taken")


def honest(server: ServerAddress, seconds: float) -> list[float]:
    """Label from `HONEST` clients; return the seconds of each label."""
    return asyncio.run(_honest(_served(server), seconds))


def attack(name: str, server: ServerAddress, seconds: float, asked: dict[str, Any]) -> int:
    """Attack in this process; return how often."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, max(4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1])))
    return asyncio.run(_bounded(ATTACKS[name](_served(server), time.monotonic() + seconds, asked), seconds))


def _served(server: ServerAddress) -> Served:
    return Served(server.port, server.key, None)  # type: ignore[arg-type]  # its process is another's child


async def _bounded(work: Awaitable[int], seconds: float) -> int:
    try:
        return await asyncio.wait_for(work, seconds + 2 * ANSWER_SECONDS)
    except TimeoutError:
        return 0


async def _honest(served: Served, seconds: float) -> list[float]:
    end = time.monotonic() + seconds
    taken: list[float] = []

    async def annotator(number: int) -> None:
        turn, began, connection = 0, time.monotonic(), KeptConnection(served)
        while time.monotonic() < end:
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    if turn % KEPT == 0:
                        connection = await KeptConnection(served).__aenter__()
                    body = json.dumps(label(f"{number}-{turn}-{seconds}")).encode()
                    status, _ = await connection.send("POST", "/v1/feedback", body)
                if status != 201:
                    raise ConnectionResetError(f"turned away: {status}")
            except (OSError, TimeoutError):  # it is sent again, and its time goes on
                turn += -turn % KEPT
                await asyncio.sleep(0.1)
                continue
            turn += 1
            if turn % KEPT == 0:
                await connection.__aexit__(None, None, None)
            taken.append(time.monotonic() - began)
            began = time.monotonic()
        if time.monotonic() - began > seconds / 10:
            taken.append(time.monotonic() - began)

    await asyncio.gather(*(annotator(number) for number in range(HONEST)))
    return taken


async def _repeated(count: int, end: float, once: Callable[[int], Awaitable[None]]) -> int:
    """Do ``once`` again and again from ``count`` clients until ``end``; return how often."""
    done = 0

    async def client(number: int) -> None:
        nonlocal done
        while time.monotonic() < end:
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    await once(number)
            except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                await asyncio.sleep(0.05)
            done += 1

    await asyncio.gather(*(client(number) for number in range(count)))
    return done


async def methods(served: Served, end: float, asked: dict[str, Any]) -> int:
    """Made-up methods on made-up paths, and what is counted of them."""
    names = random.Random(7)

    async def once(number: int) -> None:
        async with KeptConnection(served) as connection:
            for _ in range(50):
                word = "".join(names.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ", k=12))
                await connection.send(word, f"/v1/{word}")
            if number == 0:
                await connection.send("GET", "/metrics")

    return await _repeated(METHODS_AT_ONCE, end, once)


async def halves(served: Served, end: float, asked: dict[str, Any]) -> int:
    """Requests whose headers or bodies never end, on as many connections as are taken."""
    opened = 0

    async def hold(number: int) -> None:
        nonlocal opened
        while time.monotonic() < end:
            with contextlib.suppress(OSError, TimeoutError, asyncio.TimeoutError):
                async with asyncio.timeout(max(0.1, end - time.monotonic())):
                    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
                    opened += 1
                    begun = HALF if number % 2 else HALF + b"1\r\nContent-Length: 1000\r\n\r\n{"
                    writer.write(begun)
                    await reader.read()
                    writer.close()
            await asyncio.sleep(COMES_AGAIN)

    await asyncio.gather(*(hold(number) for number in range(HALVES)))
    return opened


async def huge(served: Served, end: float, asked: dict[str, Any]) -> int:
    """Labels of 15 MB, and pages of them."""
    body = json.dumps(label("x" * (HUGE // 3))).encode()

    async def once(number: int) -> None:
        async with KeptConnection(served) as connection:
            await connection.send("POST", "/v1/feedback", body)
        async with KeptConnection(served) as connection:
            await connection.send("GET", "/v1/feedback?limit=60")

    return await _repeated(HUGE_AT_ONCE, end, once)


async def figures(served: Served, end: float, asked: dict[str, Any]) -> int:
    """Agreement and lint, asked for by clients who hang up."""
    principle = {"id": "p", "title": "T", "statement": "S.", "critique": "C.", "revision": "R.", "compare": "Q?"}
    many = [principle | {"id": f"p{number}", "statement": f"Be kind to number {number}."} for number in range(300)]
    constitution = {"name": "many", "version": "1.0.0", "title": "T", "summary": "S.", "license": "Apache-2.0"}
    body = json.dumps(constitution | {"language": "en", "principles": many}).encode()

    async def once(number: int) -> None:
        with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
            async with asyncio.timeout(1.0), KeptConnection(served) as connection:
                if number % 4 == 0:
                    await connection.send("POST", "/v1/constitutions/lint", body)
                else:
                    await connection.send("GET", f"/v1/projects/{asked['project']}/agreement")

    return await _repeated(FIGURES_AT_ONCE, end, once)


ATTACKS: dict[str, Attack] = {"methods": methods, "halves": halves, "huge labels": huge, "heavy figures": figures}
