"""The mean of paired differences that lie between -1 and 1, with an interval that is right where they hardly vary.

Where every prompt changes alike, the variance is 0, and Student's interval has no width: as if nobody else could ever
differ. Agresti and Min (2005) put half a discordant pair on either side beside what was seen; here a prompt's mean
difference takes the place of a pair.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from critic.statistics.intervals import Figure, student


def mean_change(differences: ArrayLike, clusters: Sequence[int]) -> Figure | None:
    """Return the mean over ``clusters`` of their mean difference, with its 95 % interval; None for no difference.

    Raises ValueError for shapes that differ and differences outside -1 and 1.
    """
    values = np.asarray(differences, np.float64)
    if values.ndim != 1 or len(clusters) != values.size:
        raise ValueError(f"expected a cluster for each difference: {len(clusters)}, {values.shape}")
    if not np.all(np.abs(values) <= 1):
        raise ValueError("a difference of shares is a number from -1 to 1")
    if not values.size:
        return None
    _, of = np.unique(np.asarray(clusters), return_inverse=True)
    means = np.bincount(of, weights=values) / np.bincount(of)
    count = len(means)
    more = count + 2
    centre = float(means.sum()) / more
    variance = (float((means**2).sum()) + 1 - float(means.sum()) ** 2 / more) / more**2
    half = student(count - 1) * math.sqrt(variance) if count > 1 else math.inf
    estimate = float(means.mean())
    low, high = max(-1.0, min(estimate, centre - half)), min(1.0, max(estimate, centre + half))
    return Figure(estimate, low, high, values.size, count)
