"""A fake engine in virtual time, which notes when it is asked; and the shortest requests to ask it."""

from collections import deque
from typing import Any

from critic.engine import (
    Choices,
    Completion,
    Engine,
    Lane,
    Node,
    Request,
    Sampling,
    Score,
    reads,
)
from critic.records import Message
from tests.critic.engines.virtual_time import VirtualTime
from tests.factories import FakeEngine


class Server(FakeEngine):
    """Notes what it is asked and when, takes its time, and fails with the errors given, in their order."""

    whole_trees = False

    def __init__(self, time: VirtualTime, *errors: Exception | None, seconds: float = 0.0, used: int = 0) -> None:
        super().__init__()
        self.asked: list[tuple[float, str]] = []
        self._time, self._errors, self._seconds, self._used = time, deque(errors), seconds, used

    @property
    def times(self) -> list[float]:
        return [round(when, 6) for when, _ in self.asked]

    async def complete(self, request: Request, lane: Lane = "batch") -> Completion:
        await self._answer(request.messages[-1].content)
        return Completion("done", "stop")

    async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
        wanted = []
        for path, _, _ in reads(tree):
            wanted.append("".join(m.content for m in path))
        await self._answer(" ".join(wanted))
        return tuple(Score((-float(len(text)),), 0) for text in wanted)

    async def _answer(self, text: str) -> None:
        self.asked.append((self._time.clock(), text))
        error = self._errors.popleft() if self._errors else None
        if self._seconds:
            await self._time.sleep(self._seconds)
        if error is not None:
            raise error
        self.usage.prompt_tokens += self._used


def user(text: str) -> Message:
    return Message(role="user", content=text)


def request(text: str = "x", max_tokens: int = 1) -> Request:
    return Request((user(text),), Sampling(max_tokens), 0)


def tree(*texts: str) -> Node:
    leaves = tuple(Node((user(text),), Choices(("A",))) for text in texts)
    return Node((user("root "),), children=leaves)


async def one(time: VirtualTime, engine: Engine) -> Any:
    [result] = await time.run(engine.complete(request()))
    return result
