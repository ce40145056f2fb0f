"""Opinion groups found from votes alone, in the way of Polis.

Small, Bjorkegren, Erkkilä, Shaw and Megill, Polis: Scaling deliberation by mapping high dimensional opinion spaces
(2021). Votes that were not asked for take the statement's mean; the first two principal components give each person a
place, moved outwards by sqrt(statements / own votes), so that those who voted little don't all lie in the middle;
k-means finds 2 to 5 groups there, and the silhouette (Rousseeuw 1987) says which number.

k-means divides anything, a single cloud too. So the groups are told only where votes hang together more than by chance:
the first eigenvalue is above that of votes dealt out anew within each statement (parallel analysis, Horn 1965).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from critic.statistics.groups.support import checked
from critic.statistics.intervals import FEW

LEAST_VOTES = 7  # Polis': a person who voted less has no place yet
MOST_GROUPS = 5
DEALS = 199  # votes dealt out anew; more chance structure than in all of these has p = .005
STARTS = 10
_ROUNDS = 100

_Floats = NDArray[np.float64]
_Places = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Clusters:
    """``group`` (P,) numbers each person's group from 0, the largest; -1 where they voted too little, or there is none.

    ``places`` (P, 2) is where they stand, ``silhouette`` how well the groups are told apart (1 well, 0 not), ``p`` how
    often chance gives as much structure. ``refusal`` says why there are no groups.
    """

    group: _Places
    places: _Floats
    silhouette: float | None
    p: float | None
    refusal: str = ""

    @property
    def count(self) -> int:
        """How many groups there are."""
        return int(self.group.max(initial=-1)) + 1


def clusters(votes: ArrayLike, seed: int = 0) -> Clusters:
    """Find the opinion groups of ``votes`` (P, S): 1, -1, 0, NaN where not asked."""
    votes_PS = checked(votes)
    counted_P = (~np.isnan(votes_PS)).sum(axis=1)
    kept = np.flatnonzero(counted_P >= min(LEAST_VOTES, votes_PS.shape[1]))
    nobody = Clusters(np.full(len(votes_PS), -1), np.full((len(votes_PS), 2), np.nan), None, None)
    if len(kept) < 2 * FEW or votes_PS.shape[1] < 2:
        return _refused(
            nobody, f"No groups are sought: {len(kept)} people voted enough, and {2 * FEW} on 2 statements are needed."
        )
    mine_PS = votes_PS[kept]
    filled_PS = _filled(mine_PS)
    if not filled_PS.any():
        return _refused(nobody, "Everybody voted alike: there are no groups.")
    rng = np.random.default_rng(seed)
    p = _p_of_structure(mine_PS, _first_eigenvalue(filled_PS), rng)
    places = _places(filled_PS, counted_P[kept])
    nobody.places[kept] = places
    if p > 1 / (DEALS + 1):
        return _refused(nobody, "The votes hang together no more than by chance: no groups are told.", p)
    group, silhouette = _best(places, rng)
    nobody.group[kept] = _largest_first(group)
    return Clusters(nobody.group, nobody.places, silhouette, p)


def adjusted_rand(one: ArrayLike, other: ArrayLike) -> float:
    """Return how far two divisions of the same people agree: 1 fully, 0 as by chance (Hubert and Arabie 1985)."""
    _, a = np.unique(np.asarray(one), return_inverse=True)
    _, b = np.unique(np.asarray(other), return_inverse=True)
    table = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(table, (a, b), 1)

    def pairs(counts: _Floats) -> float:
        return float((counts * (counts - 1) / 2).sum())

    together, rows, columns = pairs(table), pairs(table.sum(axis=1)), pairs(table.sum(axis=0))
    expected = rows * columns / pairs(np.array([table.sum()]))
    most = (rows + columns) / 2
    return 1.0 if most == expected else (together - expected) / (most - expected)


def _refused(nobody: Clusters, why: str, p: float | None = None) -> Clusters:
    return Clusters(nobody.group, nobody.places, None, p, why)


def _filled(votes_PS: _Floats) -> _Floats:
    """Centre each statement; what was not asked stands at its mean, which is then 0."""
    given_PS = ~np.isnan(votes_PS)
    asked_S = given_PS.sum(axis=0)
    mean_S = np.where(given_PS, votes_PS, 0.0).sum(axis=0) / np.maximum(asked_S, 1)
    return np.where(given_PS, votes_PS - mean_S, 0.0)


def _first_eigenvalue(filled_PS: _Floats) -> float:
    """The largest eigenvalue of X'X, on the smaller side."""
    small = filled_PS.T @ filled_PS if filled_PS.shape[1] <= filled_PS.shape[0] else filled_PS @ filled_PS.T
    return float(np.linalg.eigvalsh(small)[-1])


def _p_of_structure(votes_PS: _Floats, observed: float, rng: np.random.Generator) -> float:
    beyond = 0
    for _ in range(DEALS):
        dealt = votes_PS.copy()
        for column in dealt.T:
            given = np.flatnonzero(~np.isnan(column))
            column[given] = column[rng.permutation(given)]
        beyond += _first_eigenvalue(_filled(dealt)) >= observed
    return (beyond + 1) / (DEALS + 1)


def _places(filled_PS: _Floats, counted_P: NDArray[np.int64]) -> _Floats:
    _, _, axes = np.linalg.svd(filled_PS, full_matrices=False)
    outwards_P = np.sqrt(filled_PS.shape[1] / np.maximum(counted_P, 1))
    return np.asarray((filled_PS @ axes[:2].T) * outwards_P[:, None])


def _best(places: _Floats, rng: np.random.Generator) -> tuple[_Places, float]:
    """The division with the best silhouette; of equals the one with fewest groups."""
    distances = np.linalg.norm(places[:, None] - places[None], axis=2)
    best, best_silhouette = np.zeros(len(places), np.intp), -1.0
    for k in range(2, MOST_GROUPS + 1):
        group = _k_means(places, k, rng)
        silhouette = _silhouette(distances, group)
        if silhouette > best_silhouette:
            best, best_silhouette = group, silhouette
    return best, best_silhouette


def _k_means(places: _Floats, k: int, rng: np.random.Generator) -> _Places:
    """Lloyd's algorithm from k-means++ seeds (Arthur and Vassilvitskii 2007), the best of several starts."""
    best, least = np.zeros(len(places), np.intp), np.inf
    for _ in range(STARTS):
        centres = _seeds(places, k, rng)
        for _ in range(_ROUNDS):
            squares = ((places[:, None] - centres[None]) ** 2).sum(axis=2)
            group = squares.argmin(axis=1)
            members = [places[group == i] for i in range(k)]
            moved = np.array([m.mean(axis=0) if len(m) else c for m, c in zip(members, centres, strict=True)])
            if np.array_equal(moved, centres):
                break
            centres = moved
        cost = float(squares.min(axis=1).sum())
        if cost < least:
            best, least = group, cost
    return best


def _seeds(places: _Floats, k: int, rng: np.random.Generator) -> _Floats:
    centres = [places[rng.integers(len(places))]]
    while len(centres) < k:
        squares = np.min([((places - centre) ** 2).sum(axis=1) for centre in centres], axis=0)
        total = squares.sum()
        chosen = rng.choice(len(places), p=squares / total) if total > 0 else rng.integers(len(places))
        centres.append(places[chosen])
    return np.array(centres)


def _silhouette(distances: _Floats, group: _Places) -> float:
    """The mean silhouette; a person alone in a group has 0 (Rousseeuw 1987)."""
    names, of = np.unique(group, return_inverse=True)
    if len(names) < 2:
        return -1.0
    member_PG = (of[:, None] == np.arange(len(names))[None]).astype(float)
    sizes_G = member_PG.sum(axis=0)
    sums_PG = distances @ member_PG
    own_size = sizes_G[of]
    own = sums_PG[np.arange(len(of)), of] / np.maximum(own_size - 1, 1)
    others = np.where(member_PG > 0, np.inf, sums_PG / sizes_G)
    nearest = others.min(axis=1)
    largest = np.maximum(own, nearest)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = np.where((own_size > 1) & (largest > 0), (nearest - own) / largest, 0.0)
    return float(values.mean())


def _largest_first(group: _Places) -> _Places:
    names, counts = np.unique(group, return_counts=True)
    order = names[np.argsort(-counts, kind="stable")]
    rank = {int(name): place for place, name in enumerate(order)}
    return np.array([rank[int(name)] for name in group], np.intp)
