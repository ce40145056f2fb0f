"""Where rewards come from: a reward model or a rule, a judge under a constitution, or a server.

A sample whose reward can't be read has none, and the reason is told: it is never 0. A new source is one class here
with `grade`, and one line in `open_source`; what an engine gives is in `critic.rewarding`.
"""

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from itertools import groupby
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from base.backoff import BackOff
from base.errors import InputError
from base.together import together
from constitution import Constitution, load
from critic.calls.api_key import api_key, key_variable
from critic.calls.faults import Streak
from critic.calls.waiting import Notices
from critic.calls.wrappers import FIRST_WAIT, LONGEST_OUTAGE
from critic.engine import Engine, EngineDown, EngineError
from critic.engines import check_spec, expect, open_engine, parse_spec
from critic.judging import mode_of, offered
from critic.rewarding.comparing import ComparisonRewards
from critic.rewarding.grade import Grade, GradeSource
from critic.rewarding.sources import check_principles, of_one_group, rewards_of
from trainers.online.config import OnlineConfig
from trainers.online.writing.rollout import Sample

_AT_ONCE = 64
_TIMEOUT = 120.0  # seconds for an answer
AGAIN = BackOff(first=1.0, tries=3)  # what fails for the moment: each try may take as long as the time-out
ABSENT = BackOff(first=FIRST_WAIT, tries=5, within=LONGEST_OUTAGE)  # nobody is there: as long as engines wait
_PASSING = (408, 429)
SERVERS = ("http://", "https://")
_KEY_ENV = "key_env"  # as in the specs of engines

Decode = Callable[[Sequence[int]], str]


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


def check_sources(config: OnlineConfig) -> None:
    """Raise `InputError` for rewards that can't be given, as far as that can be told before anything is opened."""
    for spec, principles in _named(config):
        _check_source(spec, principles, config)


def expect_sources(config: OnlineConfig) -> None:
    """Raise `InputError` where what gives a reward is missing. A reward server is waited for, but not for its key."""
    for spec, principles in _named(config):
        if not spec.startswith(SERVERS):
            expect(parse_spec(spec))
        elif keyed := _check_server(spec, principles)[1]:
            api_key(keyed, "reward")


def _named(config: OnlineConfig) -> Iterator[tuple[str, str | None]]:
    """Yield the specs of what gives rewards, each with its principles."""
    yield config.reward, config.principles
    for more in config.more_rewards:
        yield str(more["reward"]), more.get("principles")
    if config.heldout_reward:
        yield config.heldout_reward, config.heldout_principles


@contextmanager
def _telling_of_groups(spec: str) -> Iterator[None]:
    """Say what can be done where values of several groups would have to be averaged: no setting names one here."""
    try:
        yield
    except InputError as error:
        if error.where != "group":
            raise
        raise InputError(
            error.problem,
            where=spec,
            fix="a policy learns from one group's values: name a constitution that holds only these, or a reward model "
            "with one head",
        ) from None


def _check_source(spec: str, principles: str | None, config: OnlineConfig) -> None:
    """See `open_source`, whose refusals these are."""
    if spec.startswith(SERVERS):
        _check_server(spec, principles)
        return
    parsed = parse_spec(spec)
    check_spec(parsed)
    expect(parsed, there=False)
    constitution = load(principles) if principles is not None else None
    compares = constitution is not None and config.judge_by == "comparison"
    if not compares:
        check_principles(spec, constitution, is_rewarding=parsed.gives == "rewards")
    if constitution is not None:
        mode_of(config.judge_mode if compares else "score", parsed)
        with _telling_of_groups(spec):
            of_one_group(constitution, None)


def _check_server(url: str, principles: str | None) -> tuple[str, dict[str, str]]:
    """Return the address of a reward server, and where its key is, if it has one. Raises `InputError`."""
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise InputError(
            "the address of the reward server holds a user name or a password, which would end up in logs and in the "
            "finished model's folder",
            where="reward",
            fix="put the key into an environment variable, and name that in the address: ?key_env=NAME",
        )
    if principles:
        raise InputError("a reward server reads no principles", where=url, fix="leave them out")
    query = parse_qsl(parts.query, keep_blank_values=True)
    named = [value for name, value in query if name == _KEY_ENV]
    if not named:
        return url, {}
    key_variable({_KEY_ENV: named[-1]}, "reward")
    others = [(name, value) for name, value in query if name != _KEY_ENV]
    return urlunsplit(parts._replace(query=urlencode(others))), {_KEY_ENV: named[-1]}


def open_source(spec: str, principles: str | None, decode: Decode, config: OnlineConfig | None = None) -> RewardSource:
    """Open what ``spec`` names: see `OnlineConfig.reward`; a judge scores unless ``config`` says otherwise.

    Raises `InputError`.
    """
    if spec.startswith(SERVERS):
        url, keyed = _check_server(spec, principles)
        return ServerReward(url, decode, api_key(keyed, "reward")[1] if keyed else "")
    parsed = parse_spec(spec)
    engine = open_engine(parsed)
    constitution = load(principles) if principles is not None else None
    if config is None or config.judge_by == "score" or constitution is None:
        with _telling_of_groups(spec):
            return EngineReward(engine, rewards_of(engine, constitution), constitution)
    mode = offered(mode_of(config.judge_mode, parsed), engine)
    asked = ComparisonRewards(engine, mode, of_one_group(constitution, None), config.opponents)
    return EngineReward(engine, asked, constitution)


def by_prompt(samples: Sequence[Sample], grades: Sequence[Grade]) -> dict[str, float]:
    """Return the rewards of ``samples``, one for each prompt, by its key. What has no reward is left out."""
    known = [(sample, grade.reward) for sample, grade in zip(samples, grades, strict=True) if grade.reward is not None]
    return {sample.task.ask.prompt.key: reward for sample, reward in known}


async def gained(source: RewardSource, samples: Sequence[Sample], first: Sequence[Sample]) -> list[Grade]:
    """Return what each sample's reward is above that of the ``first`` answer to its prompt, which it is compared with.

    So rewards within a group tell whether answers to held-out prompts have become better.
    """
    pairs = [each for both in zip(samples, first, strict=True) for each in both]
    grades = await source.grade(pairs)
    gains = []
    for now, before in zip(grades[::2], grades[1::2], strict=True):
        if now.reward is None or before.reward is None:
            gains.append(now if now.reward is None else before)
        else:
            gains.append(Grade.of(now.reward - before.reward))
    return gains


class SumReward:
    """Several rewards of each answer, weighted and added up. An answer needs all of them."""

    def __init__(self, sources: Sequence[RewardSource], weights: Sequence[float]) -> None:
        self._sources, self._weights = sources, weights
        self.identity = {
            f"{key} {number}": value for number, source in enumerate(sources) for key, value in source.identity.items()
        }
        self.identity["weights"] = " ".join(map(str, weights))

    async def grade(self, samples: Sequence[Sample]) -> list[Grade]:
        """See `RewardSource`."""
        by_source = await together(source.grade(samples) for source in self._sources)
        return [self._summed(grades) for grades in zip(*by_source, strict=True)]

    async def close(self) -> None:
        """Close all."""
        await together(source.close() for source in self._sources)

    def _summed(self, grades: Sequence[Grade]) -> Grade:
        parts = tuple(grade.reward for grade in grades if grade.reward is not None)
        if len(parts) < len(grades):
            return Grade(None, next(grade.problem for grade in grades if grade.reward is None))
        return Grade(sum(weight * part for weight, part in zip(self._weights, parts, strict=True)), parts=parts)


class EngineReward:
    """Asks an engine for one tree a prompt, so that its answers share the prompt: see `critic.rewarding`."""

    def __init__(self, engine: Engine, source: GradeSource, constitution: Constitution | None = None) -> None:
        self._engine, self.source, self._streak = engine, source, Streak()
        self.identity = {"name": engine.identity.name, "revision": engine.identity.revision}
        if constitution is not None:
            self.identity |= {"constitution": constitution.digest}
        if isinstance(source, ComparisonRewards):
            mode = f"{source.mode.name} {source.mode.model_dump_json()}"
            self.identity |= {"mode": mode, "opponents": str(source.opponents)}

    async def grade(self, samples: Sequence[Sample]) -> list[Grade]:
        """See `RewardSource`."""
        groups = [list(group) for _, group in groupby(samples, lambda sample: sample.task.ask)]
        by_group = await together(self._group(group) for group in groups)
        return [grade for grades in by_group for grade in grades]

    async def close(self) -> None:
        """Close the engine."""
        await self._engine.close()

    async def _group(self, samples: list[Sample]) -> list[Grade]:
        """Grade the samples of one prompt; where the engine can't answer for all together, each alone, if it can be."""
        if len(samples) == 1 or not self.source.alone:
            return await self._counted(samples)
        await self._streak.clear()
        try:
            grades = await self._read(samples)
        except EngineError:  # whose fault that is, each alone will tell
            return [grade for sample in samples for grade in await self._counted([sample])]
        self._streak.done()
        return grades

    async def _counted(self, samples: list[Sample]) -> list[Grade]:
        """Grade samples. Raises `EngineDown` where the engine fails one after the other in the same way."""
        try:
            return await self._streak.do(lambda: self._read(samples))
        except EngineError as error:
            return [Grade(None, str(error))] * len(samples)

    async def _read(self, samples: list[Sample]) -> list[Grade]:
        return await self.source.grades(samples[0].task.ask.prompt, [sample.text for sample in samples])


class ServerReward:
    """A reward server, as OpenRLHF's remote reward models speak.

    ``POST {"query": [whole texts], "prompts": [...]}`` gives ``{"rewards": [...]}``. Texts are the policy's tokens,
    decoded with their control tokens. What fails for the moment is asked again. A ``key`` is sent as a bearer's.
    """

    def __init__(self, url: str, decode: Decode, key: str = "") -> None:
        self._url, self._decode, self._key = url, decode, key
        self._streak, self._notices = Streak(), Notices()
        self.identity = {"name": url, "revision": ""}

    async def grade(self, samples: Sequence[Sample]) -> list[Grade]:
        """See `RewardSource`."""
        parts = [samples[i : i + _AT_ONCE] for i in range(0, len(samples), _AT_ONCE)]
        by_part = await together(self._part(part) for part in parts)
        return [grade for grades in by_part for grade in grades]

    async def close(self) -> None:
        """See `RewardSource`."""

    async def _part(self, samples: Sequence[Sample]) -> list[Grade]:
        try:
            with self._notices.waiting(f"{self._url} has not answered"):
                return await self._streak.do(lambda: self._asked(samples))
        except EngineError as error:
            return [Grade(None, str(error))] * len(samples)

    async def _asked(self, samples: Sequence[Sample]) -> list[Grade]:
        """Ask for some samples' rewards, a few times. Raises `EngineError` where there are none.

        Raises `EngineDown` where nobody is there: of a step whose half was asked for before, nothing is learnt then.
        """
        asked = [sample.task.ask.ids for sample in samples]
        query = [self._decode((*ids, *sample.ids)) for ids, sample in zip(asked, samples, strict=True)]
        body = json.dumps({"query": query, "prompts": [self._decode(ids) for ids in asked]}).encode()
        waits, absent = AGAIN.waits(), ABSENT.waits()
        while True:
            try:
                return _grades(await asyncio.to_thread(self._post, body), len(samples))
            except _Refused as error:
                raise EngineError(str(error)) from None
            except (OSError, HTTPException, ValueError) as error:  # no connection, a time-out, a 5xx, no JSON
                nobody = _is_absent(error)
                if (wait := next(absent if nobody else waits, None)) is None:
                    raise (EngineDown if nobody else EngineError)(
                        f"the reward server can't be read: {error}"
                    ) from error
            await asyncio.sleep(wait)

    def _post(self, body: bytes) -> Any:
        request = urllib.request.Request(self._url, body, {"Content-Type": "application/json"})
        if self._key:  # not to where the server may send the request on to
            request.add_unredirected_header("Authorization", f"Bearer {self._key}")
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                if 400 <= error.code < 500 and error.code not in _PASSING:
                    raise _Refused(f"the reward server refuses it: HTTP {error.code}") from None
                raise


def _is_absent(error: Exception) -> bool:
    """Whether there was no connection at all. A time-out may be the request's own fault."""
    is_answered = isinstance(error, urllib.error.HTTPError)
    return isinstance(error, urllib.error.URLError) and not is_answered and not isinstance(error.reason, TimeoutError)


class _Refused(Exception):
    """The server will give the same answer again."""


def _grades(answer: Any, count: int) -> list[Grade]:
    rewards = answer.get("rewards") if isinstance(answer, dict) else None
    if not isinstance(rewards, list) or len(rewards) != count:
        raise _Refused(f"the reward server's answer is not a list of {count} rewards")
    problems = answer.get("problems")
    if not isinstance(problems, list) or len(problems) != count:  # what this project's service tells beside rewards
        problems = [None] * count
    grades = []
    for reward, problem in zip(rewards, problems, strict=True):
        told = reward is None and isinstance(problem, str)
        grades.append(Grade(None, problem) if told else Grade.of(reward))
    return grades
