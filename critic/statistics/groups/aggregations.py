"""Ways to bring the opinions of groups together, by name. None is the default: each makes somebody lose.

A decision is a share for each alternative of an item, which add up to 1: 1 on the winner, equal shares on equals, and
NaN where the way decides nothing.

    mean          the alternative with the highest mean score of all people (utilitarian)
    majority      what more than half of the people put first
    borda         the highest sum of ranks (Borda 1781); equals share the mean of their ranks
    maximin       the alternative that the group which likes it least likes most (Rawls 1971; for preference models
                  Chakraborty et al. 2024)
    nash          the highest product of the groups' mean scores (Nash 1950; Kaneko and Nakamura 1979): fewest zeros
                  first, so that a group which likes nothing does not undo the choice among the rest
    proportional  items in order; a group's say is its people divided by 1 + what it has got so far (perpetual
                  proportional approval voting: Thiele 1895; Lackner 2020), so that in many items each gets its share
    soft          the share of people that put each alternative first: nothing is decided, the split is kept
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

_Floats = NDArray[np.float64]
_Places = NDArray[np.intp]

EQUAL = 1e-9  # scores that differ by less are equal


@dataclass(frozen=True, slots=True)
class Profile:
    """What people think of the alternatives of items: one row a person and item.

    ``scores`` (N, A) from 0 to 1; ``item`` (N,) numbers items from 0, ``group`` (N,) the groups in ``groups``.
    ``person`` (N,) numbers people, who may have rows for several items.
    """

    scores: _Floats
    item: _Places
    group: _Places
    person: _Places
    groups: tuple[str, ...]

    @classmethod
    def of(cls, scores: ArrayLike, item: ArrayLike, group: ArrayLike, person: ArrayLike) -> "Profile":
        """Number the names in ``item``, ``group`` and ``person``. Raises ValueError for what does not fit together."""
        scores_NA = np.asarray(scores, np.float64)
        _, items = np.unique(np.asarray(item).astype(str), return_inverse=True)
        names, groups = np.unique(np.asarray(group).astype(str), return_inverse=True)
        _, people = np.unique(np.asarray(person).astype(str), return_inverse=True)
        if scores_NA.ndim != 2 or scores_NA.shape[1] < 2 or not len(scores_NA):
            raise ValueError(f"expected scores of two or more alternatives, got the shape {scores_NA.shape}")
        if not len(scores_NA) == len(items) == len(groups) == len(people):
            raise ValueError("expected an item, a group and a person for each row of scores")
        if not np.all((scores_NA >= 0) & (scores_NA <= 1)):
            raise ValueError("a score is a number from 0 to 1")
        return cls(scores_NA, items, groups, people, tuple(map(str, names)))

    @property
    def items(self) -> int:
        """How many items there are."""
        return int(self.item.max()) + 1

    def people(self) -> NDArray[np.int64]:
        """Return (G,): how many people each group has."""
        pairs = np.unique(np.stack([self.group, self.person]), axis=1)
        return np.bincount(pairs[0], minlength=len(self.groups))

    def means(self) -> _Floats:
        """Return (I, G, A): each group's mean scores of each item; NaN where nobody of it said anything."""
        sums = np.zeros((self.items, len(self.groups), self.scores.shape[1]))
        counts = np.zeros((self.items, len(self.groups), 1))
        np.add.at(sums, (self.item, self.group), self.scores)
        np.add.at(counts, (self.item, self.group), 1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return sums / counts

    def of_all(self, rows: _Floats) -> _Floats:
        """Return (I, A): the mean over an item's people of ``rows`` (N, A)."""
        sums, counts = np.zeros((self.items, rows.shape[1])), np.bincount(self.item, minlength=self.items)
        np.add.at(sums, self.item, rows)
        return sums / counts[:, None]

    def firsts(self) -> _Floats:
        """Return (N, A): each person's first choice, shared among equals."""
        return winners(self.scores)


@dataclass(frozen=True, slots=True)
class Aggregation:
    """One way: ``decide`` returns the shares (I, A); ``says`` tells it in a sentence."""

    name: str
    says: str
    decide: Callable[[Profile], _Floats]


def winners(scores: _Floats) -> _Floats:
    """Return shares of the last axis: equal ones on the highest, 0 on the rest."""
    best = scores >= scores.max(axis=-1, keepdims=True) - EQUAL
    return np.asarray(best / best.sum(axis=-1, keepdims=True))


def _mean(profile: Profile) -> _Floats:
    return winners(profile.of_all(profile.scores))


def _majority(profile: Profile) -> _Floats:
    shares = profile.of_all(profile.firsts())
    decided = shares > 0.5 + EQUAL
    return np.where(decided.any(axis=1, keepdims=True), decided.astype(float), np.nan)


def _borda(profile: Profile) -> _Floats:
    return winners(profile.of_all(rankdata(profile.scores, axis=1)))


def _maximin(profile: Profile) -> _Floats:
    return winners(np.nanmin(profile.means(), axis=1))


def _nash(profile: Profile) -> _Floats:
    means = profile.means()
    zeros = np.nansum(means <= EQUAL, axis=1)
    logs = np.where(means > EQUAL, np.log(np.maximum(means, EQUAL)), 0.0)
    totals = np.nansum(np.where(np.isnan(means), np.nan, logs), axis=1)
    fewest = zeros == zeros.min(axis=1, keepdims=True)
    return winners(np.where(fewest, totals, -np.inf))


def _proportional(profile: Profile) -> _Floats:
    people, means = profile.people().astype(float), profile.means()
    got = np.zeros(len(people))
    decided = np.empty((means.shape[0], means.shape[2]))
    for item, scores_GA in enumerate(means):
        heard = ~np.isnan(scores_GA[:, 0])
        say = np.where(heard, people / (1 + got), 0.0)
        decided[item] = winners(say @ np.nan_to_num(scores_GA))
        got += np.nan_to_num(scores_GA) @ decided[item]
    return decided


def _soft(profile: Profile) -> _Floats:
    return profile.of_all(profile.firsts())


AGGREGATIONS: dict[str, Aggregation] = {
    way.name: way
    for way in (
        Aggregation("mean", "the highest mean score of all people", _mean),
        Aggregation("majority", "what more than half of all people put first", _majority),
        Aggregation("borda", "the highest sum of ranks", _borda),
        Aggregation("maximin", "what the group that likes it least likes most", _maximin),
        Aggregation("nash", "the highest product of the groups' mean scores", _nash),
        Aggregation("proportional", "each group its share of the items, in their order", _proportional),
        Aggregation("soft", "the share of people for each alternative; nothing is decided", _soft),
    )
}
