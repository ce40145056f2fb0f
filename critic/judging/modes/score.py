"""Each response scored alone, on a scale of 1 to 10: the expected value under the model's own probabilities.

The judge answers with one digit, 0 to 9, because "10" is several tokens in many vocabularies; the score is the expected
digit plus one (Liu et al. 2023, G-Eval, equation 1). The vote is the difference of the two scores: a point is one
log-odds. Pointwise, so there is no order; the score itself can be a reward.
"""

import math
from typing import ClassVar

from constitution import InputError, Principle
from critic import prompts
from critic.engine import Choices, Engine, Lane, Node, Score, reads
from critic.engine_kinds.capabilities import LOGPROBS
from critic.judging.base import FLOOR, SAMPLE, Question, ReadMode, mass_of
from critic.records import Vote

DIGITS = Choices(tuple("0123456789"))


class ScoreMode(ReadMode):
    """The mode ``score``."""

    name: ClassVar[str] = "score"
    needs: ClassVar[tuple[str, ...]] = (LOGPROBS,)

    def page(self, engine: Engine) -> Node | None:
        """See `Mode.page`."""
        path, read, _ = next(reads(_tree(SAMPLE)))
        return Node(path, read)

    def asked_by(self, principle: Principle) -> tuple[object, ...] | None:
        """See `Mode.asked_by`."""
        return (principle.statement,)

    async def votes(self, engine: Engine, question: Question, lane: Lane = "batch") -> tuple[Vote, ...]:
        """Score both responses under every principle."""
        scores = iter(await engine.score(_tree(question), lane))
        read = []
        for _ in (question.first, question.second):
            read.append([next(scores) for _ in question.principles])
        return tuple(
            self._vote(engine, principle, *both) for principle, *both in zip(question.principles, *read, strict=True)
        )

    def _vote(self, engine: Engine, principle: Principle, one: Score, other: Score) -> Vote:
        first, second = expected(one), expected(other)
        values = (first, second) if first is not None and second is not None else None
        odds = values[0] - values[1] if values is not None else None
        mass = min(mass_of(one), mass_of(other))
        return self.read_vote(engine, principle, odds, mass, values=values, raw=f"scores: {first} and {second}")


def expected(score: Score) -> float | None:
    """Return the expected score, 1 to 10, of the ten digits' log-probabilities; None where they can't be read."""
    top = max(score.values)
    if not math.isfinite(top) or any(math.isnan(value) for value in score.values):
        return None
    weights = [math.exp(value - top) for value in score.values]
    return 1 + math.fsum(digit * weight for digit, weight in enumerate(weights)) / math.fsum(weights)


def graded(score: Score, floor: float = FLOOR) -> float | None:
    """Return the expected score if at least ``floor`` is on the digits: with less there is none, and not a low one."""
    return expected(score) if mass_of(score) >= floor else None


def check_scores(engine: Engine) -> None:
    """Raise `InputError` where no score can be read off ``engine``."""
    if ScoreMode.lacks(engine.capabilities) is not None:
        raise InputError(
            f"{engine.identity.name} gives no log-probabilities, which a judge's score is read from",
            where=engine.identity.name,
            fix="name a judge that gives them, such as one served by vLLM, or a reward model",
        )


def _tree(question: Question) -> Node:
    """Conversation -> each response -> each principle's question."""
    texts = [message.text for message in question.prompt.messages]
    mark = prompts.fence_mark(question.seed, *texts, *sorted((question.first, question.second)))
    asked = tuple(Node((prompts.score_part(p),), DIGITS) for p in question.principles)
    return Node(
        prompts.score_parts(question.prompt, mark),
        children=tuple(
            Node((prompts.response_part(text, mark),), children=asked) for text in (question.first, question.second)
        ),
    )
