"""A discrete-event simulation of one engine process: prompts in flight, their calls, the engine, the pipeline.

A prompt goes through phases one after the other; in a phase, chains of calls run side by side. The engine does two
things: it reads tokens (prompts of answers, and trees) in the order they came, and it writes, a step at a time, one
token of every answer under way. Where there is both to do, each gets half of its time, as in `critic.engines.worker`.
Each answered call passes through the pipeline's one thread, which records it. Between two ends nothing changes, so time
jumps from one to the next.
"""

import math
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from itertools import count


@dataclass(frozen=True, slots=True)
class Call:
    """One request: tokens of its chats, each counted whole; those computed (shared beginnings once); those written.

    ``records`` is how many answers it leaves in the ledger: one a read of a tree.
    """

    read: float
    computed: float
    written: float = 0.0
    records: int = 1


@dataclass(frozen=True, slots=True)
class Phase:
    """``width`` chains side by side, each of the same calls one after the other. The next phase waits for all."""

    width: int
    chain: tuple[Call, ...]


@dataclass(frozen=True, slots=True)
class Engine:
    """What an engine computes: ``reads`` tokens a second, and writing steps.

    A step takes ``step`` seconds and ``answer`` more for each answer in it, at most ``slots`` of them. ``keeps``:
    whether a call that goes on from an earlier one finds its tokens still computed, as in vLLM's prefix cache.
    """

    reads: float
    step: float
    answer: float
    slots: float
    keeps: bool = False

    def faster(self, factor: float) -> "Engine":
        """The same engine on hardware ``factor`` times as fast."""
        return replace(self, reads=self.reads * factor, step=self.step / factor, answer=self.answer / factor)


@dataclass(frozen=True, slots=True)
class Process:
    """An engine and the pipeline before it: seconds a recorded answer, and how many prompts are under way at once."""

    engine: Engine
    record: float
    in_flight: int = 64


@dataclass(slots=True)
class Ran:
    """What came of it: seconds, calls, tokens; ``steps`` of writing; and when each prompt ended, in that order."""

    prompts: int = 0
    seconds: float = 0.0
    calls: float = 0
    records: float = 0
    read: float = 0.0
    computed: float = 0.0
    written: float = 0.0
    steps: float = 0.0
    ends: list[float] = field(default_factory=list)


def simulate(process: Process, phases: Sequence[Phase], prompts: int, spread: float = 0.0, seed: int = 0) -> Ran:
    """Run ``prompts`` prompts, every event of them.

    The length of an answer is drawn evenly from ``1 - spread`` to ``1 + spread`` times the call's.
    """
    return _Simulation(process, phases, prompts, spread, random.Random(seed)).run()


def extrapolate(process: Process, phases: Sequence[Phase], prompts: int, window: int, spread: float = 0.0) -> Ran:
    """As `simulate`, for any number of prompts: a window with its beginning and end, and the rest at its middle's rate.

    The middle is the second half of the window without the last prompts in flight, which have the engine to themselves.
    """
    ran = simulate(process, phases, min(prompts, window), spread)
    if prompts <= window:
        return ran
    first, last = window // 4, window - 2 * process.in_flight
    if last <= first:
        raise ValueError(f"a window of {window} prompts is too short for {process.in_flight} in flight")
    rate = (last - first) / (ran.ends[last] - ran.ends[first])
    grown = prompts / window
    return Ran(
        prompts,
        ran.seconds + (prompts - window) / rate,
        *(grown * x for x in (ran.calls, ran.records, ran.read, ran.computed, ran.written, ran.steps)),
    )


@dataclass(slots=True)
class _Chain:
    """One chain of a prompt: ``left`` counts the prompt's chains that are under way in its ``phase``."""

    calls: tuple[Call, ...]
    phase: int
    left: list[int]
    at: int = 0

    @property
    def call(self) -> Call:
        return self.calls[self.at]


class _Simulation:
    """The queues: chains that wait for a slot, are read, are written, are recorded."""

    def __init__(
        self, process: Process, phases: Sequence[Phase], prompts: int, spread: float, rng: random.Random
    ) -> None:
        self._process, self._phases, self._spread, self._rng = process, phases, spread, rng
        self._fresh, self._ran, self._now = prompts, Ran(), 0.0
        self._waiting: deque[_Chain] = deque()
        self._slots = process.engine.slots
        self._reading: deque[_Chain] = deque()
        self._unread = 0.0  # engine seconds that the first of the queue still needs
        self._writing: list[tuple[float, int, _Chain]] = []  # a heap, by the step of the end
        self._recording: deque[_Chain] = deque()
        self._recorded = 0.0  # when the first of the queue is
        self._order = count()  # of writings that end at the same step

    def run(self) -> Ran:
        for _ in range(min(self._process.in_flight, self._fresh)):
            self._begin()
        while self._reading or self._writing or self._recording:
            self._next()
        self._ran.seconds = self._now
        return self._ran

    def _begin(self) -> None:
        if self._fresh:
            self._fresh -= 1
            self._enter(0)

    def _enter(self, number: int) -> None:
        """Begin a phase of a prompt; after the last, end the prompt and begin another."""
        if number == len(self._phases):
            self._ran.prompts += 1
            self._ran.ends.append(self._now)
            self._begin()
            return
        phase = self._phases[number]
        left = [phase.width]
        for _ in range(phase.width):
            self._ask(_Chain(phase.chain, number, left))

    def _ask(self, chain: _Chain) -> None:
        """Send the chain's call to the engine: an answer waits for a slot, a tree is read in its turn."""
        if chain.call.written and not self._slots:
            self._waiting.append(chain)
            return
        self._slots -= chain.call.written > 0
        self._reading.append(chain)
        if len(self._reading) == 1:
            self._unread = chain.call.computed / self._process.engine.reads

    def _next(self) -> None:
        """Go on to the next end of a reading, a writing or a recording."""
        engine, answers = self._process.engine, len(self._writing)
        share = 0.5 if self._reading and answers else 1.0
        step = (engine.step + engine.answer * answers) / share
        ends = (
            self._unread / share if self._reading else math.inf,
            (self._writing[0][0] - self._ran.steps) * step if answers else math.inf,
            self._recorded - self._now if self._recording else math.inf,
        )
        after = max(0.0, min(ends))
        self._now += after
        self._unread -= after * share
        self._ran.steps += after / step if answers else 0.0
        (self._end_reading, self._end_writing, self._end_recording)[ends.index(min(ends))]()

    def _end_reading(self) -> None:
        chain = self._reading.popleft()
        if self._reading:
            self._unread = self._reading[0].call.computed / self._process.engine.reads
        if not chain.call.written:
            self._answered(chain)
            return
        length = chain.call.written * self._rng.uniform(1 - self._spread, 1 + self._spread)
        self._ran.written += length
        heappush(self._writing, (self._ran.steps + length, next(self._order), chain))

    def _end_writing(self) -> None:
        chain = heappop(self._writing)[2]
        self._slots += 1
        if self._waiting:
            self._ask(self._waiting.popleft())
        self._answered(chain)

    def _answered(self, chain: _Chain) -> None:
        call, ran = chain.call, self._ran
        ran.calls, ran.records = ran.calls + 1, ran.records + call.records
        ran.read, ran.computed = ran.read + call.read, ran.computed + call.computed
        self._recording.append(chain)
        if len(self._recording) == 1:
            self._recorded = self._now + call.records * self._process.record

    def _end_recording(self) -> None:
        """The call is on disk: its chain goes on, or its phase ends with the last of them."""
        chain = self._recording.popleft()
        if self._recording:
            self._recorded = self._now + self._recording[0].call.records * self._process.record
        chain.at += 1
        if chain.at < len(chain.calls):
            self._ask(chain)
            return
        chain.left[0] -= 1
        if not chain.left[0]:
            self._enter(chain.phase + 1)
