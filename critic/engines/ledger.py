"""The ledger's side of an engine: an answer that was committed is never asked for again.

A call is one completion, or one read of a score tree: so editing one principle of sixteen asks again for that
principle's reads only. An engine that gains nothing from whole trees is asked read by read, and each answer is
committed as it comes, so that one that fails costs no other. A call's key covers model, tokens, sampling and seed, and
not the constitution's hash: what the model is shown is what counts.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from constitution.digest import digest
from critic.engines.base import (
    BudgetExceeded,
    Choices,
    Completion,
    Engine,
    EngineError,
    Identity,
    Lane,
    Node,
    OwnTokens,
    Read,
    Request,
    Reward,
    RunStopped,
    Score,
    Usage,
)
from critic.together import together

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

    async def commit(self, key: str, answer: Answer) -> None:
        """Store an answer for good: when this returns, it survives the process."""
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


@dataclass(slots=True)
class Budget:
    """A hard limit on calls, shared by all engines of a run. ``spent`` counts those of earlier starts too."""

    limit: int | None = None
    spent: int = 0

    def spend(self, calls: int) -> None:
        """Count ``calls`` before they are made; raise `BudgetExceeded` where they would pass the limit."""
        if self.limit is not None and self.spent + calls > self.limit:
            raise BudgetExceeded(f"the limit of {self.limit} calls is reached ({self.spent} made)")
        self.spent += calls


class RecordedEngine:
    """An engine whose answers go through a ledger, and whose calls count against a budget."""

    def __init__(self, engine: Engine, ledger: Ledger, budget: Budget) -> None:
        self._engine, self._ledger, self._budget = engine, ledger, budget
        self._base = digest(["engine", asdict(engine.identity)])

    @property
    def identity(self) -> Identity:
        """The wrapped engine's."""
        return self._engine.identity

    @property
    def capabilities(self) -> Mapping[str, str]:
        """The wrapped engine's."""
        return self._engine.capabilities

    @property
    def whole_trees(self) -> bool:
        """The wrapped engine's."""
        return self._engine.whole_trees

    @property
    def usage(self) -> Usage:
        """The wrapped engine's: calls that were really made."""
        return self._engine.usage

    async def complete(self, request: Request, lane: Lane = "batch") -> Completion:
        """Return the committed answer, or make the call and commit it."""
        how = [asdict(request.sampling), request.seed, request.json_schema]
        key = digest(["complete", self._base, _chat(request.messages), *how])

        async def call(_: list[str]) -> list[Answer]:
            answer = await self._engine.complete(request, lane)
            return [[answer.text, answer.finish, answer.prompt_tokens, answer.completion_tokens]]

        [answer] = await self._answers([key], call)
        return Completion(*answer)

    async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
        """Read what is committed, and ask the engine for one smaller tree with the rest, or for each read alone."""
        keys = list(self._read_keys(tree, self._base))

        async def call(mine: list[str]) -> list[Answer]:
            # `mine` is in the order of the tree, each key once, so the pruned tree's scores come in its order.
            positions = [keys.index(key) for key in mine]
            pruned = _prune(tree, set(positions), iter(range(len(keys))))
            scores = await self._engine.score(pruned, lane) if pruned is not None else ()
            return [[[_number(x) for x in score.values], score.tokens] for score in scores]

        if self.whole_trees:
            answers = await self._answers(keys, call)
        else:
            answers = [answer for [answer] in await together(self._answers([key], call) for key in keys)]
        return tuple(Score(tuple(float(x) for x in a[0]), a[1]) for a in answers)

    async def close(self) -> None:
        """Close the wrapped engine."""
        await self._engine.close()

    async def _answers(self, keys: list[str], call: Callable[[list[str]], Awaitable[list[Answer]]]) -> list[Answer]:
        """Return one answer a key: from the ledger, from whoever is asking already, or from ``call(the rest)``."""
        found: dict[str, Answer] = {}
        while missing := [key for key in dict.fromkeys(keys) if key not in found]:
            missing = [key for key in missing if not self._take(key, found)]
            mine = [key for key in missing if self._ledger.claim(key)]
            if mine:
                found.update(await self._make(mine, call))
            elif missing:
                await self._ledger.settled(missing[0])
        return [found[key] for key in keys]

    def _take(self, key: str, found: dict[str, Answer]) -> bool:
        answer = self._ledger.get(key)
        if answer is not None:
            found[key] = answer
        return answer is not None

    async def _make(
        self, keys: list[str], call: Callable[[list[str]], Awaitable[list[Answer]]]
    ) -> Iterable[tuple[str, Answer]]:
        try:
            self._budget.spend(len(keys))
            try:
                answers = await call(keys)
            except (EngineError, RunStopped, asyncio.CancelledError):
                raise
            except Exception as error:  # the boundary: whatever an engine raises costs one row, not the run
                raise EngineError(f"{type(error).__name__}: {error}") from error
            pairs = list(zip(keys, answers, strict=True))
            await asyncio.gather(*(self._ledger.commit(key, answer) for key, answer in pairs))
            return pairs
        except BaseException:  # a cancelled call, too, gives its claims back
            for key in keys:
                self._ledger.release(key)
            raise

    def _read_keys(self, node: Node, above: str) -> Iterator[str]:
        here = digest([above, _chat(node.messages)])
        if node.read is not None:
            yield digest(["score", here, _read(node.read)])
        for child in node.children:
            yield from self._read_keys(child, here)


def _chat(messages: Iterable[Any]) -> list[list[str]]:
    return [[message.role, message.content] for message in messages]


def _read(read: Read) -> list[str]:
    match read:
        case Choices():
            return ["choices", *read.texts]
        case OwnTokens():
            return ["own"]
        case Reward():
            return ["reward"]


def _number(logprob: float) -> float | str:
    """JSON has neither NaN nor infinity: they are kept as their names."""
    return logprob if math.isfinite(logprob) else str(logprob)


def _prune(node: Node, wanted: set[int], positions: Iterator[int]) -> Node | None:
    """Return ``node`` with only those reads whose position is in ``wanted``, and no branch without one."""
    read = node.read if node.read is not None and next(positions) in wanted else None
    children = tuple(c for c in (_prune(child, wanted, positions) for child in node.children) if c is not None)
    return Node(node.messages, read, children) if read is not None or children else None
