"""The inverse: from pairs alone, which principles explain what was chosen.

After Findeis et al., Inverse Constitutional AI (2024), without a model: a candidate says of each pair which answer it
is for. The surest beyond chance is taken, then the surest on the pairs that no taken one speaks to, until none is right
beyond chance there: by the exact sign test, with at most one false discovery in twenty (Benjamini and Hochberg 1995;
where nothing is to be found, none is in 95 of 100 cases). How well it explains is measured on pairs that it was not
found from.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr

from base.digest import unit_interval
from critic.statistics.intervals import FEW, Figure, Share, paired

LEVEL = 0.05
MOST_RULES = 12
FOLDS = 10
EACH = 200  # pairs up to which each is a fold of its own, because few pairs leave none to spare
SAME = 0.8  # of the pairs that a rule speaks to: another that decides so many alike is named beside it

_Signs = NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class RecoveredRule:
    """``name`` is what the chosen answer has more of, or less where not ``more``.

    ``speaks`` is of how many pairs it says something, ``right`` how often it is right of those; ``first_for`` counts
    the pairs that no rule before it speaks to. ``also`` names candidates that say the same of the same pairs. ``p`` is
    the sign test's on the pairs that it is first for.
    """

    name: str
    more: bool
    speaks: int
    first_for: int
    right: Figure
    p: float
    also: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Recovered:
    """What explains the pairs. ``explained``: how often rules are right on pairs that they were not found from, one of
    which none speaks counting a half. ``refusal`` says why there are none.
    """

    pairs: int
    rules: tuple[RecoveredRule, ...]
    explained: Figure | None
    refusal: str = ""


def recover(names: Sequence[str], signs: _Signs, ids: Sequence[str], clusters: Sequence[int]) -> Recovered:
    """Find the rules among candidates: ``signs`` (pairs, names) is 1 where one is for the chosen answer, -1 against.

    ``ids`` deal the pairs into folds, ``clusters`` number what is one observation: a prompt, or a pair where few
    prompts are asked about on purpose.
    """
    if len(signs) < FEW:
        return Recovered(len(signs), (), None, f"{len(signs)} pairs: nothing can be said of fewer than {FEW}.")
    taken = _taken(signs)
    rules = tuple(_rules(names, signs, taken, clusters))
    explained = _cross_validated(signs, ids, clusters)
    sentence = "" if rules else "No candidate is for the chosen answers beyond chance: nothing explains these pairs."
    return Recovered(len(signs), rules, explained, sentence)


def explains(
    rules: Sequence[RecoveredRule], names: Sequence[str], signs: _Signs, clusters: Sequence[int]
) -> Figure | None:
    """Return how often rules that were found elsewhere are right on these pairs; where none speaks, a half."""
    places = {name: place for place, name in enumerate(names)}
    known = [(places[rule.name], 1 if rule.more else -1) for rule in rules if rule.name in places]
    return _right(_said(signs, known), clusters)


def _taken(signs: _Signs) -> list[tuple[int, int]]:
    """The candidates taken, in order, each with its direction."""
    left = np.ones(len(signs), bool)
    taken: list[tuple[int, int]] = []
    while len(taken) < MOST_RULES and left.any():
        wins, losses = (signs[left] > 0).sum(axis=0), (signs[left] < 0).sum(axis=0)
        p = _p(wins, losses)
        known = np.flatnonzero(_discovered(p))
        if not len(known):
            break
        surest = known[np.lexsort((-np.abs(wins - losses)[known], p[known]))]
        best = int(surest[0])
        direction = 1 if wins[best] > losses[best] else -1
        taken.append((best, direction))
        left &= signs[:, best] == 0
    return taken


def _p(wins: NDArray[np.int64], losses: NDArray[np.int64]) -> NDArray[np.float64]:
    """The exact sign test of each candidate."""
    return np.asarray(np.minimum(1.0, 2 * bdtr(np.minimum(wins, losses), wins + losses, 0.5)))


def _discovered(p: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which candidates are right, or wrong, beyond chance: Benjamini and Hochberg's step-up procedure."""
    order = np.sort(p)
    passing = np.flatnonzero(order <= LEVEL * np.arange(1, len(p) + 1) / len(p))
    return p <= order[passing[-1]] if len(passing) else np.zeros(len(p), bool)


def _rules(
    names: Sequence[str], signs: _Signs, taken: Sequence[tuple[int, int]], clusters: Sequence[int]
) -> list[RecoveredRule]:
    left = np.ones(len(signs), bool)
    rules = []
    for place, direction in taken:
        own = signs[:, place] * direction
        spoken = own != 0
        first = spoken & left
        right = _right(np.where(spoken, own, 0)[spoken], np.asarray(clusters)[spoken].tolist())
        assert right is not None
        wins, losses = int((own[first] > 0).sum()), int((own[first] < 0).sum())
        p = paired(wins, losses).p
        also = _also(names, signs, place, own)
        rules.append(RecoveredRule(names[place], direction > 0, int(spoken.sum()), int(first.sum()), right, p, also))
        left &= ~spoken
    return rules


def _also(names: Sequence[str], signs: _Signs, place: int, own: _Signs) -> tuple[str, ...]:
    spoken = own != 0
    alike = np.abs((signs[spoken] * own[spoken, None]).sum(axis=0, dtype=np.int64)) / spoken.sum()
    order = np.argsort(-alike, kind="stable")
    return tuple(names[i] for i in order if i != place and alike[i] >= SAME)[:5]


def _said(signs: _Signs, taken: Sequence[tuple[int, int]]) -> _Signs:
    """What the first rule that speaks says of each pair; 0 where none does."""
    said = np.zeros(len(signs), np.int8)
    for place, direction in taken:
        said = np.where(said == 0, signs[:, place] * direction, said).astype(np.int8)
    return said


def _cross_validated(signs: _Signs, ids: Sequence[str], clusters: Sequence[int]) -> Figure | None:
    whole = len(signs) > EACH
    fold = np.array([int(unit_interval("fold", id) * FOLDS) if whole else place for place, id in enumerate(ids)])
    said = np.zeros(len(signs), np.int8)
    for number in np.unique(fold):
        mine = fold == number
        said[mine] = _said(signs[mine], _taken(signs[~mine]))
    return _right(said, clusters)


def _right(said: _Signs, clusters: Sequence[int]) -> Figure | None:
    share = Share()
    order = np.argsort(np.asarray(clusters), kind="stable")
    for before, place in zip([None, *order[:-1]], order, strict=True):
        if before is not None and clusters[before] != clusters[place]:
            share.end_cluster()
        share.count((1 + float(said[place])) / 2)
    share.end_cluster()
    return share.figure()
