"""Annotators whose labels say nothing: whoever answers without reading agrees with others as chance would have it.

Raykar and Yu, Eliminating Spammers and Ranking Annotators for Crowdsourced Labeling Tasks (2012), call a spammer one
whose label does not depend on the truth. Here the truth is what others say of the same item; an annotator's agreement
with them is set against what their own answers, dealt out to the items blindly, would reach.
"""

from dataclasses import dataclass

import numpy as np

from critic.statistics.intervals import FEW, Figure
from critic.statistics.reliability.coefficient import figure
from critic.statistics.reliability.kappa import cohen
from critic.statistics.reliability.ratings import Floats, Ratings

SAYS_NOTHING = 0.2  # of kappa with others: whose whole interval lies below adds next to nothing


@dataclass(frozen=True, slots=True)
class Informed:
    """How far an annotator agrees with others beyond chance: Cohen's kappa with their most common answer.

    ``kappa`` is None where it is not defined: others, or the annotator, gave one value only.
    """

    rater: int
    labels: int
    agreement: float | None
    kappa: Figure | None
    constant: bool

    @property
    def says_nothing(self) -> bool:
        """Whether it is shown that the labels say next to nothing: of few labels nothing is."""
        if self.labels < FEW:
            return False
        return self.constant if self.kappa is None else self.kappa.high < SAYS_NOTHING


def informed(ratings: Ratings) -> tuple[Informed, ...]:
    """Return how much each rater's labels say, against the most common answer of the others to the same unit.

    Units that nobody else rated, and those where others are split evenly, are left out.
    """
    counts = ratings.counts()
    return tuple(_one(ratings, counts, rater) for rater in range(ratings.number_of_raters))


def _one(ratings: Ratings, counts: Floats, rater: int) -> Informed:
    mine = ratings.raters == rater
    units, codes = ratings.units[mine], ratings.codes[mine]
    others = counts[units].copy()
    others[np.arange(units.size), codes] -= 1
    most = others.max(axis=1, initial=0)
    clear = (most > 0) & ((others == most[:, None]).sum(axis=1) == 1)
    said, theirs = codes[clear], others.argmax(axis=1)[clear] if units.size else codes[clear]
    constant = bool(np.unique(said).size == 1 and np.unique(theirs).size > 1)
    agreement = float((said == theirs).mean()) if said.size else None
    # Where one value alone is given, chance explains all of the agreement.
    kappa = None if constant or not said.size else figure(cohen(said, theirs), said.size)
    return Informed(rater, int(said.size), agreement, kappa, constant)
