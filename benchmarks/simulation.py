"""A discrete-event simulation of one engine process: prompts in flight, their calls, the engine, the pipeline.

A prompt goes through phases one after the other; in a phase, chains of calls run side by side. The engine does three
things, as `critic.local.worker` does: first it reads the prompts of answers that join; then it writes, a step at a
time, one token of every answer under way, and reads trees, with half of its time each. Answered calls pass through the
pipeline's one thread, which records them, all of them a slice at a time as coroutines do. Between two ends nothing
changes, so time jumps from one to the next.
"""

import math
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

from benchmarks.places import Convoy, Queue


@dataclass(frozen=True, slots=True)
class SimulatedCall:
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
    chain: tuple[SimulatedCall, ...]


@dataclass(frozen=True, slots=True)
class SimulatedEngine:
    """What an engine computes: ``reads`` tokens a second, and writing steps.

    A step takes ``step`` seconds and ``answer`` more for each answer in it, at most ``slots`` of them. ``keeps``:
    whether a call that goes on from an earlier one finds its tokens still computed, as in vLLM's prefix cache.
    """

    reads: float
    step: float
    answer: float
    slots: float
    keeps: bool = False

    def faster(self, factor: float) -> "SimulatedEngine":
        """The same engine on hardware ``factor`` times as fast."""
        return replace(self, reads=self.reads * factor, step=self.step / factor, answer=self.answer / factor)


@dataclass(frozen=True, slots=True)
class SimulatedProcess:
    """An engine and the pipeline before it, which has ``in_flight`` prompts of a shard under way at once.

    ``record``: seconds of the pipeline's thread for each answer. ``commit``: seconds more until it is on disk, in which
    other answers are recorded. Of shards of ``shard`` prompts ``shards`` are under way at once; without Ray, all
    prompts are one.
    """

    engine: SimulatedEngine
    record: float
    commit: float = 0.0
    in_flight: int = 64
    shard: float = math.inf
    shards: int = 1


@dataclass(slots=True)
class Ran:
    """What came of it: seconds, calls, tokens, steps of writing; and the seconds and steps at which prompts ended."""

    prompts: int = 0
    seconds: float = 0.0
    calls: float = 0
    records: float = 0
    read: float = 0.0
    computed: float = 0.0
    written: float = 0.0
    steps: float = 0.0
    ends: list[tuple[float, float]] = field(default_factory=list)


def simulate(process: SimulatedProcess, phases: Sequence[Phase], prompts: int, spread: float = 0.0) -> Ran:
    """Run ``prompts`` prompts, every event of them.

    The length of an answer is drawn evenly from ``1 - spread`` to ``1 + spread`` times the call's.
    """
    return _Simulation(process, phases, prompts, spread).run()


def extrapolate(ran: Ran, process: SimulatedProcess, prompts: int) -> Ran:
    """What more ``prompts`` than ``ran`` had would come to: its beginning and end, and the rest at its middle's rate.

    The middle begins after a quarter of the window and ends before the last prompts, which run among fewer and fewer.
    """
    window = ran.prompts
    first, last = window // 4, window - 2 * process.in_flight * process.shards
    if last <= first:
        raise ValueError(f"a window of {window} prompts is too short for {process.in_flight} in flight")
    (begun, steps), (ended, more_steps) = ran.ends[first], ran.ends[last]
    further = (prompts - window) / (last - first)
    grown = prompts / window
    return Ran(
        prompts=prompts,
        seconds=ran.seconds + further * (ended - begun),
        calls=grown * ran.calls,
        records=grown * ran.records,
        read=grown * ran.read,
        computed=grown * ran.computed,
        written=grown * ran.written,
        steps=ran.steps + further * (more_steps - steps),
    )


@dataclass(slots=True)
class _Shard:
    """A shard under way: its prompts that are not begun, and those that are not ended."""

    fresh: int
    left: int


@dataclass(slots=True)
class _SimulatedPrompt:
    """A prompt under way: its phase, and the chains that this one still waits for.

    It draws the lengths of its own answers, so that they don't depend on how many prompts there are.
    """

    shard: _Shard
    rng: random.Random
    phase: int = -1
    left: int = 0


@dataclass(slots=True)
class _Chain:
    prompt: _SimulatedPrompt
    calls: tuple[SimulatedCall, ...]
    at: int = 0

    @property
    def call(self) -> SimulatedCall:
        return self.calls[self.at]


class _Simulation:
    """Where chains are: they wait for a slot, join and are written, or are trees and read; then they are recorded."""

    def __init__(self, process: SimulatedProcess, phases: Sequence[Phase], prompts: int, spread: float) -> None:
        self._process, self._phases, self._spread = process, phases, spread
        self._fresh, self._numbers, self._ran, self._now = prompts, count(), Ran(), 0.0
        self._waiting: deque[_Chain] = deque()
        self._slots = process.engine.slots
        self._joining, self._trees = Queue[_Chain](), Queue[_Chain]()
        self._writing = Convoy[_Chain](process.engine.step, process.engine.answer)
        self._recording = Convoy[_Chain](0.0, process.record)
        self._committing = Convoy[_Chain](process.commit, 0.0)
        self._places: tuple[tuple[Queue[_Chain] | Convoy[_Chain], Callable[[], None]], ...] = (
            (self._joining, self._joined),
            (self._trees, lambda: self._answered(self._trees.pop())),
            (self._writing, self._written),
            (self._recording, lambda: self._committing.add(self._recording.pop(), 1.0)),
            (self._committing, self._committed),
        )

    def run(self) -> Ran:
        for _ in range(self._process.shards):
            self._take()
        while any(len(place) for place, _ in self._places):
            self._next()
        self._ran.seconds, self._ran.steps = self._now, self._writing.steps
        return self._ran

    def _next(self) -> None:
        """Go on to the next end in any of the places."""
        shares = (1.0, *self._shares(), 1.0, 1.0)
        ends = [place.seconds(share) for (place, _), share in zip(self._places, shares, strict=True)]
        after = min(ends)
        self._now += after
        for (place, _), share in zip(self._places, shares, strict=True):
            place.advance(after, share)
        self._places[ends.index(after)][1]()

    def _shares(self) -> tuple[float, float]:
        """What trees and writing get of the engine: nothing while answers join, and half each where both are there."""
        if self._joining:
            return 0.0, 0.0
        return (0.5, 0.5) if self._trees and self._writing else (1.0, 1.0)

    def _take(self) -> None:
        """Begin another shard."""
        rows = int(min(self._process.shard, self._fresh))
        self._fresh -= rows
        shard = _Shard(rows, rows)
        for _ in range(min(self._process.in_flight, rows)):
            self._begin(shard)

    def _begin(self, shard: _Shard) -> None:
        shard.fresh -= 1
        self._enter_next(_SimulatedPrompt(shard, random.Random(next(self._numbers))))

    def _end(self, shard: _Shard) -> None:
        """End a prompt; another of its shard follows, or after the last another shard."""
        self._ran.prompts += 1
        self._ran.ends.append((self._now, self._writing.steps))
        shard.left -= 1
        if shard.fresh:
            self._begin(shard)
        elif not shard.left:
            self._take()

    def _enter_next(self, prompt: _SimulatedPrompt) -> None:
        """Begin a prompt's next phase, or end it."""
        prompt.phase += 1
        if prompt.phase == len(self._phases):
            self._end(prompt.shard)
            return
        phase = self._phases[prompt.phase]
        prompt.left = phase.width
        for _ in range(phase.width):
            self._ask(_Chain(prompt, phase.chain))

    def _ask(self, chain: _Chain) -> None:
        """Send the chain's call to the engine: an answer waits for a slot, a tree is read in its turn."""
        if chain.call.written and not self._slots:
            self._waiting.append(chain)
            return
        self._slots -= chain.call.written > 0
        (self._joining if chain.call.written else self._trees).add(
            chain, chain.call.computed / self._process.engine.reads
        )

    def _joined(self) -> None:
        chain = self._joining.pop()
        length = chain.call.written * chain.prompt.rng.uniform(1 - self._spread, 1 + self._spread)
        self._ran.written += length
        self._writing.add(chain, length)

    def _written(self) -> None:
        chain = self._writing.pop()
        self._slots += 1
        if self._waiting:
            self._ask(self._waiting.popleft())
        self._answered(chain)

    def _answered(self, chain: _Chain) -> None:
        call, ran = chain.call, self._ran
        ran.calls, ran.records = ran.calls + 1, ran.records + call.records
        ran.read, ran.computed = ran.read + call.read, ran.computed + call.computed
        self._recording.add(chain, call.records)

    def _committed(self) -> None:
        """The call is on disk: its chain goes on, or its phase ends with the last of them."""
        chain = self._committing.pop()
        chain.at += 1
        if chain.at < len(chain.calls):
            self._ask(chain)
            return
        chain.prompt.left -= 1
        if not chain.prompt.left:
            self._enter_next(chain.prompt)
