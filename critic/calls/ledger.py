"""The ledger's side of an engine: an answer that was committed is never asked for again.

A call is one completion, or one read of a score tree: so editing one principle of sixteen asks again for that
principle's reads only. An engine that gains nothing from whole trees is asked read by read, and each answer is
committed as it comes, so that one that fails costs no other. A call's key covers model, tokens, sampling and seed, and
not the constitution's hash: what the model is shown is what counts.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from base.digest import digest
from base.together import together
from critic.calls.under_way import CallsUnderWay
from critic.calls.wrappers import Wrapper, load
from critic.engine import (
    BudgetExceeded,
    Choices,
    Completion,
    Decision,
    Engine,
    EngineError,
    Lane,
    Node,
    OwnTokens,
    Read,
    Request,
    Reward,
    RunStopped,
    Score,
    reads,
)

Answer = list[Any]


class Ledger(Protocol):
    """Answers by content key. One contract test holds every home of a ledger.

    `claim` is True for exactly one caller a key until that caller commits or releases it.
    """

    def get(self, key: str) -> Answer | None:
        """Return the committed answer, or None."""
        ...

    def claim(self, key: str) -> bool:
        """Take the right to make the call of ``key``; False where someone else is making it."""
        ...

    async def settled(self, key: str) -> None:
        """Wait until the claim on ``key`` is committed or released."""
        ...

    async def commit(self, key: str, answer: Answer, cost: float) -> None:
        """Store an answer for good, with its cost in US dollars: when this returns, it survives the process."""
        ...

    def release(self, key: str) -> None:
        """Give a claim back without an answer: the call failed."""
        ...


class Claims:
    """The claims of a ledger that one process has to itself."""

    def __init__(self) -> None:
        self._held: dict[str, asyncio.Future[None]] = {}

    def claim(self, key: str) -> bool:
        """See `Ledger.claim`."""
        if key in self._held:
            return False
        self._held[key] = asyncio.get_running_loop().create_future()
        return True

    async def settled(self, key: str) -> None:
        """See `Ledger.settled`."""
        if key in self._held:
            await asyncio.shield(self._held[key])

    def release(self, key: str) -> None:
        """See `Ledger.release`."""
        held = self._held.pop(key, None)
        if held is not None and not held.done():
            held.set_result(None)


class MemoryLedger(Claims):
    """Answers that last as long as this object: for a row, or a shard of rows. It may begin with ``earlier`` ones."""

    def __init__(self, earlier: Mapping[str, Answer] | None = None) -> None:
        super().__init__()
        self._answers: dict[str, Answer] = dict(earlier or {})
        self._earlier = len(self._answers)

    def answers(self) -> Mapping[str, Answer]:
        """All of them, by their keys."""
        return self._answers

    def made(self) -> int:
        """How many answers came since it began."""
        return len(self._answers) - self._earlier

    def get(self, key: str) -> Answer | None:
        """See `Ledger.get`."""
        return self._answers.get(key)

    def calls(self) -> int:
        """How many answers there are."""
        return len(self._answers)

    async def commit(self, key: str, answer: Answer, cost: float) -> None:
        """See `Ledger.commit`."""
        self._answers[key] = answer
        self.release(key)


@dataclass(slots=True)
class Budget:
    """Hard limits on calls and on US dollars, shared by all engines of a run.

    ``spent`` and ``cost`` count earlier starts, too. A call is begun only where its worst case (its prompt as
    estimated, and every token that it may write) fits beside what was spent and what the calls under way may come to.
    So ``max_cost`` is passed by no more than the error of those estimates.

    ``answered`` counts what was committed in this start, and ``under_way`` knows which calls are being made.
    """

    limit: int | None = None
    spent: int = 0
    answered: int = 0
    under_way: CallsUnderWay = field(default_factory=CallsUnderWay)
    max_cost: float | None = None
    cost: float = 0.0
    _worst: list[float] = field(default_factory=list)
    _settled: asyncio.Event = field(default_factory=asyncio.Event)

    async def spend(self, calls: int, worst: float) -> None:
        """Count ``calls`` before they are made, and set their worst cost aside until `settle`.

        Raises `BudgetExceeded` where they would pass a limit. Waits where it depends on what is under way.
        """
        while not self._fits(worst):
            if not self._worst:
                raise BudgetExceeded(
                    f"the limit of ${self.max_cost:.4f} is reached: ${self.cost:.4f} spent, and the next call may cost "
                    f"${worst:.4f}; a larger --max-cost goes on"
                )
            self._settled.clear()
            await self._settled.wait()
        if self.limit is not None and self.spent + calls > self.limit:
            raise BudgetExceeded(
                f"the limit of {self.limit} calls is reached ({self.spent} made); a larger --max-calls goes on"
            )
        self.spent += calls
        if worst:
            self._worst.append(worst)

    def settle(self, worst: float, cost: float) -> None:
        """Count what was really spent, in place of what was set aside."""
        self.cost += cost
        if worst:
            self._worst.remove(worst)
            self._settled.set()

    def _fits(self, worst: float) -> bool:
        """Whether a call may be made now. One that costs nothing always may."""
        return not worst or self.max_cost is None or self.cost + math.fsum(self._worst) + worst <= self.max_cost


class RecordedEngine(Wrapper):
    """An engine whose answers go through a ledger, and whose calls count against a budget.

    With a commit goes what the engine was charged since the commit before, so that calls that failed are counted, too:
    the cost of a single call is not exact, their sum is. The engine must have been opened for this run alone. ``apart``
    names a second asking, whose answers are kept apart from the first's.
    """

    def __init__(
        self, engine: Engine, ledger: Ledger, budget: Budget, called: str = "", apart: str | None = None
    ) -> None:
        super().__init__(engine)
        self._ledger, self._budget = ledger, budget
        self._called = called or engine.identity.name
        self._counted = self._committed = 0.0  # of the engine's cost: in the budget, in the ledger
        self._base = digest(["engine", asdict(engine.identity), *([apart] if apart else [])])

    async def complete(self, request: Request, lane: Lane = "batch") -> Completion:
        """Return the committed answer, or make the call and commit it."""
        how = [asdict(request.sampling), request.seed, request.json_schema]
        key = digest(["complete", self._base, _chat(request.messages), *how])

        async def call(_: list[str]) -> list[Answer]:
            answer = await self._engine.complete(request, lane)
            return [_written(answer)]

        [answer] = await self._answers([key], call, {key: self._worst(request)})
        return Completion(*answer)

    async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
        """Read what is committed, and ask the engine for one smaller tree with the rest, or for each read alone."""
        keys = list(self._read_keys(tree, self._base))
        worst = {key: self._worst(Node(path, read)) for key, (path, read, _) in zip(keys, reads(tree), strict=True)}

        async def call(mine: list[str]) -> list[Answer]:
            # `mine` is in the order of the tree, each key once, so the pruned tree's scores come in its order.
            positions = [keys.index(key) for key in mine]
            pruned = _prune(tree, set(positions), iter(range(len(keys))))
            scores = await self._engine.score(pruned, lane) if pruned is not None else ()
            return [_stored(score) for score in scores]

        if self.whole_trees:
            answers = await self._answers(keys, call, worst)
        else:
            by_key = await together(self._answers([key], call, worst) for key in keys)
            answers = [answer for [answer] in by_key]
        return tuple(_restored(answer) for answer in answers)

    async def _answers(
        self, keys: list[str], call: Callable[[list[str]], Awaitable[list[Answer]]], worst: Mapping[str, float]
    ) -> list[Answer]:
        """Return one answer a key: from the ledger, from whoever is asking already, or from ``call(the rest)``."""
        answers: dict[str, Answer] = {}
        while missing := [key for key in dict.fromkeys(keys) if key not in answers]:
            missing = [key for key in missing if not self._take(key, answers)]
            mine = [key for key in missing if self._ledger.claim(key)]
            if mine:
                answers.update(await self._make(mine, call, sum(worst[key] for key in mine)))
            elif missing:
                await self._ledger.settled(missing[0])
        return [answers[key] for key in keys]

    def _take(self, key: str, answers: dict[str, Answer]) -> bool:
        answer = self._ledger.get(key)
        if answer is not None:
            answers[key] = answer
        return answer is not None

    async def _make(
        self, keys: list[str], call: Callable[[list[str]], Awaitable[list[Answer]]], worst: float
    ) -> Iterable[tuple[str, Answer]]:
        try:
            await self._budget.spend(len(keys), worst)
            try:
                with self._budget.under_way.call(self._called):
                    answers = await call(keys)
            except (EngineError, RunStopped, asyncio.CancelledError):
                raise
            except Exception as error:  # the boundary: whatever an engine raises costs one row, not the run
                raise EngineError(f"{type(error).__name__}: {error}") from error
            finally:
                self._settle(worst)
            pairs = list(zip(keys, answers, strict=True))
            cost, self._committed = (self._counted - self._committed) / len(pairs), self._counted
            await asyncio.gather(*(self._ledger.commit(key, answer, cost) for key, answer in pairs))
            self._budget.answered += len(pairs)
            return pairs
        except BaseException:  # a cancelled call, too, gives its claims back
            for key in keys:
                self._ledger.release(key)
            raise

    def _worst(self, what: Request | Node) -> float:
        """What a call may cost at most, as far as its prompt's tokens can be estimated."""
        tokens = load(what, self.usage.room)
        return self.usage.price(tokens.prompt, tokens.written)

    def _settle(self, worst: float) -> None:
        cost = self.usage.cost
        self._budget.settle(worst, cost - self._counted)
        self._counted = cost

    def _read_keys(self, node: Node, above: str) -> Iterator[str]:
        here = digest([above, _chat(node.messages)])
        if node.read is not None:
            yield digest(["score", here, _read(node.read)])
        for child in node.children:
            yield from self._read_keys(child, here)


def _chat(messages: Iterable[Any]) -> list[list[Any]]:
    return [message.hashed() for message in messages]


def _stored(score: Score) -> Answer:
    """Return a score as JSON. What few scores have stands at the end, and is left out where there is none of it."""
    answer = [[_number(x) for x in score.values], score.tokens, score.mass, score.confidence, score.note]
    while answer[-1] is None:
        answer.pop()
    return answer


def _restored(answer: Answer) -> Score:
    values, tokens, *more = answer
    return Score(tuple(float(x) for x in values), tokens, *more)


def _read(read: Read) -> list[Any]:
    match read:
        case Choices():
            return ["choices", *read.texts]
        case OwnTokens():
            return ["own"]
        case Reward():
            return ["reward"]
        case Decision():
            return ["decision", read.type, read.instructions, [[o.name, o.description] for o in read.options]]


def _written(answer: Completion) -> Answer:
    """An answer as it is kept: without thoughts, it is what it was before there was a place for them."""
    kept = [answer.text, answer.finish, answer.prompt_tokens, answer.completion_tokens]
    return kept if answer.reasoning is None else [*kept, answer.reasoning]


def _number(logprob: float) -> float | str:
    """JSON has neither NaN nor infinity: they are kept as their names."""
    return logprob if math.isfinite(logprob) else str(logprob)


def _prune(node: Node, wanted: set[int], positions: Iterator[int]) -> Node | None:
    """Return ``node`` with only those reads whose position is in ``wanted``, and no branch without one."""
    read = node.read if node.read is not None and next(positions) in wanted else None
    pruned = [_prune(child, wanted, positions) for child in node.children]
    children = tuple(child for child in pruned if child is not None)
    return Node(node.messages, read, children) if read is not None or children else None
