"""How often one person agrees with what the others say: what no judge of them can pass by much.

A person is compared with the most common answer of the others on the same item, ties of theirs being half right, and a
judge in the same way with all people: so both figures are of one kind (leave-one-out, as in Zheng et al., Judging
LLM-as-a-Judge, 2023, section 4.2). Both are corrected for chance, too, as Cohen's kappa is.
"""

from dataclasses import dataclass

import numpy as np

from critic.statistics.intervals import Figure, Share
from critic.statistics.reliability.coefficient import figure
from critic.statistics.reliability.kappa import cohen
from critic.statistics.reliability.ratings import Ratings


@dataclass(frozen=True, slots=True)
class Ceiling:
    """People's agreement with other people, and the same corrected for chance; None where no item has two people."""

    agreement: Figure | None
    kappa: Figure | None


def ceiling(ratings: Ratings, clusters: np.ndarray | None = None) -> Ceiling:
    """Return the ceiling of comparisons, whose values are 1 (the first is better), 0.5 and 0, or any others.

    ``clusters`` (U,) numbers the prompt of each unit; without it each unit is one.
    """
    counts = ratings.counts()
    others = counts[ratings.units].copy()
    others[np.arange(ratings.units.size), ratings.codes] -= 1
    kept = others.sum(axis=1) > 0
    of_unit = np.arange(ratings.number_of_units) if clusters is None else np.asarray(clusters)
    units, codes, others = ratings.units[kept], ratings.codes[kept], others[kept]
    if not units.size:
        return Ceiling(None, None)
    leading = others == others.max(axis=1, keepdims=True)
    alike = leading[np.arange(units.size), codes] / leading.sum(axis=1)
    share = Share()
    order = np.argsort(of_unit[units], kind="stable")
    ends = np.flatnonzero(np.diff(of_unit[units][order])) + 1
    for cluster in np.split(alike[order], ends):
        for value in cluster:
            share.count(float(value))
        share.end_cluster()
    clear = leading.sum(axis=1) == 1
    theirs = others.argmax(axis=1)
    kappa = figure(cohen(codes[clear], theirs[clear]), int(clear.sum()), of_unit[units][clear])
    return Ceiling(share.figure(), kappa)
