"""What a judge mode is: a way to turn one comparison into votes, one for each principle and order.

A new mode is one new file in `critic.judging.modes`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from pydantic import Field, model_validator

from constitution import Principle
from critic.engine import Completion, Engine, Lane, Node, Score, no_answer
from critic.engine_kinds.capabilities import NO, NONE, THINKS
from critic.engine_kinds.kind import Gives
from critic.records import Message, Order, Prompt, Record, Vote

# Surer than any label should be, and still finite: what a vote becomes where one choice had no probability at all.
MAX_LOG_ODDS = 50.0
# Less than this on all choices together, and what the model says of one against another is noise in its tail.
FLOOR = 0.1
# How many tokens thoughts may take beside an answer, where nobody has said how many may be written.
ROOM_TO_THINK = 2048


@dataclass(frozen=True, slots=True)
class Question:
    """Two responses to a prompt, to be compared by each of ``principles``: those of one ``group``."""

    prompt: Prompt
    first: str
    second: str
    principles: tuple[Principle, ...]
    seed: int
    group: str | None = None

    def shown(self) -> dict[Order, tuple[str, str]]:
        """The responses as the page shows them, in each order."""
        return {"given": (self.first, self.second), "swapped": (self.second, self.first)}


# What a judge is shown when it is opened, to see whether it answers pages of a mode's kind.
SAMPLE = Question(
    prompt=Prompt(messages=(Message(role="user", content="What is the capital of Peru?"),)),
    first="Lima.",
    second="It is Cusco, I think.",
    principles=(
        Principle(
            id="correct",
            title="Correct",
            statement="Say what is correct.",
            critique="Say what is wrong in the response.",
            revision="Correct the response.",
            compare="Which response is correct?",
        ),
    ),
    seed=0,
)


class Mode(Record):
    """A judge mode. Its fields are its options, as in ``cot?samples=4``; an unknown one is an error.

    ``needs`` names the capabilities (`critic.engine_kinds.capabilities`) without which it can't work; ``reads`` says
    what an engine must give to be asked in it: those of another kind are refused before they are opened.
    """

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[Gives] = "text"

    @classmethod
    def lacks(cls, capabilities: Mapping[str, str]) -> str | None:
        """The first capability that it needs and an engine is known not to have."""
        return next((needed for needed in cls.needs if capabilities.get(needed) == NONE), None)

    def page(self, engine: Engine) -> Node | None:
        """A page of this mode's kind with one read of choices, to try ``engine`` on; None where it reads none."""
        return None

    def settled(self, mass: float) -> Self | None:
        """The mode for an engine that puts ``mass`` on the choices of `page`; None where that is too little for it."""
        return self

    def asked_by(self, principle: Principle) -> tuple[object, ...] | None:
        """What of ``principle`` its question is made of; None for a mode that reads no principle.

        Principles for which it is equal are one question, whose stored answer serves both. By default all that any
        model reads: so it is where answers are drawn, because the principle's digest is in their seed.
        """
        return (principle.digest,)

    async def votes(self, engine: Engine, question: Question, lane: Lane = "batch") -> tuple[Vote, ...]:
        """Ask ``engine``, and return every vote of every principle, readable or not, in the order of the principles."""
        raise NotImplementedError  # each mode has its own

    def vote(
        self,
        judge: Engine,
        principle: Principle | None,
        log_odds: float | None,
        *,
        raw: str,
        order: Order | None = None,
        values: tuple[float, float] | None = None,
        prior: float | None = None,
        reason: str | None = None,
        mass: float | None = None,
        confidence: float | None = None,
    ) -> Vote:
        """Make a vote: kept finite, and unreadable, with ``raw``, where ``log_odds`` is None or no number."""
        readable = log_odds is not None and not math.isnan(log_odds)
        return Vote(
            principle=principle.id if principle is not None else None,
            principle_digest=principle.digest if principle is not None else None,
            judge=judge.identity.name,
            mode=self.name,
            order=order,
            log_odds=max(-MAX_LOG_ODDS, min(MAX_LOG_ODDS, log_odds)) if log_odds is not None and readable else None,
            raw=None if readable else raw,
            values=values if readable else None,
            prior=prior if readable else None,
            reason=reason,
            mass=mass,
            confidence=confidence,
        )


class ReadMode(Mode):
    """A mode that reads the probabilities of choices. Below ``floor`` on all of them a vote is unreadable."""

    floor: float = Field(default=FLOOR, ge=0, le=1)

    def settled(self, mass: float) -> Self | None:
        """See `Mode.settled`."""
        return self if mass >= self.floor else None

    def read_vote(
        self,
        judge: Engine,
        principle: Principle,
        log_odds: float | None,
        mass: float,
        *,
        raw: str,
        order: Order | None = None,
        values: tuple[float, float] | None = None,
        prior: float | None = None,
    ) -> Vote:
        """Make a vote of what was read with ``mass`` on the choices."""
        return self.vote(
            judge,
            principle,
            log_odds if mass >= self.floor else None,
            raw=raw if mass >= self.floor else f"{too_little(mass, self.floor)}; {raw}",
            order=order,
            values=values,
            prior=prior,
            mass=mass,
        )


class SampledMode(Mode):
    """A mode in which the judge writes, ``samples`` times for each principle and order.

    ``max_tokens`` limits what it writes, with what it thinks before. Where it is not given, ``answer_tokens`` are
    enough, and thoughts have room beside them unless the engine is known not to think.
    """

    answer_tokens: ClassVar[int]
    samples: int = Field(default=1, ge=1)
    temperature: float = Field(default=0.7, ge=0)
    max_tokens: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _samples_differ(self) -> Self:
        if self.samples > 1 and self.temperature == 0:
            raise ValueError("several samples at temperature 0 are one sample: give a temperature above 0")
        return self

    def limit(self, engine: Engine, answer_tokens: int | None = None) -> int:
        """How many tokens ``engine`` may write."""
        if self.max_tokens is not None:
            return self.max_tokens
        wanted = self.answer_tokens if answer_tokens is None else answer_tokens
        return wanted if engine.capabilities.get(THINKS) == NO else wanted + ROOM_TO_THINK


def said(completion: Completion) -> str:
    """What a judge answered, for a vote that can't be read."""
    if completion.text.strip() or completion.reasoning is None:
        return completion.text
    return no_answer(completion)


def mass_of(score: Score) -> float:
    """The probability of any of the choices that were read."""
    if score.mass is not None:
        return min(1.0, score.mass)
    return min(1.0, math.fsum(math.exp(value) for value in score.values if not math.isnan(value)))


def too_little(mass: float, floor: float) -> str:
    """Say that there is too little on the choices."""
    return f"the model puts {mass:.2g} on any of the choices, below the floor of {floor:g}"


def estimate(for_first: float, draws: int) -> float:
    """Log-odds of the first of two by the Krichevsky-Trofimov estimate: no number of draws is certainty."""
    return math.log((for_first + 0.5) / (draws - for_first + 0.5))


def log_odds(better: float, worse: float) -> float | None:
    """Return the log-odds of one of two log-probabilities: their difference, kept finite; None where one is NaN.

    -inf is the probability of a choice that was not listed. All that is known of it is that it has at most what the
    other leaves, and that is what it counts as; where it may be the likelier of the two, nothing can be read.
    """
    if math.isnan(better) or math.isnan(worse):
        return None
    if better == -math.inf or worse == -math.inf:
        listed = max(better, worse)
        left = 1 - math.exp(min(0.0, listed))
        if left > math.exp(listed):
            return None
        odds = listed - math.log(left) if left > 0 else math.inf
        return min(MAX_LOG_ODDS, odds) * (1 if better > worse else -1)
    return max(-MAX_LOG_ODDS, min(MAX_LOG_ODDS, better - worse))
