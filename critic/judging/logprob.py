"""Multiple choice by log-probabilities: which letter comes next, A or B, and how surely. Every principle, both orders.

One tree a comparison: conversation -> responses in either order -> one question a principle. The vote is the difference
of the two letters' log-probabilities, which is the log-odds of the first among the two.
"""

from critic import prompts
from critic.engines.base import Choices, Engine, Lane, Node, Score
from critic.judging.base import Question, log_odds
from critic.records import Order, Vote

_LETTERS = Choices(("A", "B"))


class Logprob:
    """The mode ``logprob``."""

    name = "logprob"

    async def votes(self, engine: Engine, question: Question, lane: Lane = "batch") -> tuple[Vote, ...]:
        """Read both letters at the end of each question, in both orders."""
        scores = iter(await engine.score(tree(question), lane))
        orders: tuple[Order, ...] = ("given", "swapped")
        read = {(order, p.id): next(scores) for order in orders for p in question.principles}
        return tuple(
            _vote(p.id, p.digest, order, read[order, p.id], engine.identity.name)
            for p in question.principles
            for order in orders
        )


def tree(question: Question) -> Node:
    """The comparison as one tree: the first child shows the responses as given, the second swapped."""
    texts = [message.content for message in question.prompt.messages]
    mark = prompts.fence_mark(question.seed, *texts, *sorted((question.first, question.second)))
    questions = tuple(Node((prompts.question_part(p),), _LETTERS) for p in question.principles)
    shown = ((question.first, question.second), (question.second, question.first))
    return Node(
        prompts.conversation_parts(question.prompt, mark),
        children=tuple(Node((prompts.responses_part(a, b, mark),), children=questions) for a, b in shown),
    )


def _vote(principle: str, digest: str, order: Order, score: Score, judge: str) -> Vote:
    a, b = score.values
    odds = log_odds(a, b) if order == "given" else log_odds(b, a)
    raw = None if odds is not None else f"log-probabilities of A and B: {a}, {b}"
    return Vote(principle=principle, principle_digest=digest, judge=judge, order=order, log_odds=odds, raw=raw)
