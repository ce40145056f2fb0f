"""How often two principles prefer the same response: one matrix, whatever the number of comparisons."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray


class PrincipleAgreement:
    """Counts, for each two principles, the comparisons that both decided, and those that they decided alike."""

    def __init__(self) -> None:
        self._index: dict[str, int] = {}
        self._balance = np.zeros((0, 0), np.int64)  # alike minus differently
        self._both = np.zeros((0, 0), np.int64)

    @property
    def principles(self) -> list[str]:
        """The rows and columns of the matrices, in order of first appearance."""
        return list(self._index)

    def add(self, log_odds: Mapping[str, float]) -> None:
        """Add one comparison: each principle's log-odds that the first response is better. Zero decides nothing."""
        for principle in log_odds:
            self._index.setdefault(principle, len(self._index))
        if len(self._index) > len(self._both):
            grow = len(self._index) - len(self._both)
            self._balance, self._both = (np.pad(m, (0, grow)) for m in (self._balance, self._both))
        signs = np.zeros(len(self._index), np.int64)
        for principle, value in log_odds.items():
            signs[self._index[principle]] = (value > 0) - (value < 0)
        self._balance += np.outer(signs, signs)
        self._both += np.outer(abs(signs), abs(signs))

    def counts(self) -> NDArray[np.int64]:
        """Return (P, P): the comparisons that both principles decided."""
        return self._both.copy()

    def shares(self) -> NDArray[np.float64]:
        """Return (P, P): the share of those that they decided alike; NaN where there are none."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return (self._both + self._balance) / (2 * self._both)
