"""Each response scored alone, on a scale of 1 to 10: the expected value under the model's own probabilities.

The judge answers with one digit, 0 to 9, because "10" is several tokens in many vocabularies; the score is the expected
digit plus one (Liu et al. 2023, G-Eval, equation 1). The vote is the difference of the two scores: a point is one
log-odds. Pointwise, so there is no order; the score itself can be a reward.
"""

import math
from typing import ClassVar

from critic import prompts
from critic.engines.base import Choices, Engine, Lane, Node, Score
from critic.judging.base import Mode, Question
from critic.records import Vote

DIGITS = Choices(tuple("0123456789"))


class ScoreMode(Mode):
    """The mode ``score``."""

    name: ClassVar[str] = "score"

    async def votes(self, engine: Engine, question: Question, lane: Lane = "batch") -> tuple[Vote, ...]:
        """Score both responses under every principle."""
        scores = iter(await engine.score(_tree(question), lane))
        read = [[expected(next(scores)) for _ in question.principles] for _ in (question.first, question.second)]
        votes = []
        for principle, first, second in zip(question.principles, *read, strict=True):
            odds = first - second if first is not None and second is not None else None
            values = (first, second) if first is not None and second is not None else None
            votes.append(self.vote(engine, principle, odds, values=values, raw=f"scores: {first} and {second}"))
        return tuple(votes)


def expected(score: Score) -> float | None:
    """Return the expected score, 1 to 10, of the ten digits' log-probabilities; None where they can't be read."""
    top = max(score.values)
    if not math.isfinite(top) or any(math.isnan(value) for value in score.values):
        return None
    weights = [math.exp(value - top) for value in score.values]
    return 1 + math.fsum(digit * weight for digit, weight in enumerate(weights)) / math.fsum(weights)


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
