"""The simulation against real runs: seconds that were predicted, over the seconds that `cai generate` then took.

What calls cost is measured before, on other and smaller work: the embedded model by a run of 3 prompts and by answers
and trees alone, the pipeline by a short run of a scripted engine that hardly waits. Then come the runs: the embedded
model with 8 and 24 prompts, and a scripted engine that takes its time for each call with 1,000 and 4,000. Each prompt
has two samples, a critique and a revision of each, and two principles. Loading and exports are not counted.
"""

import asyncio
import json
import tempfile
import time
from collections.abc import Coroutine, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from statistics import mean, median
from typing import Any, TypeVar
from unittest import mock

from benchmarks.figures import Measurement
from benchmarks.prefix_tree import tokens
from benchmarks.simulation import Phase, SimulatedCall, SimulatedEngine, SimulatedProcess, simulate
from benchmarks.storage import CONSTITUTION
from critic.calls.wrappers import Wrapper
from critic.engine import Completion, Lane, Node, Request, Score, reads
from critic.local import embedded
from critic.local import language_model as hf
from critic.run import run
from critic.run.folder.store import RunStore
from critic.run.request import RunRequest

TITLE = "Simulation"
LEARNT_FROM, SIZES = 3, (8, 24)
SHORT = {"SIZES": (6, 16)}
SCRIPTED_FROM, SCRIPTED_SIZES = 500, (1000, 4000)
HARDLY, LATENCY = 0.001, 0.05  # seconds a call: where the pipeline is measured, and where it is predicted
SPREAD = 0.02  # no two waits are equally long
COMMITS = 200
CALLS_A_PROMPT = 2 + 2 * 2 + 2 * 2
MAX_TOKENS, BATCH, RUNS = 24, 16, 3
SETTINGS = {"judge_principles": 2, "max_tokens": MAX_TOKENS, "judge_max_tokens": MAX_TOKENS}

T = TypeVar("T")


def measure() -> list[Measurement]:
    """See the module's docstring."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "some.yaml").write_text(json.dumps(CONSTITUTION))
        record = scripted(folder, SCRIPTED_FROM, HARDLY) / SCRIPTED_FROM / CALLS_A_PROMPT
        commit = asyncio.run(commit_seconds(folder / "commits"))
        figures = [
            Measurement("a recorded call of the pipeline", 1e6 * record, "us"),
            Measurement("a commit, one at a time", 1e3 * commit, "ms"),
        ]
        for prompts in SCRIPTED_SIZES:
            predicted = simulate(
                SimulatedProcess(waiting(LATENCY), record, commit), SCRIPTED_PHASES, prompts, SPREAD
            ).seconds
            took = scripted(folder, prompts, LATENCY)
            figures += compared(f"scripted engine, {prompts:,} prompts", predicted, took)
        with asyncio.Runner() as runner:
            figures += runner.run(real(folder, record, commit))
    return figures


async def commit_seconds(folder: Path) -> float:
    """How long a call waits until it is on disk, while nothing else is written."""
    with closing(RunStore.open(folder, {}, extend=False)) as store:
        began = time.perf_counter()
        for number in range(COMMITS):
            await store.commit(f"{number:064x}", ["An answer", "stop", 1, 1], 0.0)
        return (time.perf_counter() - began) / COMMITS


def compared(what: str, predicted: float, took: float) -> list[Measurement]:
    """The prediction over the real run; it must be within 15 % on both sides."""
    ratio, note = predicted / took, f"{predicted:.1f} s and {took:.1f} s"
    return [
        Measurement(f"simulated / measured, {what}", ratio, "x", 0.85, note),
        Measurement(f"simulated / measured, {what}", ratio, "x", 1.15, note, "at most"),
    ]


# The tree's four reads are asked for one after the other.
SCRIPTED_PHASES = (
    Phase(2, (SimulatedCall(0, 0, 1),)),
    Phase(2, (SimulatedCall(0, 0, 1),) * 2),
    Phase(1, (SimulatedCall(0, 0, 4, 4),)),
)


def waiting(latency: float) -> SimulatedEngine:
    """An engine that computes nothing, and answers any number of calls after ``latency`` seconds."""
    return SimulatedEngine(reads=1.0, step=latency, answer=0.0, slots=1_000_000)


def scripted(folder: Path, prompts: int, latency: float) -> float:
    """Run the scripted engine; return the seconds of the run itself."""
    (folder / "script.yaml").write_text(json.dumps({"latency": latency}))
    spec = f"scripted:{folder / 'script.yaml'}"
    return asyncio.run(generate(folder, spec, "logprob", 0, prompts))


async def generate(folder: Path, spec: str, mode: str, first: int, prompts: int) -> float:
    """Run prompts from number ``first`` on; return the seconds of the run itself."""
    lines = (f"Question number {first + i}: what is to be done about it?\n" for i in range(prompts))
    (folder / "prompts.txt").write_text("".join(lines))
    request = RunRequest(
        str(folder / "some.yaml"), str(folder / "prompts.txt"), (spec,), spec, (mode,), settings=SETTINGS
    )
    with tempfile.TemporaryDirectory(dir=folder) as out:
        outcome = await run.run(request, Path(out) / "out")
    if outcome.progress.rows != prompts:
        raise AssertionError(f"{outcome.progress} of {prompts} prompts")
    return outcome.seconds


class Watched(Wrapper):
    """Keeps what was asked, and what came of it."""

    def __init__(self, engine: hf.HfEngine) -> None:
        super().__init__(engine)
        self.answered: list[tuple[Request, Completion]] = []
        self.trees: list[Node] = []

    async def complete(self, request: Request, lane: Lane = "batch") -> Completion:
        """Answer one chat."""
        completion = await self._engine.complete(request, lane)
        self.answered.append((request, completion))
        return completion

    async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
        """Read numbers off a tree."""
        self.trees.append(tree)
        return await self._engine.score(tree, lane)


async def real(folder: Path, record: float, commit: float) -> list[Measurement]:
    """The embedded model: what it costs, then the runs."""
    engine = hf.open_engine(str(embedded.fetch()), {})
    watched = Watched(engine)
    figures = []
    with (
        mock.patch.object(run, "open_engine", lambda spec: watched),
        mock.patch.object(watched, "close", mock.AsyncMock()),
    ):
        await generate(folder, "embedded", "contrast", 1000, LEARNT_FROM)
        answered, trees = list(watched.answered), list(watched.trees)
        costs = await engine_costs(engine, [request for request, _ in answered[-BATCH:]], trees)
        figures += [
            Measurement("reading of the embedded engine", costs.reads, "tokens/s"),
            Measurement("its step of writing", 1e3 * costs.step, "ms"),
            Measurement("more for each answer in it", 1e3 * costs.answer, "ms"),
        ]
        for prompts in SIZES:
            predicted = simulate(SimulatedProcess(costs, record, commit), phases(answered, trees), prompts).seconds
            took = await generate(folder, "embedded", "contrast", 0, prompts)
            figures += compared(f"embedded model, {prompts} prompts", predicted, took)
    await engine.close()
    return figures


def phases(answered: Sequence[tuple[Request, Completion]], trees: Sequence[Node]) -> tuple[Phase, ...]:
    """The average prompt of a run. A chat of two messages asks for a critique, and of four for a revision."""
    by_length = {}
    for messages in (1, 2, 4):
        by_length[messages] = [done for request, done in answered if len(request.messages) == messages]
    sample, critique, revision = by_length.values()
    tree = mean(map(tokens_of, trees))
    judged = SimulatedCall(tree, tree, 0, round(mean(len(list(reads(tree))) for tree in trees)))
    return (Phase(2, (average(sample, 2),)), Phase(2, (average(critique), average(revision))), Phase(1, (judged,)))


def average(done: Sequence[Completion], alike: int = 1) -> SimulatedCall:
    """The average of calls, of which so many have the same prompt and read it once."""
    read = mean(completion.prompt_tokens for completion in done)
    return SimulatedCall(read, read / alike, mean(completion.completion_tokens for completion in done))


def tokens_of(tree: Node) -> float:
    """Tokens of a tree, each once."""
    return float(tokens([tree]))


async def engine_costs(engine: hf.HfEngine, requests: Sequence[Request], trees: Sequence[Node]) -> SimulatedEngine:
    """Ask for trees and answers again, apart from each other, and solve for what each part costs: medians of `RUNS`.

    Requests that write one token are only read. Of ``steps * step + tokens * answer`` there are two equations: one
    answer alone, and all of them.
    """
    costs = []
    for _ in range(RUNS):
        scored, _ = await timed([engine.score(tree) for tree in trees])
        read, done = await timed([engine.complete(shorter(request)) for request in requests])
        alone = await writing(engine, requests[-1:])
        all = await writing(engine, requests)
        prompts = {request.messages: one.prompt_tokens for request, one in zip(requests, done, strict=True)}
        reading = (sum(map(tokens_of, trees)) + sum(prompts.values())) / (scored + read)
        # In each: seconds after the reading, steps, tokens.
        (a, a_steps, a_tokens), (b, b_steps, b_tokens) = alone, all
        answer = (b * a_steps - a * b_steps) / (b_tokens * a_steps - a_tokens * b_steps)
        costs.append((reading, (a - a_tokens * answer) / a_steps, answer))
    reading, step, answer = (median(column) for column in zip(*costs, strict=True))
    return SimulatedEngine(reading, step, answer, BATCH)


async def writing(engine: hf.HfEngine, requests: Sequence[Request]) -> tuple[float, int, int]:
    """Seconds that writing takes beyond reading, its steps and its tokens; an answer's first token comes by reading."""
    read, _ = await timed([engine.complete(shorter(request)) for request in requests])
    whole, done = await timed([engine.complete(request) for request in requests])
    lengths = [completion.completion_tokens - 1 for completion in done]
    return whole - read, max(lengths), sum(lengths)


def shorter(request: Request) -> Request:
    """The request, with an answer of one token."""
    return replace(request, sampling=replace(request.sampling, max_tokens=1))


async def timed(work: Sequence[Coroutine[Any, Any, T]]) -> tuple[float, list[T]]:
    """Do all of it at once; return the seconds and the results."""
    began = time.perf_counter()
    results = await asyncio.gather(*work)
    return time.perf_counter() - began, results
