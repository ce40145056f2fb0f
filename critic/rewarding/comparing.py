"""Rewards within a group: a judge compares the answers to one prompt, and each gets its strength among its siblings.

Which are compared, and how results become strengths, is in `critic.rewarding.tournament`. Each comparison is asked
under each principle in both orders, and pooled as judgements are (`critic.judging.aggregate`). What can't be read is
left out, and an answer that no result connects to the others has no reward.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from base.digest import seed_of
from base.together import together
from constitution import Principle
from critic.engine import Engine, EngineError, Lane, Unavailable
from critic.judging.aggregate import aggregate
from critic.judging.base import Mode, Question
from critic.records import Prompt
from critic.rewarding.grade import Grade
from critic.rewarding.sources import NO_PRINCIPLE
from critic.rewarding.tournament import pairs, strengths
from critic.settings.judging import Pooling

POOLING = Pooling()
"""Inside it a class of principles decides nothing, and the next one is asked, as in a run."""

UNCONNECTED = "no comparison that could be read connects it with the others"
_SHOWN = 80
"""Characters of an unreadable answer that are told."""

Result = tuple[int, int, float]
"""Which two texts were compared, and the probability that the first is better."""


@dataclass(frozen=True, slots=True)
class Compared:
    """What a group came to. ``results`` are the comparisons that were read, by the places of two texts.

    ``asked`` counts all comparisons; ``grades`` has a grade for each text.
    """

    grades: list[Grade]
    results: list[Result]
    asked: int


@dataclass(frozen=True, slots=True)
class ComparisonRewards:
    """See the module's docstring. ``opponents``: see `critic.rewarding.tournament.pairs`."""

    alone: ClassVar[bool] = False
    engine: Engine
    mode: Mode
    principles: tuple[Principle, ...]
    opponents: int = 2

    async def grades(self, prompt: Prompt, texts: Sequence[str], lane: Lane = "batch") -> list[Grade]:
        """See `critic.rewarding.grade.GradeSource`. Equal texts are one answer; all equal, they have equal rewards."""
        return (await self.compared(prompt, texts, lane)).grades

    async def compared(self, prompt: Prompt, texts: Sequence[str], lane: Lane = "batch") -> Compared:
        """Compare ``texts``. Raises `EngineError` where not one comparison was answered."""
        principles = tuple(principle for principle in self.principles if principle.applies(prompt.tags))
        if not principles:
            return Compared([Grade(None, NO_PRINCIPLE)] * len(texts), [], 0)
        if len(texts) < 2:
            return Compared([Grade(None, "there is no other answer to compare it with")] * len(texts), [], 0)
        answers = list(dict.fromkeys(texts))
        if len(answers) == 1:
            return Compared([Grade(0.0, error=0.0)] * len(texts), [], 0)
        seed = seed_of("tournament", prompt.key, *sorted(answers))
        met = pairs(len(answers), self.opponents, seed)

        errors: list[EngineError] = []
        unread: list[str] = []

        async def one(first: int, second: int) -> float | None:
            question = Question(prompt, answers[first], answers[second], principles, seed)
            try:
                votes = await self.mode.votes(self.engine, question, lane)
            except Unavailable:
                raise  # the same request may be answered later
            except EngineError as error:
                errors.append(error)
                return None
            unread.extend(vote.raw for vote in votes if vote.raw is not None)
            return aggregate(votes, principles, POOLING).probability

        probabilities = await together(one(*pair) for pair in met)
        if len(errors) == len(probabilities):
            raise errors[0]
        results = [(*pair, result) for pair, result in zip(met, probabilities, strict=True) if result is not None]
        why = f"{UNCONNECTED}; what came back: {unread[0][:_SHOWN]!r}" if unread else UNCONNECTED
        grades = dict(zip(answers, _grades(len(answers), results, why), strict=True))
        place = [texts.index(answer) for answer in answers]
        shown = [(place[first], place[second], probability) for first, second, probability in results]
        return Compared([grades[text] for text in texts], shown, len(met))


def _grades(count: int, results: Sequence[Result], why: str) -> list[Grade]:
    grades = [Grade(None, why)] * count
    fitted = strengths(count, results)
    if fitted is not None:
        for member, strength, error in zip(fitted.members, fitted.strengths, fitted.errors, strict=True):
            grades[member] = Grade.of(strength, error)
    return grades
