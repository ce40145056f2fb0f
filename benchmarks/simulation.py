"""A discrete-event simulation of one engine process: prompts in flight, their calls, the engine, the pipeline.

A prompt goes through phases one after the other; in a phase, chains of calls run side by side. The engine does two
things: it reads tokens (prompts of answers, and trees) in the order they came, and it writes, a step at a time, one
token of every answer under way. Where there is both to do, each gets half of its time, as in `critic.engines.worker`.
Answered calls pass through the pipeline's one thread, which records them, all of them a slice at a time as coroutines
do. Between two ends nothing changes, so time jumps from one to the next.
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
    """An engine and the pipeline before it, which has ``in_flight`` prompts of a shard under way at once.

    ``record``: seconds of the pipeline's thread for each answer. ``commit``: seconds more until it is on disk, in which
    other answers are recorded. Of shards of ``shard`` prompts ``shards`` are under way at once; without Ray, all
    prompts are one.
    """

    engine: Engine
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


def simulate(process: Process, phases: Sequence[Phase], prompts: int, spread: float = 0.0) -> Ran:
    """Run ``prompts`` prompts, every event of them.

    The length of an answer is drawn evenly from ``1 - spread`` to ``1 + spread`` times the call's.
    """
    return _Simulation(process, phases, prompts, spread).run()


def extrapolate(ran: Ran, process: Process, prompts: int) -> Ran:
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
class _Prompt:
    """A prompt under way: its phase, and the chains that this one still waits for.

    It draws the lengths of its own answers, so that they don't depend on how many prompts there are.
    """

    shard: _Shard
    rng: random.Random
    phase: int = -1
    left: int = 0


@dataclass(slots=True)
class _Chain:
    prompt: _Prompt
    calls: tuple[Call, ...]
    at: int = 0

    @property
    def call(self) -> Call:
        return self.calls[self.at]


class _Batch:
    """Chains that go forward together: a step of all takes ``fixed`` seconds, and ``each`` more for each of them."""

    def __init__(self, fixed: float, each: float) -> None:
        self._fixed, self._each = fixed, each
        self._chains: list[tuple[float, int, _Chain]] = []  # a heap, by the step of the end
        self._order = count()  # of those that end at the same step
        self.steps = 0.0

    def __len__(self) -> int:
        return len(self._chains)

    def add(self, chain: _Chain, steps: float) -> None:
        heappush(self._chains, (self.steps + steps, next(self._order), chain))

    def pop(self) -> _Chain:
        return heappop(self._chains)[2]

    def seconds(self, share: float) -> float:
        """How long until the next of them ends, with this share of the machine."""
        return max(0.0, self._chains[0][0] - self.steps) * self._step(share) if self._chains else math.inf

    def advance(self, seconds: float, share: float) -> None:
        if self._chains and seconds:  # a step that takes no time never comes with a time that passes
            self.steps += seconds / self._step(share)

    def _step(self, share: float) -> float:
        return (self._fixed + self._each * len(self._chains)) / share


class _Simulation:
    """Where chains are: they wait for a slot, are read one by one, are written together, are recorded together."""

    def __init__(self, process: Process, phases: Sequence[Phase], prompts: int, spread: float) -> None:
        self._process, self._phases, self._spread = process, phases, spread
        self._fresh, self._numbers, self._ran, self._now = prompts, count(), Ran(), 0.0
        self._waiting: deque[_Chain] = deque()
        self._slots = process.engine.slots
        self._reading: deque[_Chain] = deque()
        self._unread = 0.0  # engine seconds that the first of the queue still needs
        self._writing = _Batch(process.engine.step, process.engine.answer)
        self._recording = _Batch(0.0, process.record)
        self._committing = _Batch(process.commit, 0.0)

    def run(self) -> Ran:
        for _ in range(self._process.shards):
            self._take()
        while self._reading or self._writing or self._recording or self._committing:
            self._next()
        self._ran.seconds, self._ran.steps = self._now, self._writing.steps
        return self._ran

    def _take(self) -> None:
        """Begin another shard."""
        rows = int(min(self._process.shard, self._fresh))
        self._fresh -= rows
        shard = _Shard(rows, rows)
        for _ in range(min(self._process.in_flight, rows)):
            self._begin(shard)

    def _begin(self, shard: _Shard) -> None:
        shard.fresh -= 1
        self._enter_next(_Prompt(shard, random.Random(next(self._numbers))))

    def _end(self, shard: _Shard) -> None:
        """End a prompt; another of its shard follows, or after the last another shard."""
        self._ran.prompts += 1
        self._ran.ends.append((self._now, self._writing.steps))
        shard.left -= 1
        if shard.fresh:
            self._begin(shard)
        elif not shard.left:
            self._take()

    def _enter_next(self, prompt: _Prompt) -> None:
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
        self._reading.append(chain)
        if len(self._reading) == 1:
            self._unread = chain.call.computed / self._process.engine.reads

    def _next(self) -> None:
        """Go on to the next end of a reading, a writing, a recording or a commit."""
        share = 0.5 if self._reading and self._writing else 1.0
        ends = (
            self._unread / share if self._reading else math.inf,
            self._writing.seconds(share),
            self._recording.seconds(1.0),
            self._committing.seconds(1.0),
        )
        after = min(ends)
        self._now += after
        self._unread = max(0.0, self._unread - after * share)
        self._writing.advance(after, share)
        self._recording.advance(after, 1.0)
        self._committing.advance(after, 1.0)
        (self._end_reading, self._end_writing, self._end_recording, self._end_commit)[ends.index(after)]()

    def _end_reading(self) -> None:
        chain = self._reading.popleft()
        if self._reading:
            self._unread = self._reading[0].call.computed / self._process.engine.reads
        if not chain.call.written:
            self._answered(chain)
            return
        length = chain.call.written * chain.prompt.rng.uniform(1 - self._spread, 1 + self._spread)
        self._ran.written += length
        self._writing.add(chain, length)

    def _end_writing(self) -> None:
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

    def _end_recording(self) -> None:
        self._committing.add(self._recording.pop(), 1.0)

    def _end_commit(self) -> None:
        """The call is on disk: its chain goes on, or its phase ends with the last of them."""
        chain = self._committing.pop()
        chain.at += 1
        if chain.at < len(chain.calls):
            self._ask(chain)
            return
        chain.prompt.left -= 1
        if not chain.prompt.left:
            self._enter_next(chain.prompt)
