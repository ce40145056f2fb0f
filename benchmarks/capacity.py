"""A labelling run of any size: its workload, GPUs and shared parts; how long it takes, and which part bounds it.

Each engine process is simulated (`benchmarks.simulation`); what the processes share, the driver above all, is added.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

from benchmarks.simulation import Phase, Ran, SimulatedCall, SimulatedEngine, SimulatedProcess, extrapolate, simulate

# As `critic.cluster.cluster` has them.
SHARD_ROWS, SHARDS_AT_ONCE = 64, 2
WINDOW = 1024  # prompts that are simulated of a longer run


@dataclass(frozen=True, slots=True)
class Workload:
    """One prompt's texts in tokens, and what is asked about it: the shape of ``cai generate --mode logprob``.

    ``page`` is what surrounds a prompt in the judge's chats; ``request`` asks for the revision; ``question`` is one
    principle's. ``spread``: answers are between ``1 - spread`` and ``1 + spread`` times these lengths.
    """

    samples: int = 2
    revisions: int = 1
    principles: int = 4
    prompt: float = 120
    answer: float = 250
    critique: float = 120
    page: float = 130
    request: float = 50
    question: float = 60
    spread: float = 0.5

    @property
    def judgements(self) -> int:
        """Comparisons a prompt: one label each, where a label is a judgement."""
        return math.comb(self.samples, 2)

    @property
    def votes(self) -> int:
        """Votes a prompt, each principle in both orders: one label each, where a label is a vote."""
        return self.judgements * self.principles * 2

    def phases(self, keeps: bool) -> tuple[Phase, ...]:
        """A prompt's calls on an engine that ``keeps`` the tokens of one call for the next, or doesn't."""
        asked = self.page + self.prompt + self.answer
        again = asked + self.critique + self.request
        revised = (
            SimulatedCall(asked, asked, self.critique),
            SimulatedCall(again, self.request if keeps else again, self.answer),
        ) * self.revisions
        votes = 2 * self.principles
        before, shown = self.page + self.prompt, 2 * self.answer
        tree = SimulatedCall(
            votes * (before + shown + self.question), before + 2 * shown + votes * self.question, 0, votes
        )
        phases = (
            Phase(self.samples, (SimulatedCall(self.prompt, self.prompt / self.samples, self.answer),)),
            Phase(self.samples, revised),
            Phase(self.judgements, (tree,)),
        )
        return tuple(phase for phase in phases if phase.width and phase.chain)

    def calls(self) -> list[tuple[int, SimulatedCall]]:
        """Each call of a prompt, with how many there are of it, on an engine that keeps tokens."""
        return [(phase.width, call) for phase in self.phases(keeps=True) for call in phase.chain]

    @property
    def read(self) -> float:
        """Tokens of a prompt's chats, each chat counted whole."""
        return sum(width * call.read for width, call in self.calls())

    @property
    def computed(self) -> float:
        """Those of them that are computed, shared beginnings once."""
        return sum(width * call.computed for width, call in self.calls())

    @property
    def written(self) -> float:
        """Tokens that are written a prompt."""
        return sum(width * call.written for width, call in self.calls())

    @property
    def records(self) -> int:
        """Answers that a prompt leaves in the ledger."""
        return sum(width * call.records for width, call in self.calls())

    @property
    def rows(self) -> int:
        """Rows of the service's tables that a prompt leaves: its own, its answers and its labels, without items."""
        labels = 2 * self.samples * self.revisions + self.judgements  # critiques, corrections, comparisons
        return 1 + self.records + labels

    @property
    def context(self) -> float:
        """How many tokens lie before the one that is written, on average."""
        held = sum(width * call.written * (call.read + call.written / 2) for width, call in self.calls())
        return held / self.written


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU with a judge on it. Its sources: the data sheet, and the model's ``config.json``."""

    name: str
    flops: float  # dense, a second
    bandwidth: float  # bytes a second
    parameters: float
    cache_token: float  # bytes of keys and values
    slots: int = 256

    def engine(self, arithmetic: float, memory: float, context: float) -> SimulatedEngine:
        """The engine at these shares of peak arithmetic and bandwidth, its answers ``context`` tokens long.

        A step reads all weights (two bytes each) once, and each answer's keys and values. Arithmetic and reading are
        added, not overlapped.
        """
        token = 2 * self.parameters / (self.flops * arithmetic)
        bandwidth = self.bandwidth * memory
        answer = token + context * self.cache_token / bandwidth
        return SimulatedEngine(1 / token, 2 * self.parameters / bandwidth, answer, self.slots, keeps=True)


H100 = Gpu("NVIDIA H100 SXM, Llama-3.1-8B in bfloat16", 989e12, 3.35e12, 8.03e9, 2 * 32 * 8 * 128 * 2)
USED_WELL, USED_BADLY = (0.6, 0.8), (0.3, 0.5)  # shares of peak arithmetic and of peak bandwidth


# Seconds a recorded answer, through pipeline and ledger: RESULTS.md, "Overhead of pipeline and store".
RECORD = 1 / 3913
# Seconds until a recorded answer is on disk: RESULTS.md, "Simulation".
COMMIT = 0.46e-3
# Seconds in one process for all actors, from RESULTS.md, "Storage": a row that is read and cut, a shard that is stored,
# and a row of the results at the end.
READ, STORE, EXPORT = 55e-6, 3.9e-3, 523e-6


@dataclass(frozen=True, slots=True)
class Setup:
    """Where a run happens, and what each part costs, in seconds.

    One GPU is `cai generate` with its run.db; several are Ray actors that take shards of ``shard_rows`` prompts, one
    process that reads the input, and a driver that stores shards and at the end writes the results.
    """

    engine: SimulatedEngine
    gpus: int = 1
    in_flight: int = 64
    shard_rows: int = SHARD_ROWS
    record: float = RECORD
    commit: float = COMMIT
    read: float = READ
    store: float = STORE
    export: float = EXPORT
    start: float = 120.0  # seconds until an engine with its model is there; assumed


# What is asked to be twice as good, one after the other, to see what bounds a run.
PARTS: dict[str, Callable[[Setup], Setup]] = {
    "engines": lambda setup: replace(setup, engine=setup.engine.faster(2)),
    "pipeline": lambda setup: replace(setup, record=setup.record / 2),
    "prompts in flight": lambda setup: replace(setup, in_flight=2 * setup.in_flight),
    "size of shards": lambda setup: replace(setup, shard_rows=max(1, setup.shard_rows // 2)),
    "reader": lambda setup: replace(setup, read=setup.read / 2),
    "driver": lambda setup: replace(setup, store=setup.store / 2),
    "export": lambda setup: replace(setup, export=setup.export / 2),
    "start": lambda setup: replace(setup, start=setup.start / 2),
}
SETTINGS = ("prompts in flight", "size of shards")


def seconds(setup: Setup, workload: Workload, prompts: int) -> float:
    """How long a run takes. Engines, reader and driver work side by side, and the results are written at the end."""
    shards = math.ceil(prompts / setup.shard_rows)
    most = prompts if setup.gpus == 1 else min(prompts, math.ceil(shards / setup.gpus) * setup.shard_rows)
    stored = shards * setup.store if setup.gpus > 1 else 0.0
    work = max(engine_run(setup, workload, most).seconds, prompts * setup.read, stored)
    return setup.start + work + prompts * setup.export


def bottleneck(setup: Setup, workload: Workload, prompts: int) -> str:
    """The part that shortens the run most where it is twice as good; a setting that saves a quarter comes first."""
    once = seconds(setup, workload, prompts)
    twice = {part: seconds(better(setup), workload, prompts) for part, better in PARTS.items()}
    setting = min(SETTINGS, key=twice.__getitem__)
    return setting if twice[setting] < 0.75 * once else min(twice, key=twice.__getitem__)


def engine_run(setup: Setup, workload: Workload, prompts: int) -> Ran:
    """One engine process on its own: a window of a long run, and all of a short one."""
    process = SimulatedProcess(setup.engine, setup.record, setup.commit, setup.in_flight)
    if setup.gpus > 1:  # an actor's answers stay in its memory until the shard is done
        process = replace(process, commit=0.0, shard=setup.shard_rows, shards=SHARDS_AT_ONCE)
    window = max(WINDOW, 8 * process.in_flight * process.shards)
    ran = _simulated(process, workload, min(prompts, window))
    return ran if prompts <= window else extrapolate(ran, process, prompts)


@lru_cache(maxsize=1024)
def _simulated(process: SimulatedProcess, workload: Workload, prompts: int) -> Ran:
    return simulate(process, workload.phases(process.engine.keeps), prompts, workload.spread)


def floor(workload: Workload, gpu: Gpu) -> float:
    """GPU seconds a prompt that no software avoids: every token computed once, at the peak of arithmetic."""
    return 2 * gpu.parameters * (workload.computed + workload.written) / gpu.flops


def setups(workload: Workload, gpus: int, gpu: Gpu = H100) -> tuple[Setup, Setup]:
    """So many GPUs, used well and used badly."""
    well, badly = (Setup(gpu.engine(*used, workload.context), gpus) for used in (USED_WELL, USED_BADLY))
    return well, badly
