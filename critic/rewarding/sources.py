"""Rewards of finished answers, each by itself: a reward model's or a rule's, or a judge's score under a constitution.

No answer's reward depends on the others that it is graded with: it is read off the same page, whoever its siblings
are. The answers to one prompt are asked for together, so that an engine reads the prompt once.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from base.errors import InputError
from base.together import together
from constitution import Constitution, Principle
from critic import prompts
from critic.engine import Engine, Lane, Node, Reward, Score
from critic.judging.modes.score import DIGITS, check_scores, graded
from critic.local.rewards import heads_of
from critic.records import Message, Prompt
from critic.rewarding.grade import Grade

NO_PRINCIPLE = "no principle applies to the prompt's tags"


@dataclass(frozen=True, slots=True)
class EngineRewards:
    """What a reward model or a rule reads off the end of the chat, from the head at ``index``."""

    alone: ClassVar[bool] = True
    engine: Engine
    index: int = 0

    async def grades(self, prompt: Prompt, texts: Sequence[str], lane: Lane = "batch") -> list[Grade]:
        """See `GradeSource`."""
        leaves = tuple(Node((Message(role="assistant", content=text),), Reward()) for text in texts)
        scores = await self.engine.score(Node(prompt.messages, children=leaves), lane)
        return [Grade.of(score.values[self.index]) for score in scores]


@dataclass(frozen=True, slots=True)
class JudgeRewards:
    """The mean of a judge's expected scores, 1 to 10, over the principles that apply, by weight: the mode ``score``.

    An answer has a reward only if each of its principles could be read. Priorities play no part: they decide between
    two answers, and here each stands alone.
    """

    alone: ClassVar[bool] = True
    engine: Engine
    principles: tuple[Principle, ...]

    async def grades(self, prompt: Prompt, texts: Sequence[str], lane: Lane = "batch") -> list[Grade]:
        """See `GradeSource`."""
        principles = [principle for principle in self.principles if principle.applies(prompt.tags)]
        if not principles:
            return [Grade(None, NO_PRINCIPLE)] * len(texts)
        by_mark: dict[str, list[int]] = {}
        for number, text in enumerate(texts):
            by_mark.setdefault(_mark(prompt, text), []).append(number)

        async def page(mark: str, numbers: list[int]) -> list[Grade]:
            return await self._page(prompt, [texts[number] for number in numbers], principles, mark, lane)

        read = await together(page(mark, numbers) for mark, numbers in by_mark.items())
        places = [number for numbers in by_mark.values() for number in numbers]
        grades = dict(zip(places, (grade for part in read for grade in part), strict=True))
        return [grades[number] for number in range(len(texts))]

    async def _page(
        self, prompt: Prompt, texts: Sequence[str], principles: Sequence[Principle], mark: str, lane: Lane
    ) -> list[Grade]:
        """Grade answers whose pages have the same ``mark``: they share the prompt."""
        asked = tuple(Node((prompts.score_part(principle),), DIGITS) for principle in principles)
        shown = tuple(Node((prompts.response_part(text, mark),), children=asked) for text in texts)
        scores = await self.engine.score(Node(prompts.score_parts(prompt, mark), children=shown), lane)
        count = len(principles)
        return [_weighted(scores[i * count : (i + 1) * count], principles) for i in range(len(texts))]


def rewards_of(
    engine: Engine, constitution: Constitution | None, group: str | None = None
) -> EngineRewards | JudgeRewards:
    """Return what gives ``engine``'s rewards. Raises `InputError` where it needs a constitution, or reads none."""
    heads = heads_of(engine.capabilities)
    check_principles(engine.identity.name, constitution, is_rewarding=bool(heads))
    if constitution is None:
        return EngineRewards(engine, _index(heads, group))
    check_scores(engine)
    return JudgeRewards(engine, of_one_group(constitution, group))


def check_principles(name: str, constitution: Constitution | None, *, is_rewarding: bool) -> None:
    """Raise `InputError` where an engine needs a constitution to judge under, and where it gives rewards without."""
    if constitution is None and not is_rewarding:
        raise InputError(
            f"{name} gives no rewards by itself",
            where="constitution",
            fix="name one that it judges under, or an engine that is a reward model or a rule",
        )
    if constitution is not None and is_rewarding:
        raise InputError(f"{name} reads no principles", where="constitution", fix="leave it out")


def of_one_group(constitution: Constitution, group: str | None) -> tuple[Principle, ...]:
    """Return the principles of ``group``, or all where there is one group. Raises `InputError` where that is open."""
    named = {principle.group.id if principle.group else None for principle in constitution.principles}
    if group is None and len(named) == 1:
        return constitution.principles
    if group not in named:
        groups = ", ".join(sorted(name for name in named if name is not None)) or "none"
        raise InputError(
            f"the groups of {constitution.ref} are {groups}, whose values are not averaged",
            where="group",
            fix="name one of them",
        )
    return tuple(p for p in constitution.principles if (p.group.id if p.group else None) == group)


def check_untagged(principles: Sequence[Principle]) -> None:
    """Raise `InputError` where none of ``principles`` applies to prompts that have no tags."""
    if not any(principle.applies(()) for principle in principles):
        raise InputError("no principle of it applies to a prompt without tags", where="constitution")


def _index(heads: tuple[str, ...], group: str | None) -> int:
    if group is None and len(heads) == 1:
        return 0
    if group not in heads:
        raise InputError(f"the rewards are of {', '.join(heads)}", where="group", fix="name one of them")
    return heads.index(group)


def _mark(prompt: Prompt, text: str) -> str:
    """Return the fence mark of an answer's page: fixed by the prompt, unless the answer holds it."""
    return prompts.fence_mark(0, *(message.text for message in prompt.messages), avoiding=(text,))


def _weighted(scores: Iterable[Score], principles: Sequence[Principle]) -> Grade:
    read = [graded(score) for score in scores]
    if unread := [p.id for p, score in zip(principles, read, strict=True) if score is None]:
        return Grade(None, f"the judge's score can't be read for {', '.join(unread)}")
    weights = [principle.weight for principle in principles]
    products = (score * weight for score, weight in zip(read, weights, strict=True) if score is not None)
    return Grade.of(math.fsum(products) / math.fsum(weights))
