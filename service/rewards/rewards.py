"""Rewards of finished answers: a reward model's or a rule's, or a judge's under a constitution.

An answer whose reward can't be read has none, and a reason: it is never 0. No answer's reward depends on the others
that it is sent with.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from base.together import together
from constitution import Constitution, InputError, Principle
from critic import prompts
from critic.engine import Engine, EngineError, Node, Reward, Score, Unavailable
from critic.judging.modes.score import DIGITS, check_scores, graded
from critic.local.rewards import heads_of
from critic.records import Message, Prompt

# A prompt and what was answered: None where the policy thought and never came to an answer.
Answer = tuple[Prompt, str | None]


@dataclass(frozen=True, slots=True)
class Grade:
    """An answer's reward, or why it has none."""

    reward: float | None
    problem: str | None = None


class Source(Protocol):
    """Gives rewards to answers to one prompt."""

    async def grades(self, prompt: Prompt, texts: Sequence[str]) -> list[Grade]:
        """One for each text. Raises `EngineError` where none can be read."""
        ...


async def rewards(source: Source, answers: Sequence[Answer]) -> list[Grade]:
    """A grade for each answer, in order. Raises `EngineError` where not one of them has a reward."""
    by_prompt: dict[str, list[int]] = {}
    found: dict[int, Grade] = {}
    texts: dict[int, str] = {}
    for number, (prompt, text) in enumerate(answers):
        if text is None:
            found[number] = Grade(None, "it is all thoughts: there is no answer to reward")
        else:
            texts[number] = text
            by_prompt.setdefault(prompt.key, []).append(number)
    errors: list[EngineError] = []

    async def grade(numbers: list[int]) -> None:
        try:
            grades = await source.grades(answers[numbers[0]][0], [texts[number] for number in numbers])
        except Unavailable:
            raise  # the same request may be answered later
        except EngineError as error:
            if len(numbers) > 1:  # each alone: only those whose fault it is have no reward
                await together(grade([number]) for number in numbers)
                return
            errors.append(error)
            grades = [Grade(None, str(error))]
        found.update(zip(numbers, grades, strict=True))

    await together(grade(numbers) for numbers in by_prompt.values())
    grades = [found[number] for number in range(len(answers))]
    if all(grade.reward is None for grade in grades):
        raise errors[0] if errors else EngineError(grades[0].problem or "")
    return grades


def source_of(engine: Engine, constitution: Constitution | None, group: str | None) -> Source:
    """What gives ``engine``'s rewards. Raises `InputError` where it needs a constitution, or reads none."""
    heads = heads_of(engine.capabilities)
    if constitution is None:
        if not heads:
            raise InputError(
                f"{engine.identity.name} gives no rewards by itself",
                where="constitution",
                fix="name one that it judges under, or an engine that is a reward model or a rule",
            )
        return EngineRewards(engine, _index(heads, group))
    if heads:
        raise InputError(f"{engine.identity.name} reads no principles", where="constitution", fix="leave it out")
    check_scores(engine)
    return JudgeRewards(engine, _of_one_group(constitution, group))


def _index(heads: tuple[str, ...], group: str | None) -> int:
    if group is None and len(heads) == 1:
        return 0
    if group not in heads:
        raise InputError(f"the rewards are of {', '.join(heads)}", where="group", fix="name one of them")
    return heads.index(group)


def _of_one_group(constitution: Constitution, group: str | None) -> tuple[Principle, ...]:
    named = {principle.group.id if principle.group else None for principle in constitution.principles}
    if group is None and len(named) == 1:
        return constitution.principles
    if group not in named:
        groups = ", ".join(sorted(name for name in named if name is not None)) or "none"
        raise InputError(f"the groups of {constitution.ref} are {groups}", where="group", fix="name one of them")
    return tuple(p for p in constitution.principles if (p.group.id if p.group else None) == group)


@dataclass(frozen=True, slots=True)
class EngineRewards:
    """What a reward model or a rule reads off the end of the chat, from the head at ``index``."""

    engine: Engine
    index: int

    async def grades(self, prompt: Prompt, texts: Sequence[str]) -> list[Grade]:
        """See `Source`."""
        leaves = tuple(Node((Message(role="assistant", content=text),), Reward()) for text in texts)
        scores = await self.engine.score(Node(prompt.messages, children=leaves), "interactive")
        return [_grade(score.values[self.index]) for score in scores]


@dataclass(frozen=True, slots=True)
class JudgeRewards:
    """The mean of a judge's expected scores, 1 to 10, over the principles that apply, by weight: the mode ``score``.

    Priorities play no part: they decide between two answers, and here each stands alone.
    """

    engine: Engine
    principles: tuple[Principle, ...]

    async def grades(self, prompt: Prompt, texts: Sequence[str]) -> list[Grade]:
        """See `Source`."""
        principles = [principle for principle in self.principles if principle.applies(prompt.tags)]
        if not principles:
            raise InputError("no principle of it applies to a prompt without tags", where="constitution")
        return await together(self._one(prompt, text, principles) for text in texts)

    async def _one(self, prompt: Prompt, text: str, principles: Sequence[Principle]) -> Grade:
        mark = prompts.fence_mark(0, *(message.text for message in prompt.messages), text)
        asked = tuple(Node((prompts.score_part(principle),), DIGITS) for principle in principles)
        tree = Node(
            prompts.score_parts(prompt, mark), children=(Node((prompts.response_part(text, mark),), children=asked),)
        )
        return _weighted(await self.engine.score(tree, "interactive"), principles)


def _weighted(scores: Iterable[Score], principles: Sequence[Principle]) -> Grade:
    read = [graded(score) for score in scores]
    if unread := [p.id for p, score in zip(principles, read, strict=True) if score is None]:
        return Grade(None, f"the judge's score can't be read for {', '.join(unread)}")
    weights = [principle.weight for principle in principles]
    return _grade(math.fsum(s * w for s, w in zip(read, weights, strict=True) if s is not None) / math.fsum(weights))


def _grade(value: float) -> Grade:
    return Grade(value) if math.isfinite(value) else Grade(None, f"the reward is {value}, which is no number")
