"""Votes to one probability. Pure arithmetic over stored votes: weights can change without a new call.

A principle's log-odds are the mean over its reads (both orders), each clipped to +-6; it counts only if every read was
readable. Within a priority class the probability is the logistic of the weighted mean of its principles' log-odds
(a logarithmic opinion pool: Genest & Zidek 1986, section 3). Classes decide lexicographically: the first one whose
probability lies outside the tie band.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from constitution import Principle
from critic.records import Vote

CLIP = 6.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the votes come to; see `critic.records.Judgement`."""

    outcome: Literal["preference", "tie", "unreadable", "no_principle"]
    probability: float | None


def aggregate(votes: Iterable[Vote], principles: Sequence[Principle], tie_band: float) -> Verdict:
    """Pool ``votes`` under the weights and priorities of ``principles``; other principles' votes don't count."""
    if not principles:
        return Verdict("no_principle", None)
    odds = principle_log_odds(votes)
    readable = sorted((p for p in principles if odds.get(p.id) is not None), key=lambda p: p.priority)
    if not readable:
        return Verdict("unreadable", None)
    probability = 0.5
    for _, group in groupby(readable, key=lambda p: p.priority):
        members = list(group)
        pooled = math.fsum(p.weight * (odds[p.id] or 0.0) for p in members) / math.fsum(p.weight for p in members)
        probability = 1 / (1 + math.exp(-pooled))
        if probability != 0.5 and abs(probability - 0.5) >= tie_band:
            return Verdict("preference", probability)
    return Verdict("tie", probability)


def principle_log_odds(votes: Iterable[Vote]) -> dict[str, float | None]:
    """Mean clipped log-odds by principle id; None where a read of it was unreadable."""
    reads: dict[str, list[float | None]] = {}
    for vote in votes:
        reads.setdefault(vote.principle, []).append(vote.log_odds)
    return {principle: _mean(odds) for principle, odds in reads.items()}


def _mean(odds: list[float | None]) -> float | None:
    read = [max(-CLIP, min(CLIP, x)) for x in odds if x is not None]
    return math.fsum(read) / len(read) if len(read) == len(odds) else None
