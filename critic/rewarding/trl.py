"""A judge's, a reward model's or a rule's rewards as a reward function of TRL's GRPOTrainer and RLOOTrainer.

    from critic.rewarding.trl import reward_function

    GRPOTrainer(..., reward_funcs=reward_function("openai:my-judge@http://127.0.0.1:8000/v1", "helpfulness@1.0.0"))

TRL hands over a whole batch, awaits it, and takes None for an answer that has no reward: it is left out there. Beside
other reward functions it adds up those that there are, as if the missing one were 0.

It can be pickled, as trainers do that reward in another process. ``close()`` frees its engine.

A judge reads what a policy says, and not what it thought or which tools it called.
"""

import asyncio
import logging
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from base.errors import InputError
from base.together import together
from constitution import Constitution, load
from critic.chats import reasoning
from critic.engine import Engine, EngineError
from critic.engines import check_spec, open_engine, parse_spec
from critic.files.turns import plain_turns
from critic.judging import mode_of, offered
from critic.messages import join_parts
from critic.records import Message, Prompt
from critic.rewarding.comparing import ComparisonRewards
from critic.rewarding.grade import Grade, GradeSource
from critic.rewarding.sources import check_principles, check_untagged, of_one_group, rewards_of
from critic.rows import RowError

Turns = str | Sequence[Mapping[str, Any]]
NO_ANSWER = "it holds no answer: thoughts alone, or calls of tools"
_NO_TURNS = "it is no text, and no list of turns"
_JUDGED_BY = ("score", "comparison")

log = logging.getLogger("cai.rewards")


def reward_function(
    engine: str,
    principles: str | None = None,
    *,
    judge_by: Literal["score", "comparison"] = "score",
    judge_mode: str | None = None,
    opponents: int = 2,
    group: str | None = None,
) -> "RewardFunction":
    """Return a function for TRL's ``reward_funcs``.

    ``engine`` is a spec: ``rm:PATH``, ``verify:RULE``, or with ``principles`` (a constitution's name or file) a judge.
    It ``judge_by`` scoring each answer, or by comparing those to one prompt: equal prompts of a batch are one group,
    as TRL makes it. Raises `InputError` at once for what can't be; the engine is opened at the first batch.
    """
    return RewardFunction(RewardSettings(engine, principles, judge_by, judge_mode, opponents, group))


@dataclass(frozen=True, slots=True)
class RewardSettings:
    """What `reward_function` is given."""

    engine: str
    principles: str | None
    judge_by: str
    judge_mode: str | None
    opponents: int
    group: str | None

    def check(self) -> None:
        """Raise `InputError` for what can't be, as far as that can be told before the engine is opened."""
        if self.judge_by not in _JUDGED_BY:
            raise InputError(f"judge_by is {self.judge_by!r}", where="judge_by", fix=f"expected one of {_JUDGED_BY}")
        if self.opponents < 1:
            raise InputError(f"opponents is {self.opponents}", where="opponents", fix="expected 1 or more")
        compares = self.judge_by == "comparison"
        if compares and self.principles is None:
            raise InputError("a judge compares under principles", where="judge_by", fix="give principles as well")
        if self.judge_mode is not None and not compares:
            raise InputError(
                "judge_mode is of comparisons, and judge_by is score", where="judge_mode", fix="give judge_by as well"
            )
        spec = parse_spec(self.engine)
        check_spec(spec)
        constitution = self._constitution()
        if not compares:
            check_principles(self.engine, constitution, is_rewarding=spec.gives == "rewards")
        if constitution is not None:
            mode_of(self.judge_mode if compares else "score", spec)
            check_untagged(of_one_group(constitution, self.group))

    def open(self) -> tuple[Engine, GradeSource]:
        """Open the engine, and return it with what gives its rewards."""
        spec, constitution = parse_spec(self.engine), self._constitution()
        judge = open_engine(spec)
        if self.judge_by == "score" or constitution is None:
            return judge, rewards_of(judge, constitution, self.group)
        mode = offered(mode_of(self.judge_mode, spec), judge)
        return judge, ComparisonRewards(judge, mode, of_one_group(constitution, self.group), self.opponents)

    def _constitution(self) -> Constitution | None:
        return load(self.principles) if self.principles is not None else None


class RewardFunction:
    """What `reward_function` returns. It can be pickled: the copy in another process opens an engine of its own.

    The engine lives on an event loop of its own, in a thread, so that the function can be awaited on any loop, and on
    one after the other: in a notebook first, and then by a trainer. `close` frees both; they end with the process, too.

    It raises what stops all: `RunStopped`, and `InputError` for what a person has to mend. Why an answer has no reward
    is told by the logger ``cai.rewards``.
    """

    def __init__(self, settings: RewardSettings) -> None:
        settings.check()
        self._settings = settings
        self._lock = threading.Lock()
        self._runner: _Runner | None = None
        self.__name__ = f"{parse_spec(settings.engine).kind}_{settings.judge_by}"

    def __reduce__(self) -> tuple[type["RewardFunction"], tuple[RewardSettings]]:
        return RewardFunction, (self._settings,)

    async def __call__(
        self, prompts: Sequence[Turns], completions: Sequence[Turns], **columns: object
    ) -> list[float | None]:
        """Return a reward for each completion, in order; None where it has none."""
        grades = await asyncio.wrap_future(self._running().submit(prompts, completions))
        problems = [grade.problem for grade in grades if grade.reward is None]
        if problems:
            log.warning("%d of %d answers have no reward; the first: %s", len(problems), len(grades), problems[0])
        return [grade.reward for grade in grades]

    def close(self) -> None:
        """Free the engine. The next call opens it again."""
        with self._lock:
            runner, self._runner = self._runner, None
        if runner is not None:
            runner.close()

    def _running(self) -> "_Runner":
        with self._lock:
            if self._runner is None or self._runner.process != os.getpid():  # a forked process has no threads
                self._runner = _Runner(self._settings)
            return self._runner


class _Runner:
    """An event loop in a thread, with the engine that is opened on it."""

    def __init__(self, settings: RewardSettings) -> None:
        self._settings, self.process = settings, os.getpid()
        self._opened: tuple[Engine, GradeSource] | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="cai-rewards", daemon=True)
        self._thread.start()

    def submit(self, prompts: Sequence[Turns], completions: Sequence[Turns]) -> "Future[list[Grade]]":
        async def graded() -> list[Grade]:
            if self._opened is None:
                self._opened = self._settings.open()
            return await grades_of(self._opened[1], prompts, completions)

        return asyncio.run_coroutine_threadsafe(graded(), self._loop)

    def close(self) -> None:
        async def closed() -> None:
            if self._opened is not None:
                await self._opened[0].close()

        asyncio.run_coroutine_threadsafe(closed(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def grades_of(source: GradeSource, prompts: Sequence[Turns], completions: Sequence[Turns]) -> list[Grade]:
    """Return a grade for each completion, in order; where an engine fails, why."""
    if len(prompts) != len(completions):
        told = f"there are {len(prompts)} prompts and {len(completions)} completions"
        raise InputError(told, where="completions", fix="give one prompt for each completion")
    asked = [_prompt(prompt, f"prompts[{number}]") for number, prompt in enumerate(prompts)]
    by_number: dict[int, Grade] = {}
    texts: dict[int, str] = {}
    groups: dict[str, list[int]] = {}
    for number, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
        text = _text(completion, prompt)
        if isinstance(text, Grade):
            by_number[number] = text
        else:
            texts[number] = text
            groups.setdefault(asked[number].key, []).append(number)

    async def grade(numbers: Sequence[int]) -> None:
        try:
            grades = await source.grades(asked[numbers[0]], [texts[number] for number in numbers])
        except EngineError as error:
            if len(numbers) > 1 and source.alone:  # only those whose fault it is have no reward
                await together(grade([number]) for number in numbers)
                return
            grades = [Grade(None, str(error))] * len(numbers)
        by_number.update(zip(numbers, grades, strict=True))

    await together(grade(numbers) for numbers in groups.values())
    return [by_number[number] for number in range(len(asked))]


def _prompt(given: Turns, where: str) -> Prompt:
    """Return a prompt. Raises `InputError` for one that is no chat of texts."""
    turns: Any = [{"role": "user", "content": given}] if isinstance(given, str) else given
    problem = _NO_TURNS
    if _are_turns(turns):
        try:
            return Prompt(messages=tuple(map(Message.model_validate, plain_turns(turns))))
        except ValidationError as error:
            problem = error.errors()[0]["msg"].removeprefix("Value error, ")
        except (RowError, ValueError) as error:
            problem = " ".join(str(error).split())
    raise InputError(f"this prompt can't be read: {problem}", where=where, fix="give a text, or turns")


def _are_turns(given: object) -> bool:
    return isinstance(given, Sequence) and all(isinstance(turn, Mapping) for turn in given)


def _text(completion: Turns, prompt: Turns) -> str | Grade:
    """Return what the assistant says in an answer, or why it says nothing that can be read."""
    if not isinstance(completion, str) and not _are_turns(completion):
        return Grade(None, _NO_TURNS)
    try:
        parts = [completion] if isinstance(completion, str) else list(_said(completion))
    except (RowError, ValueError) as error:
        return Grade(None, " ".join(str(error).split()))
    opened = isinstance(prompt, str) and reasoning.opens(prompt)
    answers = []
    for part in parts:
        answer, thoughts = reasoning.split(part, opened=opened)
        if thoughts is None or answer.strip():
            answers.append(answer)
    return "\n".join(answers) if answers else Grade(None, NO_ANSWER)


def _said(turns: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the assistant's texts. Raises `RowError` or `ValueError` for contents that are no texts."""
    for turn in plain_turns(turns):
        if turn.get("role", "assistant") == "assistant" and turn.get("content") is not None:
            yield str(join_parts(turn["content"]))
