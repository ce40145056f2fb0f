"""What the service costs over its engines: comparisons through the HTTP API, against the engine asked directly.

A real server in a child process on SQLite, the load generator beside it on the same cores; each comparison is stored
before it is answered. The scripted engine answers at once, so its figures are the service's own time: at a steady rate
counted from the moment each request was due, whoever was late. The embedded engine is asked for the same comparisons by
64 clients, and directly, all at once.
"""

import asyncio
import json
import math
import os
import tempfile
import time
from collections.abc import Awaitable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.figures import Measurement, alternate
from benchmarks.serving import KeptConnection, Served, connections, serving
from constitution import load, sample
from constitution.positions import read_yaml
from critic.engine import Engine, Node
from critic.engines import open_engine, parse_spec
from critic.judging.base import Question
from critic.judging.modes.contrast import frames_of, tree
from critic.records import Message, Prompt

TITLE = "Overhead of the service"
RATE, SECONDS, CLIENTS, RUNS = 100, 20.0, 64, 3
COMPARISONS, WARMING = 128, 8
"""On the embedded engine: those of one run, and before the first."""
SHORT = {"COMPARISONS": 64, "RUNS": 2}

CONSTITUTION = """
name: two
version: 1.0.0
title: Two principles
summary: For a benchmark.
license: Apache-2.0
language: en
principles:
  - {id: kind, title: Kind, statement: The response is kind., critique: Say where it is not kind.,
     revision: Make it kind., compare: Which response is kinder?}
  - {id: short, title: Short, statement: The response is short., critique: Say where it is long.,
     revision: Make it short., compare: Which response is shorter?}
"""
PRINCIPLES = load("helpfulness").principles

_TOPICS = ("basil", "a sourdough starter", "an old bicycle", "wet boots", "a cracked mug", "a map of the coast")
_ANSWERS = (
    "Look after it a little every day: that is less work than mending it later.",
    "Ask somebody who has had one for years, and write down what they do.",
    "It hardly matters. Most of them last a year whatever you do, and new ones are cheap.",
)


def measure() -> list[Measurement]:
    """See the module's docstring."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # two processes have a model here, and one waits
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        script = folder / "script.yaml"
        script.write_text("choose: first")
        engines = {"scripted": {"spec": f"scripted:{script}", "mode": "logprob"}}
        with serving(folder / "scripted", engines=engines) as served:
            figures = asyncio.run(scripted(served))
        with serving(folder / "embedded") as served:
            figures += embedded(served)
    return figures


async def scripted(served: Served) -> list[Measurement]:
    """The service's own time."""
    await prepare(served)
    await full_speed(served, 2.0, constitution="two")
    late = sorted(await steady(served))
    rates = [await full_speed(served, 10.0, constitution="two") for _ in range(RUNS)]
    whole = await full_speed(served, 10.0, constitution="helpfulness")
    note = f"{RATE} requests/s for {SECONDS:.0f} s; two principles, both orders; the engine's own time is in it"
    spread = f"{CLIENTS} clients, no error; runs {min(rates):,.0f} to {max(rates):,.0f}"
    return [
        Measurement("median time of a comparison", 1000 * median(late), "ms", 6, note, "at most"),
        Measurement("99th percentile", 1000 * late[math.ceil(0.99 * len(late)) - 1], "ms", 30, bound="at most"),
        Measurement("comparisons at full speed", median(rates), "/s", 300, spread),
        Measurement("the same with all principles of `helpfulness`", whole, "/s"),
    ]


async def prepare(served: Served) -> None:
    """Publish the constitution of two principles."""
    async with KeptConnection(served) as connection:
        body = json.dumps(read_yaml(CONSTITUTION.encode()).data).encode()
        status, answer = await connection.send("POST", "/v1/constitutions", body)
        if status != 201:
            raise AssertionError(f"{status}: {answer.decode()}")


async def steady(served: Served) -> list[float]:
    """Send requests at a steady rate, whatever becomes of them; return the seconds from when each was due."""
    free: asyncio.Queue[KeptConnection] = asyncio.Queue()
    async with connections(served, CLIENTS) as open:
        for connection in open:
            free.put_nowait(connection)
        began = time.perf_counter() + 0.1

        async def one(number: int) -> float:
            due = began + number / RATE
            await asyncio.sleep(due - time.perf_counter())
            connection = await free.get()
            await compare(connection, number, constitution="two")
            free.put_nowait(connection)
            return time.perf_counter() - due

        return await asyncio.gather(*(one(number) for number in range(int(RATE * SECONDS))))


async def full_speed(served: Served, seconds: float, **more: Any) -> float:
    """Comparisons a second by 64 clients, each of which asks again once it was answered."""
    done = 0
    async with connections(served, CLIENTS) as open:
        began = time.perf_counter()

        async def client(connection: KeptConnection, number: int) -> None:
            nonlocal done
            while time.perf_counter() < began + seconds:
                await compare(connection, number, **more)
                done, number = done + 1, number + CLIENTS

        await asyncio.gather(*(client(connection, number) for number, connection in enumerate(open)))
        return done / (time.perf_counter() - began)


async def compare(connection: KeptConnection, number: int, **more: Any) -> None:
    """Ask for one comparison. Raises `AssertionError` for any other answer."""
    status, answer = await connection.send("POST", "/v1/comparisons", json.dumps(asked(number) | more).encode())
    if status != 201:
        raise AssertionError(f"{status}: {answer.decode()}")


def asked(number: int) -> dict[str, Any]:
    """A comparison with texts of its own."""
    topic, turn = _TOPICS[number % len(_TOPICS)], number % len(_ANSWERS)
    return {
        "prompt": f"How do I keep {topic} in good order? ({number})",
        "responses": [_ANSWERS[turn], _ANSWERS[(turn + 1) % len(_ANSWERS)]],
        "constitution": "helpfulness",
    }


def embedded(served: Served) -> list[Measurement]:
    """The embedded engine by 64 clients, beside the same comparisons directly."""
    with asyncio.Runner() as runner:
        engine = open_engine(parse_spec("embedded"))
        trees = [tree_of(number) for number in range(COMPARISONS)]

        def directly() -> float:
            return COMPARISONS / runner.run(timed(all_at_once(engine, trees)))

        def through_api() -> float:
            return COMPARISONS / runner.run(timed(by_clients(served, COMPARISONS)))

        runner.run(all_at_once(engine, trees[:WARMING]))
        runner.run(by_clients(served, WARMING))
        rates = alternate(through_api, directly, RUNS)
        runner.run(engine.close())
    return [
        Measurement("comparisons, embedded engine, 64 clients", rates.a, "/s", note="one principle each, contrast"),
        Measurement("the same trees, engine alone", rates.b, "/s"),
        Measurement("API / engine alone", rates.ratio, "x", 0.8, rates.spread),
    ]


def tree_of(number: int) -> Node:
    """What the engine is asked for comparison ``number``."""
    body = asked(number)
    prompt = Prompt(messages=(Message(role="user", content=body["prompt"]),))
    drawn = sample(PRINCIPLES, seed=0, prompt=f"{prompt.key}:judge", round=0, k=1)
    first, second = body["responses"]
    question = Question(prompt, first, second, drawn, 0)
    return tree(question, frames_of(drawn, "opposite"))


async def all_at_once(engine: Engine, trees: Sequence[Node]) -> None:
    """Score all trees."""
    await asyncio.gather(*(engine.score(tree) for tree in trees))


async def by_clients(served: Served, count: int) -> None:
    """Ask for so many of the same comparisons, 64 at a time."""
    numbers = iter(range(count))
    async with connections(served, CLIENTS) as open:

        async def client(connection: KeptConnection) -> None:
            for number in numbers:
                await compare(connection, number, principles=1)

        await asyncio.gather(*(client(connection) for connection in open))


async def timed(work: Awaitable[None]) -> float:
    """The seconds that ``work`` takes."""
    began = time.perf_counter()
    await work
    return time.perf_counter() - began
