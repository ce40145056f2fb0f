"""Judgements to preference pairs, or to drops with the reason. Pure: a run and `cai reweigh` pair alike."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Literal

from critic.judging.ranking import rank
from critic.records import Drop, Judgement, PreferencePair, Ranking, Response
from critic.settings.judging import Pooling


@dataclass(frozen=True, slots=True)
class Pairing:
    """What becomes a pair: every preference, or with ``best_of_n`` only the best response against the worst.

    With ``ranking`` pairs come from a ranking of all responses, group by group: see `critic.judging.ranking`.
    """

    best_of_n: bool = False
    ranking: bool = False
    pooling: Pooling = field(default_factory=Pooling)


@dataclass(frozen=True, slots=True)
class PairedRow:
    """What a prompt's judgements come to."""

    rankings: tuple[Ranking, ...] = ()
    pairs: tuple[PreferencePair, ...] = ()
    drops: tuple[Drop, ...] = ()


def pair(candidates: Sequence[Response], judgements: Sequence[Judgement], how: Pairing) -> PairedRow:
    """Turn judgements of ``candidates`` into pairs, or into drops with the reason."""
    if how.ranking:
        return _pair_ranked(candidates, judgements, how)
    chosen, drops = best_against_worst(judgements) if how.best_of_n else (list(judgements), [])
    pairs = []
    for judgement in chosen:
        if judgement.outcome != "preference" or judgement.probability is None:
            drops.append(Drop(what="pair", reason=_no_pair(judgement), detail=_place(judgement)))
            continue
        better, worse = candidates[judgement.first], candidates[judgement.second]
        probability = judgement.probability
        if probability < 0.5:
            better, worse, probability = worse, better, 1 - probability
        pairs.append(PreferencePair(chosen=better, rejected=worse, probability=probability, group=judgement.group))
    return PairedRow(pairs=tuple(pairs), drops=tuple(drops))


def best_against_worst(judgements: Sequence[Judgement]) -> tuple[list[Judgement], list[Drop]]:
    """For each group, the judgement between the candidate of highest and that of lowest mean probability.

    Dropped as ``intransitive`` where their own comparison says the opposite of the means, and as ``unreadable`` where
    it could not be read.
    """
    chosen, drops = [], []
    for mine in _by_group(judgements):
        means = _mean_probability(mine)
        if not means:
            drops.append(Drop(what="pair", reason=_no_pair(mine[0]), detail="no comparison could be used"))
            continue
        best, worst = max(means, key=lambda i: (means[i], -i)), min(means, key=lambda i: (means[i], -i))
        direct = next((j for j in mine if {j.first, j.second} == {best, worst}), None)
        if direct is None or direct.probability is None:
            drops.append(Drop(what="pair", reason="unreadable", detail=f"best {best}, worst {worst}"))
        elif (direct.probability > 0.5) != (direct.first == best) and direct.outcome == "preference":
            drops.append(Drop(what="pair", reason="intransitive", detail=_place(direct)))
        else:
            chosen.append(direct)
    return chosen, drops


def _pair_ranked(candidates: Sequence[Response], judgements: Sequence[Judgement], how: Pairing) -> PairedRow:
    rankings, pairs, drops = [], [], []
    for mine in _by_group(judgements):
        ranking = rank(candidates, mine, how.pooling)
        if ranking is None:
            drops.append(_unranked(mine))
            continue
        rankings.append(ranking)
        for first, second in _wanted(ranking, how.best_of_n):
            if ranking.ranks[first] != ranking.ranks[second]:
                pairs.append(_ranked_pair(candidates, ranking, first, second))
            elif candidates[first].text != candidates[second].text:
                drops.append(Drop(what="pair", reason="tie", detail=_named(first, second, ranking.group)))
    return PairedRow(tuple(rankings), tuple(pairs), tuple(drops))


def _wanted(ranking: Ranking, best_of_n: bool) -> Iterator[tuple[int, int]]:
    candidates = range(len(ranking.ranks))
    if not best_of_n:
        return combinations(candidates, 2)
    order = sorted(candidates, key=lambda i: -ranking.strengths[i])
    return iter([(order[0], order[-1])])


def _ranked_pair(candidates: Sequence[Response], ranking: Ranking, first: int, second: int) -> PreferencePair:
    better, worse = sorted((first, second), key=lambda i: ranking.ranks[i])
    return PreferencePair(
        chosen=candidates[better],
        rejected=candidates[worse],
        probability=ranking.probability(better, worse),
        group=ranking.group,
    )


def _unranked(judgements: Sequence[Judgement]) -> Drop:
    """Say why a group's comparisons give no ranking."""
    unread = [judgement for judgement in judgements if judgement.probability is None]
    of = f" of group {judgements[0].group}" if judgements[0].group is not None else ""
    reason = _no_pair(judgements[0]) if len(unread) == len(judgements) else "disconnected"
    return Drop(what="ranking", reason=reason, detail=f"{len(unread)} of {len(judgements)} comparisons{of} unreadable")


def _by_group(judgements: Sequence[Judgement]) -> Iterator[list[Judgement]]:
    for group in dict.fromkeys(judgement.group for judgement in judgements):
        yield [judgement for judgement in judgements if judgement.group == group]


def _mean_probability(judgements: Iterable[Judgement]) -> dict[int, float]:
    won: dict[int, list[float]] = {}
    for judgement in judgements:
        if judgement.probability is not None:
            won.setdefault(judgement.first, []).append(judgement.probability)
            won.setdefault(judgement.second, []).append(1 - judgement.probability)
    return {candidate: sum(p) / len(p) for candidate, p in won.items()}


def _no_pair(judgement: Judgement) -> Literal["tie", "unreadable", "no_principle"]:
    return "tie" if judgement.outcome == "preference" else judgement.outcome


def _place(judgement: Judgement) -> str:
    return _named(judgement.first, judgement.second, judgement.group)


def _named(first: int, second: int, group: str | None) -> str:
    of = f", group {group}" if group is not None else ""
    return f"candidates {first} and {second}{of}"
