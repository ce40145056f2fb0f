"""Reason first, then read the letters: chain of thought, clamped. Every principle, both orders.

The judge writes its reasoning (``samples`` times, each with its own seed), then the letters' log-probabilities are
read as in `logprob`. The probabilities of the samples are averaged and the mean is clamped to ``low`` .. ``high``,
because after its own reasoning a model is far too sure (Bai et al. 2022, section 4.1, clamp to 0.40 .. 0.60).
"""

import math
from typing import ClassVar

from pydantic import Field

from constitution import Principle
from critic import prompts
from critic.engines.base import Engine, Lane, Node, Request, Sampling, Score
from critic.judging.base import Question, SampledMode, log_odds
from critic.judging.logprob import LETTERS, comparison_mark
from critic.records import Message, Order, Vote
from critic.seeds import seed_of
from critic.together import together

_Place = tuple[Order, Principle]


class Cot(SampledMode):
    """The mode ``cot``."""

    name: ClassVar[str] = "cot"
    low: float = Field(default=0.40, ge=0, lt=0.5)
    high: float = Field(default=0.60, gt=0.5, le=1)
    max_tokens: int = Field(default=256, ge=1)

    async def votes(self, engine: Engine, question: Question, lane: Lane = "batch") -> tuple[Vote, ...]:
        """Have the judge reason, then read both letters after each reasoning."""
        places: list[_Place] = [(order, p) for p in question.principles for order in question.shown()]
        written = await together(
            self._reason(engine, question, place, number, lane) for place in places for number in range(self.samples)
        )
        reasons = {place: written[i * self.samples : (i + 1) * self.samples] for i, place in enumerate(places)}
        scores = iter(await engine.score(_tree(question, reasons), lane))
        read = {(order, p): [next(scores) for _ in reasons[order, p]] for order, p in _tree_order(question)}
        return tuple(self._vote(engine, place, reasons[place], read[place]) for place in places)

    async def _reason(self, engine: Engine, question: Question, place: _Place, number: int, lane: Lane) -> str:
        order, principle = place
        mark = comparison_mark(question)
        chat = (
            *prompts.conversation_parts(question.prompt, mark),
            prompts.responses_part(*question.shown()[order], mark),
            prompts.reasoning_part(principle),
        )
        seed = seed_of(question.seed, "cot", question.prompt.key, *question.shown()[order], principle.digest, number)
        sampling = Sampling(max_tokens=self.max_tokens, temperature=self.temperature)
        return (await engine.complete(Request(chat, sampling, seed), lane)).text.strip()

    def _vote(self, engine: Engine, place: _Place, reasons: list[str], scores: list[Score]) -> Vote:
        order, principle = place
        odds = [log_odds(*score.values) for score in scores]
        read = [1 / (1 + math.exp(-x)) for x in odds if x is not None]
        usable = len(read) == len(odds) and all(reasons)
        probability = max(self.low, min(self.high, math.fsum(read) / len(read))) if usable else 0.5
        shown = (
            math.log(probability / (1 - probability))
            if 0 < probability < 1
            else math.copysign(math.inf, probability - 0.5)
        )
        reason = "\n\n".join(reasons)
        return self.vote(
            engine,
            principle,
            (shown if order == "given" else -shown) if usable else None,
            order=order,
            reason=reason,
            raw=f"log-probabilities of A and B: {[score.values for score in scores]}, after the reasoning {reason!r}",
        )


def _tree_order(question: Question) -> list[_Place]:
    return [(order, p) for order in question.shown() for p in question.principles]


def _tree(question: Question, reasons: dict[_Place, list[str]]) -> Node:
    """Conversation -> responses in either order -> principle's question -> each reasoning, and the last request."""
    mark = comparison_mark(question)

    def asked(order: Order, principle: Principle) -> Node:
        ends = tuple(
            Node((Message(role="assistant", content=reason), prompts.answer_part()), LETTERS)
            for reason in reasons[order, principle]
        )
        return Node((prompts.reasoning_part(principle),), children=ends)

    return Node(
        prompts.conversation_parts(question.prompt, mark),
        children=tuple(
            Node(
                (prompts.responses_part(*shown, mark),),
                children=tuple(asked(order, p) for p in question.principles),
            )
            for order, shown in question.shown().items()
        ),
    )
