"""Who rated what how: three arrays of one length, checked once, for every coefficient of agreement.

A rating that is missing is simply not there. One rater's two ratings of one unit are refused: whoever reads files has
to say which of them counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array

DENSE = 4  # times as many possible values as there are ratings: up to there a table of all is quicker than sorting

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Ratings:
    """``units``, ``raters`` and ``codes`` (n,) number what was rated, by whom, and which of ``values`` was given.

    ``values`` (V,) are the different values in their order.
    """

    units: Ints
    raters: Ints
    codes: Ints
    values: Floats

    @classmethod
    def of(cls, units: Sequence[Any] | NDArray[Any], raters: Sequence[Any] | NDArray[Any], values: ArrayLike) -> Self:
        """Return the ratings of three equally long sequences; those whose value is NaN are missing.

        Raises ValueError for lengths that differ, infinite values, and a rater with two ratings of one unit.
        """
        given = np.asarray(values, np.float64)
        if given.ndim != 1 or not len(units) == len(raters) == given.size:
            raise ValueError(f"expected as many units and raters as values: {len(units)}, {len(raters)}, {given.size}")
        there = ~np.isnan(given)
        if np.isinf(given).any():
            raise ValueError("a rating is infinite")
        unit, rater = _numbered(units, there), _numbered(raters, there)
        different, codes = _coded(given[there])
        ratings = cls(unit, rater, codes, different)
        if ratings.repeated():
            raise ValueError("a rater has rated one unit twice")
        return ratings

    @classmethod
    def of_matrix(cls, matrix: ArrayLike) -> Self:
        """Return the ratings of a matrix (raters, units), in which NaN is missing."""
        table = np.asarray(matrix, np.float64)
        rater, unit = np.indices(table.shape).reshape(2, -1)
        return cls.of(unit, rater, table.reshape(-1))

    @property
    def number_of_units(self) -> int:
        """Units with at least one rating."""
        return int(self.units.max()) + 1 if self.units.size else 0

    @property
    def number_of_raters(self) -> int:
        """Raters with at least one rating."""
        return int(self.raters.max()) + 1 if self.raters.size else 0

    def repeated(self) -> bool:
        """Whether some rater has rated a unit more than once."""
        keys = np.sort(self.units * max(1, self.number_of_raters) + self.raters)
        return bool((keys[1:] == keys[:-1]).any())

    def sizes(self) -> Ints:
        """Return (U,): the ratings of each unit."""
        return np.bincount(self.units, minlength=self.number_of_units).astype(np.int64)

    def cells(self) -> tuple[Ints, Ints, Ints]:
        """Return the cells of the table of units and values that aren't empty: unit, code, count."""
        values = max(1, self.values.size)
        keys, counts = _counted(self.units * values + self.codes, self.number_of_units * values)
        unit, code = np.divmod(keys, values)
        return unit, code, counts

    def counts(self) -> Floats:
        """Return (U, V): how many raters gave each unit each value."""
        table = np.zeros((self.number_of_units, self.values.size))
        unit, code, count = self.cells()
        table[unit, code] = count
        return table

    def table(self) -> "csr_array":
        """Return (U, V) as `counts`, without its empty cells."""
        from scipy.sparse import csr_array  # slow to import, and a server starts without it

        unit, code, count = self.cells()
        ends = np.concatenate(([0], np.cumsum(np.bincount(unit, minlength=self.number_of_units))))
        return csr_array((count.astype(np.float64), code, ends), shape=(self.number_of_units, self.values.size))

    def of_pair(self, first: int, second: int) -> tuple[Ints, Ints, Ints]:
        """Return (units, first's codes, second's codes) of the units that two raters both rated."""
        mine, other = self.raters == first, self.raters == second
        units, i, j = np.intersect1d(self.units[mine], self.units[other], assume_unique=True, return_indices=True)
        return units, self.codes[mine][i], self.codes[other][j]


def by_value(weights: Floats, table: "csr_array") -> Floats:
    """Return (R, V) how often each value was given, by weights (R, U) of units and a table (U, V)."""
    return np.asarray((table.T @ weights.T).T, np.float64)


def _numbered(names: Sequence[Any] | NDArray[Any], there: NDArray[np.bool_]) -> Ints:
    """Return the numbers of names, from 0 on, in the order of the names."""
    kept = np.asarray(names)[there]
    if np.issubdtype(kept.dtype, np.integer):
        return _coded(kept)[1]
    return np.unique(kept, return_inverse=True)[1].astype(np.int64)


def _coded(values: NDArray[Any]) -> tuple[Floats, Ints]:
    """Return the different values in their order, and which of them each is; whole numbers near each other unsorted."""
    if values.size and (values == np.rint(values)).all() and np.ptp(values) < DENSE * values.size:
        whole = (values - values.min()).astype(np.int64)
        is_there = np.zeros(int(whole.max()) + 1, bool)
        is_there[whole] = True
        codes = (np.cumsum(is_there) - 1)[whole]
        return (np.flatnonzero(is_there) + values.min()).astype(np.float64), codes
    different, codes = np.unique(values, return_inverse=True)
    return different.astype(np.float64), codes.astype(np.int64)


def _counted(keys: Ints, most: int) -> tuple[Ints, Ints]:
    """Return the different keys, below ``most``, and how often each is there."""
    if most <= DENSE * keys.size:
        counts = np.bincount(keys, minlength=most)
        different = np.flatnonzero(counts)
        return different, counts[different]
    different, counts = np.unique(keys, return_counts=True)
    return different, counts
