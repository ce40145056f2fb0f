"""Typed decisions: the server says how probable each answer is, and writes none. Every principle.

``ask=choice``, the default, compares: the two responses are a choice's options, in both orders, because servers label
options in the order of the request (A, B, ...), and models lean to one of the labels. The vote is the log-odds of the
first response. All principles of one order go in one request, where the server takes as many.

The other two read each response alone, so there is no order. ``ask=predicate``: how probable is it that the response
follows the principle? The vote is the difference of the two log-odds. ``ask=score``: how well does it, in levels? The
expected level is put on a scale of 1 to 10, and the vote is the difference, as in the mode ``score``: a point is one
log-odds.

A vote keeps the label mass and the confidence that the server tells. Below ``floor`` of mass it is unreadable: most of
the probability went to tokens that are no answer. So is one whose question the model refused.
"""

import math
from typing import ClassVar

from base.together import together
from constitution import Principle
from critic import prompts
from critic.engine import DecisionType, Engine, Lane, Node, Score
from critic.engine_kinds.capabilities import LABEL_MASS, NOT_TOLD
from critic.engine_kinds.kind import Gives
from critic.judging.base import SAMPLE, Question, ReadMode, log_odds, too_little
from critic.judging.modes.logprob import comparison_mark
from critic.records import Message, Order, Vote

# The scale of the mode `score`.
_LOWEST, _HIGHEST = 1.0, 10.0


class DecisionMode(ReadMode):
    """The mode ``decision``."""

    name: ClassVar[str] = "decision"
    reads: ClassVar[Gives] = "decisions"
    ask: DecisionType = "choice"

    def page(self, engine: Engine) -> Node | None:
        """See `Mode.page`: None where the server tells no mass, for then there is nothing to find."""
        if engine.capabilities.get(LABEL_MASS) == NOT_TOLD:
            return None
        return self._tree(SAMPLE, self._texts(SAMPLE)[0])

    def asked_by(self, principle: Principle) -> tuple[object, ...] | None:
        """See `Mode.asked_by`."""
        return (principle.statement, principle.compare) if self.ask == "choice" else (principle.statement,)

    async def votes(self, engine: Engine, question: Question, lane: Lane = "batch") -> tuple[Vote, ...]:
        """Ask about both orders, or both responses; each is one tree, so that what fails costs the other nothing."""
        trees = [self._tree(question, text) for text in self._texts(question)]
        one, other = await together(engine.score(tree, lane) for tree in trees)
        votes: list[Vote] = []
        for principle, *scores in zip(question.principles, one, other, strict=True):
            if self.ask == "choice":
                votes += [
                    self._choice(engine, principle, order, score)
                    for order, score in zip(question.shown(), scores, strict=True)
                ]
            else:
                votes.append(self._alone(engine, principle, *scores))
        return tuple(votes)

    def _texts(self, question: Question) -> list[Message]:
        """What is asked about: the two orders, or the two responses."""
        mark = comparison_mark(question)
        if self.ask == "choice":
            return [prompts.decided_pair(question.prompt, *shown, mark) for shown in question.shown().values()]
        return [prompts.decided_response(question.prompt, text, mark) for text in (question.first, question.second)]

    def _tree(self, question: Question, text: Message) -> Node:
        asked = tuple(Node((), prompts.decision(principle, self.ask)) for principle in question.principles)
        return Node((text,), children=asked)

    def _choice(self, engine: Engine, principle: Principle, order: Order, score: Score) -> Vote:
        why = self._unreadable(score)
        shown = log_odds(*score.values) if why is None else None
        return self.vote(
            engine,
            principle,
            -shown if shown is not None and order == "swapped" else shown,
            order=order,
            raw=why or f"log-probabilities of the first and the second response: {score.values}",
            mass=score.mass,
            confidence=score.confidence,
        )

    def _alone(self, engine: Engine, principle: Principle, first: Score, second: Score) -> Vote:
        """Make the vote of two responses that were read apart; of mass and confidence the smaller ones are told."""
        why = self._unreadable(first) or self._unreadable(second)
        read = _probability_and_odds if self.ask == "predicate" else _expected
        (value, odds), (other_value, other_odds) = read(first), read(second)
        return self.vote(
            engine,
            principle,
            odds - other_odds if why is None else None,
            values=(value, other_value) if why is None else None,
            raw=why or f"what was read of the responses: {first.values} and {second.values}",
            mass=_smaller(first.mass, second.mass),
            confidence=_smaller(first.confidence, second.confidence),
        )

    def _unreadable(self, score: Score) -> str | None:
        """Say why a score can't be read; None where it can."""
        if score.note is not None:
            return score.note
        if score.mass is not None and score.mass < self.floor:
            return f"{too_little(score.mass, self.floor)}; log-probabilities: {score.values}"
        return None


def _probability_and_odds(score: Score) -> tuple[float, float]:
    """Return the probability that the predicate is true, and its log-odds."""
    true, false = score.values
    odds = log_odds(true, false)
    return math.exp(true), math.nan if odds is None else odds


def _expected(score: Score) -> tuple[float, float]:
    """Return the expected level on the scale, twice: the score, and what is compared."""
    top = len(score.values) - 1
    level = math.fsum(place * math.exp(value) for place, value in enumerate(score.values))
    whole = math.fsum(math.exp(value) for value in score.values)
    grade = _LOWEST + (_HIGHEST - _LOWEST) * level / whole / top
    return grade, grade


def _smaller(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else min(one, other)
