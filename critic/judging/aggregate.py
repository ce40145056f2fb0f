"""Votes to one probability. Pure arithmetic over stored votes: weights can change without a new call.

A principle counts only if every read of it (both orders) was readable; each read is clipped to +-6 log-odds. Within a
priority class the principles are pooled by one of

    log-odds      the logistic of the weighted mean of their mean log-odds (a logarithmic opinion pool: Genest & Zidek
                  1986, section 3)
    probability   the weighted mean of their mean probabilities (a linear opinion pool, section 2)
    majority      the weighted share of principles that prefer the first response; one at exactly 0 counts half
    minimum       the response whose worst principle is less bad: the logistic of (smallest + largest mean log-odds) / 2

Classes decide lexicographically: the first one whose probability lies outside the tie band. A judge that reads no
principle (a reward model) casts one vote, which is its probability. Of several jurors, the logistic of the mean of
their clipped log-odds counts; one that can't be read doesn't.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from constitution import Principle
from critic.records import Vote
from critic.settings.judging import Method, Pooling

CLIP = 6.0
CERTAIN = 1 / (1 + math.exp(-CLIP))
"""What a unanimous majority counts as in a ranking: certainty would have no finite strength."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the votes come to; see `critic.records.Judgement`."""

    outcome: Literal["preference", "tie", "unreadable", "no_principle"]
    probability: float | None


def aggregate(votes: Iterable[Vote], principles: Sequence[Principle], pooling: Pooling) -> Verdict:
    """Pool ``votes`` under the weights and priorities of ``principles``; other principles' votes don't count."""
    if not principles:
        return Verdict("no_principle", None)
    by_juror = [_juror(mine, principles, pooling) for mine in _by_juror(votes)]
    read = [probability for probability in by_juror if probability is not None]
    if not read:
        return Verdict("unreadable", None)
    probability = read[0] if len(read) == 1 else _logistic(_mean([_logit(p) for p in read]))
    return Verdict("tie" if pooling.is_tie(probability) else "preference", probability)


def principle_log_odds(votes: Iterable[Vote]) -> dict[str | None, float | None]:
    """Mean clipped log-odds by principle id; None where a read of it was unreadable."""
    return {principle: _mean(odds) if odds is not None else None for principle, odds in _reads(votes).items()}


def _juror(votes: list[Vote], principles: Sequence[Principle], pooling: Pooling) -> float | None:
    """Return one juror's probability, or None where nothing of it could be read."""
    reads = _reads(votes)
    if None in reads:
        odds = reads[None]
        return _logistic(_mean(odds)) if odds is not None else None
    members = [(p, odds) for p in principles if (odds := reads.get(p.id)) is not None]
    probability = None
    for group in _classes(members, pooling):
        probability = _pool(group, pooling.aggregation)
        if not pooling.is_tie(probability):
            break
    return probability


def _classes(
    members: list[tuple[Principle, list[float]]], pooling: Pooling
) -> list[list[tuple[Principle, list[float]]]]:
    if not pooling.priorities:
        return [members] if members else []
    ranked = sorted(members, key=lambda member: member[0].priority)
    return [list(group) for _, group in groupby(ranked, key=lambda member: member[0].priority)]


def _pool(members: list[tuple[Principle, list[float]]], method: Method) -> float:
    means = [_mean(odds) for _, odds in members]
    if method == "minimum":
        return _logistic((min(means) + max(means)) / 2)
    weights = [principle.weight for principle, _ in members]
    match method:
        case "log-odds":
            return _logistic(_weighted(means, weights))
        case "probability":
            means = []
            for _, odds in members:
                means.append(_mean([_logistic(x) for x in odds]))
            return _weighted(means, weights)
        case "majority":
            return _weighted([(1 + (mean > 0) - (mean < 0)) / 2 for mean in means], weights)


def _by_juror(votes: Iterable[Vote]) -> list[list[Vote]]:
    jurors: dict[tuple[str, str], list[Vote]] = {}
    for vote in votes:
        jurors.setdefault((vote.judge, vote.mode), []).append(vote)
    return list(jurors.values())


def _reads(votes: Iterable[Vote]) -> dict[str | None, list[float] | None]:
    """Clipped log-odds by principle; None where one of its reads was unreadable."""
    reads: dict[str | None, list[float] | None] = {}
    for vote in votes:
        odds = reads.setdefault(vote.principle, [])
        if vote.log_odds is None:
            reads[vote.principle] = None
        elif odds is not None:
            odds.append(max(-CLIP, min(CLIP, vote.log_odds)))
    return reads


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _weighted(values: Sequence[float], weights: Sequence[float]) -> float:
    return math.fsum(w * x for w, x in zip(weights, values, strict=True)) / math.fsum(weights)


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def _logit(probability: float) -> float:
    """Log-odds, clipped: a majority can be unanimous."""
    if not 0 < probability < 1:
        return math.copysign(CLIP, probability - 0.5)
    return max(-CLIP, min(CLIP, math.log(probability / (1 - probability))))
