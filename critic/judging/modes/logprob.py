"""Multiple choice by log-probabilities: which letter comes next, A or B, and how surely. Every principle, both orders.

One tree a comparison: conversation -> responses in either order -> one question a principle. The vote is the difference
of the two letters' log-probabilities, which is the log-odds of the first among the two.

``prior=true`` calibrates by context (Zhao et al. 2021, section 3): the same question is read with both responses empty,
and what it prefers there is subtracted. The mean over both orders is the same without it, to the clipping; it matters
where orders are looked at one by one.
"""

from typing import ClassVar

from constitution import Principle
from critic import prompts
from critic.engine import Choices, Engine, Lane, Node, Score, reads
from critic.engine_kinds.capabilities import LOGPROBS
from critic.judging.base import SAMPLE, Question, ReadMode, log_odds, mass_of
from critic.records import Vote

LETTERS = Choices(("A", "B"))


class Logprob(ReadMode):
    """The mode ``logprob``."""

    name: ClassVar[str] = "logprob"
    needs: ClassVar[tuple[str, ...]] = (LOGPROBS,)
    prior: bool = False

    def page(self, engine: Engine) -> Node | None:
        """See `Mode.page`."""
        path, read, _ = next(reads(self.tree(SAMPLE)))
        return Node(path, read)

    def asked_by(self, principle: Principle) -> tuple[object, ...] | None:
        """See `Mode.asked_by`."""
        return principle.statement, principle.compare

    async def votes(self, engine: Engine, question: Question, lane: Lane = "batch") -> tuple[Vote, ...]:
        """Read both letters at the end of each question, in both orders."""
        scores = iter(await engine.score(self.tree(question), lane))
        read = {(order, p.id): next(scores) for order in question.shown() for p in question.principles}
        empty = {p.id: next(scores) for p in question.principles} if self.prior else {}
        votes = []
        for principle in question.principles:
            for order in question.shown():
                score, blank = read[order, principle.id], empty.get(principle.id)
                prior = _for_a(blank) if blank is not None else 0.0
                odds = _for_a(score)
                shown = odds - prior if odds is not None and prior is not None else None
                vote = self.read_vote(
                    engine,
                    principle,
                    -shown if shown is not None and order == "swapped" else shown,
                    min(mass_of(one) for one in (score, blank) if one is not None),
                    order=order,
                    prior=prior if self.prior else None,
                    raw=f"log-probabilities of A and B: {score.values}, log-odds of empty responses: {prior}",
                )
                votes.append(vote)
        return tuple(votes)

    def tree(self, question: Question) -> Node:
        """The comparison as one tree: the responses as given, swapped, and (for the prior) none at all."""
        mark = comparison_mark(question)
        asked = tuple(Node((prompts.question_part(p),), LETTERS) for p in question.principles)
        pages = [*question.shown().values(), *([("", "")] if self.prior else [])]
        return Node(
            prompts.conversation_parts(question.prompt, mark),
            children=tuple(Node((prompts.responses_part(a, b, mark),), children=asked) for a, b in pages),
        )


def comparison_mark(question: Question) -> str:
    """The fence mark of a comparison: the same in both orders."""
    texts = [message.text for message in question.prompt.messages]
    return prompts.fence_mark(question.seed, *texts, *sorted((question.first, question.second)))


def _for_a(score: Score) -> float | None:
    return log_odds(*score.values)
