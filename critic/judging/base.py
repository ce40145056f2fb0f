"""What a judge mode is: a way to turn one comparison into votes, one for each principle and order.

A new mode is one new file here and one line in `critic.judging.MODES`.
"""

from dataclasses import dataclass
from typing import Protocol

from constitution import Principle
from critic.engines.base import Engine, Lane
from critic.records import Prompt, Vote

# Surer than any label should be, and still finite: what a vote becomes where one choice had no probability at all.
MAX_LOG_ODDS = 50.0


@dataclass(frozen=True, slots=True)
class Question:
    """Two responses to a prompt, to be compared by each of ``principles``."""

    prompt: Prompt
    first: str
    second: str
    principles: tuple[Principle, ...]
    seed: int


class Mode(Protocol):
    """A judge mode. ``votes`` returns every vote of every principle, readable or not; see `critic.records.Vote`."""

    name: str

    async def votes(self, engine: Engine, question: Question, lane: Lane = "batch") -> tuple[Vote, ...]:
        """Ask ``engine``, and return the votes in the order of the principles."""
        ...


def log_odds(better: float, worse: float) -> float | None:
    """Return the log-odds of one of two log-probabilities: their difference, kept finite; None where either is NaN.

    A choice that was not offered at all counts as -inf; where neither was, nothing can be read.
    """
    if better != better or worse != worse or better == worse == float("-inf"):
        return None
    return max(-MAX_LOG_ODDS, min(MAX_LOG_ODDS, better - worse))
