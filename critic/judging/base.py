"""What a judge mode is: a way to turn one comparison into votes, one for each principle and order.

A new mode is one new file here and one line in `critic.judging.MODES`.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Self

from pydantic import Field, model_validator

from constitution import Principle
from critic.engines import Gives
from critic.engines.base import Engine, Lane
from critic.records import Order, Prompt, Record, Vote

# Surer than any label should be, and still finite: what a vote becomes where one choice had no probability at all.
MAX_LOG_ODDS = 50.0


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


class Mode(Record):
    """A judge mode. Its fields are its options, as in ``cot?samples=4``; an unknown one is an error."""

    name: ClassVar[str]
    # What its engine must give: an engine of another kind is refused before it is opened.
    reads: ClassVar[Gives] = "text"

    async def votes(self, engine: Engine, question: Question, lane: Lane = "batch") -> tuple[Vote, ...]:
        """Ask ``engine``, and return every vote of every principle, readable or not, in the order of the principles."""
        raise NotImplementedError

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


class SampledMode(Mode):
    """A mode in which the judge writes, ``samples`` times for each principle and order."""

    samples: int = Field(default=1, ge=1)
    temperature: float = Field(default=0.7, ge=0)

    @model_validator(mode="after")
    def _samples_differ(self) -> Self:
        if self.samples > 1 and self.temperature == 0:
            raise ValueError("several samples at temperature 0 are one sample: give a temperature above 0")
        return self


def log_odds(better: float, worse: float) -> float | None:
    """Return the log-odds of one of two log-probabilities: their difference, kept finite; None where either is NaN.

    A choice that was not offered at all counts as -inf; where neither was, nothing can be read.
    """
    if better != better or worse != worse or better == worse == float("-inf"):
        return None
    return max(-MAX_LOG_ODDS, min(MAX_LOG_ODDS, better - worse))
