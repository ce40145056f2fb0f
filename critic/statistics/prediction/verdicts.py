"""What to do with an item whose labels differ: collect more, or keep the share, because people differ.

Some labels are slips. If a label is a slip with probability e, m labels of an item with one right answer split by a
binomial distribution. A split that slips alone make unlikely says that people differ; one whose leading answer is, by
those slips, almost surely the right one is settled; any other needs more labels (a sequential test of two hypotheses,
as in Wald, Sequential Tests of Statistical Hypotheses, 1945).
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from critic.statistics.reliability.ratings import Floats

Verdict = Literal["settled", "collect more", "people differ, keep the share"]
UNLIKELY = 0.05
SURE = 0.95
FEWEST = 3  # labels, below which nothing is said of an item


def slips(first: ArrayLike, second: ArrayLike) -> float:
    """Return the probability that a label is a slip, from how often two labels of one item differ, over all items.

    Of two labels of an item with one right answer, a share 2 e (1 - e) differs. ``first`` and ``second`` (U,) count
    each item's labels. Items on which people differ raise it: what is called a difference is then surely one. Raises
    ValueError where no item has two labels.
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    m = a + b
    if not (m > 1).any():
        raise ValueError("no item has two labels")
    pairs = m * (m - 1) / 2
    return slip(float((a * b).sum() / pairs.sum()))


def slip(differ: float) -> float:
    """Return the probability that a label is a slip, where a share ``differ`` of two labels of one item differ."""
    return float((1 - np.sqrt(max(0.0, 1 - 2 * differ))) / 2)


def verdicts(first: ArrayLike, second: ArrayLike, slip: float) -> list[Verdict]:
    """Return what to do with each item; ``first`` and ``second`` (U,) count its labels, ties as a half of each.

    ``slip`` is the probability that a single label is a slip, at most 0.5.
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if not 0 <= slip <= 0.5:
        raise ValueError(f"a slip's probability is {slip}; expected 0 to 0.5")
    fewer, m = np.minimum(a, b), a + b
    unlikely, leads = _at_least(fewer, m, slip), _leading(a, b, slip)
    return [_verdict(count, chance, sure) for count, chance, sure in zip(m.tolist(), unlikely, leads, strict=True)]


def _verdict(labels: float, chance: float, leading: float) -> Verdict:
    if labels >= FEWEST and chance < UNLIKELY:
        return "people differ, keep the share"
    if labels >= FEWEST and leading > SURE:
        return "settled"
    return "collect more"


def _at_least(fewer: Floats, m: Floats, slip: float) -> list[float]:
    """The probability that so many labels of an item, or more, are slips; half slips count as whole ones."""
    from scipy.special import bdtrc  # slow to import, and a server starts without it

    return [float(bdtrc(np.ceil(k) - 1, int(n), slip)) if k > 0 else 1.0 for k, n in zip(fewer, m, strict=True)]


def _leading(a: Floats, b: Floats, slip: float) -> list[float]:
    """The probability that the leading answer is the right one, both being as likely before."""
    odds = np.abs(a - b) * np.log(max(1e-12, 1 - slip) / max(1e-12, slip))
    leading: list[float] = (1 / (1 + np.exp(-np.minimum(odds, 700)))).tolist()
    return leading
