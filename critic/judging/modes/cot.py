"""Reason first, then read the letters: chain of thought, clamped. Every principle, both orders.

The judge writes its reasoning (``samples`` times, each with its own seed), then the letters' log-probabilities are
read as in `logprob`. The probabilities of the samples are averaged and the mean is clamped to ``low`` .. ``high``,
because after its own reasoning a model is far too sure (Bai et al. 2022, section 4.1, clamp to 0.40 .. 0.60).

Where letters can't be read (the server gives no log-probabilities, or the model thinks before any answer), one is drawn
after each reasoning, as in `critic.judging.modes.sampled`: ``letters`` says which, and is decided when the engine is
opened.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

from pydantic import Field

from base.digest import seed_of
from base.together import together
from constitution import Principle
from critic import prompts
from critic.engine import Completion, Engine, Lane, Node, Request, Sampling, no_answer
from critic.engine_kinds.capabilities import LOGPROBS, NONE, THINKS, YES
from critic.judging.base import (
    FLOOR,
    SAMPLE,
    Question,
    SampledMode,
    estimate,
    log_odds,
    mass_of,
    said,
    too_little,
)
from critic.judging.modes.logprob import LETTERS, comparison_mark
from critic.judging.modes.sampled import LETTER_TOKENS, parse_letter
from critic.records import Message, Order, Vote

_Place = tuple[Order, Principle]
_Reasons = dict[_Place, list[Completion]]


@dataclass(frozen=True, slots=True)
class _Ending:
    """What a judge said after a reasoning: the log-odds of A, the mass on the letters, and what came back."""

    odds: float | None
    mass: float
    raw: str


class Cot(SampledMode):
    """The mode ``cot``."""

    name: ClassVar[str] = "cot"
    answer_tokens: ClassVar[int] = 256
    low: float = Field(default=0.40, ge=0, lt=0.5)
    high: float = Field(default=0.60, gt=0.5, le=1)
    letters: Literal["read", "drawn"] | None = None
    floor: float = Field(default=FLOOR, ge=0, le=1)

    def page(self, engine: Engine) -> Node | None:
        """See `Mode.page`."""
        if self._draws(engine):
            return None
        chat = (*_asked(SAMPLE, ("given", SAMPLE.principles[0])), _reasoned("Lima is the capital."))
        return Node((*chat, prompts.answer_part()), LETTERS)

    def settled(self, mass: float) -> Self | None:
        """See `Mode.settled`: what can't be read is drawn, unless reading was asked for."""
        if mass >= self.floor:
            return self
        return None if self.letters == "read" else self.model_copy(update={"letters": "drawn"})

    async def votes(self, engine: Engine, question: Question, lane: Lane = "batch") -> tuple[Vote, ...]:
        """Have the judge reason, then read both letters after each reasoning, or draw one."""
        places: list[_Place] = [(order, p) for p in question.principles for order in question.shown()]
        written = await together(
            self._reason(engine, question, place, number, lane) for place in places for number in range(self.samples)
        )
        reasons = {place: written[i * self.samples : (i + 1) * self.samples] for i, place in enumerate(places)}
        end = self._drawn if self._draws(engine) else self._read
        endings = await end(engine, question, reasons, lane)
        return tuple(self._vote(engine, place, reasons[place], endings[place]) for place in places)

    def _draws(self, engine: Engine) -> bool:
        if self.letters is not None:
            return self.letters == "drawn"
        return engine.capabilities.get(LOGPROBS) == NONE or engine.capabilities.get(THINKS) == YES

    async def _reason(self, engine: Engine, question: Question, place: _Place, number: int, lane: Lane) -> Completion:
        sampling = Sampling(self.limit(engine), self.temperature)
        seed = _seed(question, place, "cot", number)
        return await engine.complete(Request(_asked(question, place), sampling, seed), lane)

    async def _read(
        self, engine: Engine, question: Question, reasons: _Reasons, lane: Lane
    ) -> dict[_Place, list[_Ending]]:
        scores = iter(await engine.score(_tree(question, reasons), lane))
        endings: dict[_Place, list[_Ending]] = {}
        for place in _tree_order(question):
            read = [next(scores) for _ in reasons[place]]
            endings[place] = [_Ending(log_odds(*s.values), mass_of(s), f"log-probabilities {s.values}") for s in read]
        return endings

    async def _drawn(
        self, engine: Engine, question: Question, reasons: _Reasons, lane: Lane
    ) -> dict[_Place, list[_Ending]]:
        sampling = Sampling(self.limit(engine, LETTER_TOKENS), temperature=1.0)

        async def draw(place: _Place, number: int, reason: str) -> _Ending:
            if not reason:  # the vote can't be read, so the letter is not paid for
                return _Ending(None, 0.0, "nothing")
            chat = (*_asked(question, place), _reasoned(reason), prompts.answer_part())
            answer = await engine.complete(Request(chat, sampling, _seed(question, place, "cot letter", number)), lane)
            letter = parse_letter(answer.text)
            if letter is None:
                return _Ending(None, 0.0, repr(said(answer)))
            return _Ending(estimate(letter == "A", 1), 1.0, letter)

        drawn = {}
        for at, written in reasons.items():
            drawn[at] = [draw(at, number, one.text.strip()) for number, one in enumerate(written)]
        endings = iter(await together(one for asked in drawn.values() for one in asked))
        by_place = {}
        for at, asked in drawn.items():
            by_place[at] = [next(endings) for _ in asked]
        return by_place

    def _vote(self, engine: Engine, place: _Place, written: list[Completion], endings: list[_Ending]) -> Vote:
        order, principle = place
        reasons = [one.text.strip() for one in written]
        read = [1 / (1 + math.exp(-ending.odds)) for ending in endings if ending.odds is not None]
        mass = math.fsum(ending.mass for ending in endings) / len(endings)
        usable = len(read) == len(endings) and all(reasons) and mass >= self.floor
        probability = max(self.low, min(self.high, math.fsum(read) / len(read))) if usable else 0.5
        shown = (
            math.log(probability / (1 - probability))
            if 0 < probability < 1
            else math.copysign(math.inf, probability - 0.5)
        )
        as_given = shown if order == "given" else -shown
        return self.vote(
            engine,
            principle,
            as_given if usable else None,
            order=order,
            reason="\n\n".join(reasons),
            raw="" if usable else self._unread(written, endings, mass),
            mass=mass,
        )

    def _unread(self, written: Iterable[Completion], endings: Iterable[_Ending], mass: float) -> str:
        """Why a vote can't be read: there is no reasoning, or no letter after it."""
        for one in written:
            if not one.text.strip():
                return no_answer(one) if one.reasoning is not None else "the judge wrote no reasoning"
        came = ", ".join(ending.raw for ending in endings)
        floored = f"{too_little(mass, self.floor)}; " if mass < self.floor else ""
        return f"{floored}after the reasoning came: {came}"


def _asked(question: Question, place: _Place) -> tuple[Message, ...]:
    """What the judge is shown before it reasons."""
    order, principle = place
    mark = comparison_mark(question)
    return (
        *prompts.conversation_parts(question.prompt, mark),
        prompts.responses_part(*question.shown()[order], mark),
        prompts.reasoning_part(principle),
    )


def _reasoned(reason: str) -> Message:
    return Message(role="assistant", content=reason)


def _seed(question: Question, place: _Place, what: str, number: int) -> int:
    order, principle = place
    return seed_of(question.seed, what, question.prompt.key, *question.shown()[order], principle.digest, number)


def _tree_order(question: Question) -> list[_Place]:
    return [(order, p) for order in question.shown() for p in question.principles]


def _tree(question: Question, reasons: _Reasons) -> Node:
    """Conversation -> responses in either order -> principle's question -> each reasoning, and the last request."""
    mark = comparison_mark(question)

    def asked(order: Order, principle: Principle) -> Node:
        ends = tuple(
            Node((_reasoned(one.text.strip()), prompts.answer_part()), LETTERS) for one in reasons[order, principle]
        )
        return Node((prompts.reasoning_part(principle),), children=ends)

    orders = []
    for order, shown in question.shown().items():
        children = tuple(asked(order, principle) for principle in question.principles)
        orders.append(Node((prompts.responses_part(*shown, mark),), children=children))
    return Node(prompts.conversation_parts(question.prompt, mark), children=tuple(orders))
