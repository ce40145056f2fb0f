"""Policies against each other: every two answers of the same sample, compared by a judge in both orders."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from base.together import together
from constitution import Constitution
from critic.calls.faults import Streak
from critic.engine import EngineError
from critic.evaluation.policy.answers import Texts
from critic.judging.aggregate import aggregate
from critic.judging.base import Question
from critic.judging.jury import Jury
from critic.pipeline import principles_by_group
from critic.records import Prompt
from critic.settings.judging import Pooling

IN_FLIGHT = 64


@dataclass(frozen=True, slots=True)
class Match:
    """Policies ``one`` and ``other`` on a prompt, by their places, for one group of principles.

    ``win`` is 1 where the second is preferred, 0 where the first is, a half for a tie; None where it can't be read.
    ``longer`` is the second's length minus the first's, in characters. ``equal``: they said the same, nobody was asked.
    """

    prompt: int
    one: int
    other: int
    sample: int
    group: str | None
    win: float | None
    longer: int
    equal: bool = False


def count(texts: Sequence[Sequence[Texts]]) -> int:
    """How many comparisons there are, before groups: ``texts`` is by policy, then by prompt."""
    return sum(1 for _ in _places(texts))


async def play(
    jury: Jury,
    constitution: Constitution,
    prompts: Sequence[Prompt],
    texts: Sequence[Sequence[Texts]],
    pooling: Pooling,
    on_done: Callable[[], None] = lambda: None,
) -> list[Match]:
    """Compare every two policies' answers. Raises `RunStopped` where a judge is gone, or fails every question alike."""
    slots, streak = asyncio.Semaphore(IN_FLIGHT), Streak()

    async def one(place: tuple[int, int, int, int]) -> list[Match]:
        prompt, first, second, sample = place
        before, after = texts[first][prompt][sample], texts[second][prompt][sample]
        assert before is not None and after is not None
        made = []
        for group, principles in principles_by_group(constitution, prompts[prompt]).items():
            equal = before == after
            win: float | None = 0.5 if equal else None
            if not equal and principles:
                question = Question(prompts[prompt], before, after, tuple(principles), seed=0, group=group)
                win = await asked(question)
            longer = len(after) - len(before)
            made.append(Match(prompt, first, second, sample, group, win, longer, equal))
        on_done()
        return made

    async def asked(question: Question) -> float | None:
        async with slots:
            try:
                votes = await streak.do(lambda: jury.votes(question))
            except EngineError:  # counted as unread
                return None
        verdict = aggregate(votes, question.principles, pooling)
        if verdict.probability is None:
            return None
        return 0.5 if verdict.outcome == "tie" else float(verdict.probability < 0.5)

    by_place = await together(one(place) for place in _places(texts))
    return [match for matches in by_place for match in matches]


def _places(texts: Sequence[Sequence[Texts]]) -> Iterator[tuple[int, int, int, int]]:
    """(prompt, one, other, sample) where both answered."""
    for first, second in combinations(range(len(texts)), 2):
        for prompt, (before, after) in enumerate(zip(texts[first], texts[second], strict=True)):
            for sample, (a, b) in enumerate(zip(before, after, strict=True)):
                if a is not None and b is not None:
                    yield prompt, first, second, sample
