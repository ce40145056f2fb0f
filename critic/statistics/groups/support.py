"""What each group says of each statement, from votes: its support, what sets it apart, and what all share.

Votes are 1 (agree), -1 (disagree), 0 (pass) and NaN (not asked), one row a person. A group's support of a statement is
agrees / (agrees + disagrees + passes), as in Collective Constitutional AI (Huang et al. 2024).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from critic.statistics.intervals import FEW, Figure, exact

PERMUTATIONS = 999

_Floats = NDArray[np.float64]
_Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Tallies:
    """How many of each group agreed, disagreed and passed: each (G, S), groups in the order of ``names``."""

    names: tuple[str, ...]
    agrees: _Counts
    disagrees: _Counts
    passes: _Counts

    @property
    def asked(self) -> _Counts:
        """How many of each group voted on each statement (G, S), passes included."""
        return self.agrees + self.disagrees + self.passes

    def support(self) -> _Floats:
        """Return each group's share that agrees (G, S); NaN where nobody of it was asked."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.agrees / self.asked

    def figure(self, group: int, statement: int) -> Figure | None:
        """Return one support with its exact 95 % interval; None where nobody was asked. People are the clusters."""
        n, hits = int(self.asked[group, statement]), int(self.agrees[group, statement])
        if not n:
            return None
        low, high = exact(hits, n)
        return Figure(hits / n, low, high, n, n)


def tally(votes: ArrayLike, groups: ArrayLike) -> Tallies:
    """Count ``votes`` (P, S) by ``groups`` (P,), which are names. Raises ValueError for what is no vote."""
    votes_PS, groups_P = checked(votes), np.asarray(groups)
    if groups_P.shape != votes_PS.shape[:1]:
        raise ValueError(f"expected a group for each of {len(votes_PS)} people, got {groups_P.shape}")
    names = tuple(sorted({str(name) for name in groups_P}))
    members = [votes_PS[groups_P.astype(str) == name] for name in names]

    def counted(value: float) -> _Counts:
        return np.array([(rows == value).sum(axis=0) for rows in members], np.int64).reshape(len(names), -1)

    return Tallies(names, counted(1.0), counted(-1.0), counted(0.0))


def group_informed_consensus(tallies: Tallies) -> _Floats:
    """Return (S,): the product over groups of each one's smoothed support, (agrees + 1) / (asked + 2).

    So a statement ranks high only where every group agrees, however large the others are (Small et al. 2021, section
    on group-informed consensus).
    """
    smoothed_GS = (tallies.agrees + 1) / (tallies.asked + 2)
    return np.asarray(smoothed_GS.prod(axis=0))


def representative(tallies: Tallies) -> _Floats:
    """Return (G, S): how far a group agrees more than all others do, as the z of two proportions.

    Polis' measure of what sets a group apart (Small et al. 2021), with its smoothing by one agree in two. NaN where the
    group, or all others, were not asked.
    """
    own_n = tallies.asked.astype(float)
    own = tallies.agrees.astype(float)
    other_n, other = own_n.sum(axis=0) - own_n, own.sum(axis=0) - own
    p, q = (own + 1) / (own_n + 2), (other + 1) / (other_n + 2)
    pooled = (own + other + 2) / (own_n + other_n + 4)
    spread = np.sqrt(pooled * (1 - pooled) * (1 / (own_n + 2) + 1 / (other_n + 2)))
    z = (p - q) / spread
    return np.where((own_n > 0) & (other_n > 0), z, np.nan)


@dataclass(frozen=True, slots=True)
class Apart:
    """Whether groups vote differently: ``distance`` is the mean squared difference of their mean votes, a statement.

    ``p`` is how often people dealt into groups at random are as far apart. ``refusal`` says why nothing is known.
    """

    distance: float | None
    p: float | None
    refusal: str = ""


def apart(votes: ArrayLike, groups: ArrayLike, seed: int = 0) -> Apart:
    """Test whether the groups of ``votes`` (P, S) differ, by permutation of people (Good 2005, chapter 3).

    A group of fewer than `FEW` people, or fewer than two groups, is refused.
    """
    votes_PS, groups_P = checked(votes), np.asarray(groups).astype(str)
    names, of = np.unique(groups_P, return_inverse=True)
    if len(names) < 2:
        return Apart(None, None, "There is one group: nothing to compare it with.")
    small = [f"{name} ({n})" for name, n in zip(names, np.bincount(of), strict=True) if n < FEW]
    if small:
        return Apart(None, None, f"Nothing can be said of groups of fewer than {FEW} people: {', '.join(small)}.")
    is_given = ~np.isnan(votes_PS)
    asked = sum((is_given[of == group].any(axis=0).astype(int) for group in range(len(names))), np.zeros(1, int))
    if not (asked > 1).any():
        return Apart(None, None, "Nothing was asked of people of two groups.")
    rng = np.random.default_rng(seed)
    distance = _distance(votes_PS, of)
    beyond = sum(_distance(votes_PS, rng.permutation(of)) >= distance for _ in range(PERMUTATIONS))
    return Apart(distance, (beyond + 1) / (PERMUTATIONS + 1))


def checked(votes: ArrayLike) -> _Floats:
    """Return votes as (P, S). Raises ValueError for other shapes and values."""
    votes_PS = np.asarray(votes, np.float64)
    if votes_PS.ndim != 2:
        raise ValueError(f"expected one row of votes a person, got the shape {votes_PS.shape}")
    if not np.all(np.isnan(votes_PS) | np.isin(votes_PS, (-1.0, 0.0, 1.0))):
        raise ValueError("a vote is 1, -1, 0 or NaN")
    return votes_PS


def _distance(votes_PS: _Floats, of_P: NDArray[np.intp]) -> float:
    given_PS = ~np.isnan(votes_PS)
    member_GP = (np.arange(of_P.max() + 1)[:, None] == of_P[None, :]).astype(float)
    asked_GS = member_GP @ given_PS
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_GS = (member_GP @ np.where(given_PS, votes_PS, 0.0)) / asked_GS
    known_S = (asked_GS > 0).sum(axis=0) >= 2
    if not known_S.any():
        return 0.0
    return float(np.nanmean(np.nanvar(mean_GS[:, known_S], axis=0)))
