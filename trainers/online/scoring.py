"""Where rewards come from: a reward model or a rule, a judge under a constitution, or a server.

A sample whose reward can't be read has none, and the reason is told: it is never 0. A new source is one class here
with `grade`, and one line in `open_source`.
"""

import asyncio
import json
import math
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from itertools import groupby
from typing import Any, Protocol

from base.errors import InputError
from base.together import together
from constitution import Constitution, load
from critic import prompts
from critic.calls.faults import Streak
from critic.calls.waiting import Notices
from critic.engine import Engine, EngineError, Node, Reward
from critic.engines import open_engine, parse_spec
from critic.judging.modes.score import DIGITS, check_scores, graded
from critic.local.rewards import heads_of
from critic.records import Message
from trainers.online.rollout import Sample

_AT_ONCE = 64
_TIMEOUT, _FIRST_WAIT, _ATTEMPTS = 120.0, 1.0, 4
"""Seconds, and how often a reward server is asked."""
_PASSING = (408, 429)

Decode = Callable[[Sequence[int]], str]


@dataclass(frozen=True, slots=True)
class Grade:
    """A sample's reward, or why it has none."""

    reward: float | None
    problem: str = ""

    @classmethod
    def of(cls, value: object) -> "Grade":
        """Take ``value`` for a reward if it is a finite number."""
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return cls(float(value))
        return cls(None, f"the reward is {value!r}, which is no number")


class RewardSource(Protocol):
    """Gives rewards. ``identity`` is what they depend on, as plain JSON."""

    @property
    def identity(self) -> dict[str, str]:
        """See the class."""
        ...

    async def grade(self, samples: Sequence[Sample]) -> list[Grade]:
        """Return a grade for each sample, in order. Raises `RunStopped` where none can be given any more."""
        ...

    async def close(self) -> None:
        """Free what it holds."""
        ...


def open_source(spec: str, principles: str | None, decode: Decode) -> RewardSource:
    """Open what ``spec`` names: see `trainers.online.config.PPOConfig.reward`. Raises `InputError`."""
    if spec.startswith(("http://", "https://")):
        if principles:
            raise InputError("a reward server reads no principles", where=spec, fix="leave them out")
        return ServerReward(spec, decode)
    engine = open_engine(parse_spec(spec))
    return EngineReward(engine) if principles is None else JudgeReward(engine, load(principles))


class _OfEngine:
    """Asks an engine for one tree a prompt, so that its answers share the prompt."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._streak = engine, Streak()
        self.identity = {"name": engine.identity.name, "revision": engine.identity.revision}

    async def grade(self, samples: Sequence[Sample]) -> list[Grade]:
        """See `RewardSource`."""
        groups = [list(group) for _, group in groupby(samples, lambda sample: sample.task.ask)]
        return [grade for grades in await together(self._group(group) for group in groups) for grade in grades]

    async def close(self) -> None:
        """Close the engine."""
        await self._engine.close()

    async def _group(self, samples: list[Sample]) -> list[Grade]:
        """Grade the samples of one prompt; where the engine can't answer for all together, each alone."""
        if len(samples) == 1:
            return [await self._alone(samples[0])]
        await self._streak.clear()
        try:
            grades = await self._read(samples)
        except EngineError:  # whose fault that is, each alone will tell
            return [await self._alone(sample) for sample in samples]
        self._streak.done()
        return grades

    async def _alone(self, sample: Sample) -> Grade:
        """Grade one sample. Raises `EngineDown` where the engine fails one after the other in the same way."""
        try:
            [grade] = await self._streak.do(lambda: self._read([sample]))
        except EngineError as error:
            return Grade(None, str(error))
        return grade

    async def _read(self, samples: list[Sample]) -> list[Grade]:
        raise NotImplementedError  # each source has its own


class EngineReward(_OfEngine):
    """The reward that an engine reads off the end of the chat: a reward model's or a rule's."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        heads = heads_of(engine.capabilities)
        if len(heads) != 1:
            raise InputError(
                f"it has the heads {', '.join(heads)}" if heads else "it gives no rewards",
                where=engine.identity.name,
                fix="expected one reward: a reward model with one head, a rule, or a judge with principles",
            )

    async def _read(self, samples: list[Sample]) -> list[Grade]:
        leaves = tuple(Node((Message(role="assistant", content=s.text),), Reward()) for s in samples)
        scores = await self._engine.score(Node(samples[0].task.ask.prompt.messages, children=leaves))
        return [Grade.of(score.values[0]) for score in scores]


class JudgeReward(_OfEngine):
    """The mean of a judge's expected scores, 1 to 10, over the principles that apply, by weight: the mode ``score``.

    A sample has a reward only if each of its principles could be read. Priorities play no part: they decide between two
    answers, and here each stands alone.
    """

    def __init__(self, engine: Engine, constitution: Constitution) -> None:
        super().__init__(engine)
        check_scores(engine)
        self.identity |= {"constitution": constitution.digest}
        self._principles = constitution.principles
        groups = {principle.group.id if principle.group else None for principle in self._principles}
        if len(groups) > 1:
            raise InputError(
                f"the constitution speaks for {len(groups)} groups, whose scores are not averaged",
                where=constitution.ref,
                fix="give one with the principles of one group",
            )

    async def _read(self, samples: list[Sample]) -> list[Grade]:
        prompt = samples[0].task.ask.prompt
        principles = [p for p in self._principles if p.applies(prompt.tags)]
        if not principles:
            return [Grade(None, "no principle applies to the prompt's tags")] * len(samples)
        texts = [sample.text for sample in samples]
        mark = prompts.fence_mark(0, *(message.text for message in prompt.messages), *sorted(texts))
        asked = tuple(Node((prompts.score_part(p),), DIGITS) for p in principles)
        shown = tuple(Node((prompts.response_part(text, mark),), children=asked) for text in texts)
        read = iter(await self._engine.score(Node(prompts.score_parts(prompt, mark), children=shown)))
        grades = []
        for _ in samples:
            scores = [(graded(next(read)), p.weight) for p in principles]
            good = [(score, weight) for score, weight in scores if score is not None]
            mean = sum(score * weight for score, weight in good) / sum(weight for _, weight in good) if good else None
            whole = len(good) == len(scores)
            grades.append(Grade(mean) if whole else Grade(None, "the judge's score can't be read"))
        return grades


class ServerReward:
    """A reward server, as OpenRLHF's remote reward models speak.

    ``POST {"query": [whole texts], "prompts": [...]}`` gives ``{"rewards": [...]}``. Texts are the policy's tokens,
    decoded with their control tokens. What fails for the moment is asked again.
    """

    def __init__(self, url: str, decode: Decode) -> None:
        self._url, self._decode = url, decode
        self._streak, self._notices = Streak(), Notices()
        self.identity = {"name": url, "revision": ""}

    async def grade(self, samples: Sequence[Sample]) -> list[Grade]:
        """See `RewardSource`."""
        parts = [samples[i : i + _AT_ONCE] for i in range(0, len(samples), _AT_ONCE)]
        return [grade for grades in await together(self._part(part) for part in parts) for grade in grades]

    async def close(self) -> None:
        """See `RewardSource`."""

    async def _part(self, samples: Sequence[Sample]) -> list[Grade]:
        try:
            with self._notices.waiting(f"{self._url} has not answered"):
                return await self._streak.do(lambda: self._asked(samples))
        except EngineError as error:
            return [Grade(None, str(error))] * len(samples)

    async def _asked(self, samples: Sequence[Sample]) -> list[Grade]:
        """Ask for some samples' rewards, a few times. Raises `EngineError` where there are none."""
        asked = [sample.task.ask.ids for sample in samples]
        query = [self._decode((*ids, *sample.ids)) for ids, sample in zip(asked, samples, strict=True)]
        body = json.dumps({"query": query, "prompts": [self._decode(ids) for ids in asked]}).encode()
        problem = ""
        for attempt in range(_ATTEMPTS):
            try:
                return _grades(await asyncio.to_thread(self._post, body), len(samples))
            except _Refused as error:
                raise EngineError(str(error)) from None
            except (OSError, HTTPException, ValueError) as error:  # no connection, a time-out, a 5xx, no JSON
                problem = f"the reward server can't be read: {error}"
            if attempt + 1 < _ATTEMPTS:
                await asyncio.sleep(_FIRST_WAIT * 2**attempt)
        raise EngineError(problem)

    def _post(self, body: bytes) -> Any:
        request = urllib.request.Request(self._url, body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                if 400 <= error.code < 500 and error.code not in _PASSING:
                    raise _Refused(f"the reward server refuses it: HTTP {error.code}") from None
                raise


class _Refused(Exception):
    """The server will give the same answer again."""


def _grades(answer: Any, count: int) -> list[Grade]:
    rewards = answer.get("rewards") if isinstance(answer, dict) else None
    if not isinstance(rewards, list) or len(rewards) != count:
        raise _Refused(f"the reward server's answer is not a list of {count} rewards")
    return [Grade.of(reward) for reward in rewards]
