"""Who loses under each way to bring groups together. Groups too small to say anything of are refused, by name."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from critic.statistics.groups.aggregations import AGGREGATIONS, EQUAL, Aggregation, Profile
from critic.statistics.intervals import FEW, Figure, Share
from critic.statistics.policies.change import mean_change

_Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Loss:
    """What one group loses. ``overruled``: of the items in which it prefers one alternative, how often that is not
    chosen, shares counted as shares. ``regret``: how much lower it scores what is chosen than what it likes best.
    Items are the clusters. Both are None where the group is refused, with ``refusal``.
    """

    group: str
    people: int
    overruled: Figure | None
    regret: Figure | None
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class WayOutcome:
    """What one way makes of all items: ``undecided`` counts those in which it decides nothing."""

    aggregation: Aggregation
    items: int
    undecided: int
    losses: tuple[Loss, ...]

    @property
    def loser(self) -> Loss | None:
        """The group that is overruled most, where that is certain: its interval lies above another group's."""
        known = [
            (loss, loss.overruled)
            for loss in self.losses
            if loss.overruled is not None and not loss.overruled.is_of_few
        ]
        if len(known) < 2:
            return None
        most, figure = max(known, key=lambda one: one[1].estimate)
        least = min(other.high for _, other in known)
        return most if figure.low > least else None


def outcomes(profile: Profile, names: tuple[str, ...] = tuple(AGGREGATIONS)) -> list[WayOutcome]:
    """Return what each named way makes of ``profile``, and who loses."""
    means, people = profile.means(), profile.people()
    return [_outcome(AGGREGATIONS[name], profile, means, people) for name in names]


def _outcome(way: Aggregation, profile: Profile, means: _Floats, people: NDArray[np.int64]) -> WayOutcome:
    decided = way.decide(profile)
    undecided = int(np.isnan(decided[:, 0]).sum())
    # Where one group alone has voted, nobody is there to overrule it.
    is_shared = (~np.isnan(means[:, :, 0])).sum(axis=1) > 1
    scores = np.where(is_shared[:, None, None], means, np.nan) if len(profile.groups) > 1 else means
    losses = [_loss(name, int(people[place]), scores[:, place], decided) for place, name in enumerate(profile.groups)]
    return WayOutcome(way, profile.items, undecided, tuple(losses))


def _loss(name: str, people: int, scores: _Floats, decided: _Floats) -> Loss:
    is_shared = ~np.isnan(scores[:, 0])
    known = is_shared & ~np.isnan(decided[:, 0])
    if people < FEW:
        counted = "1 person" if people == 1 else f"{people} people"
        return Loss(name, people, None, None, f"{counted}: nothing can be said of fewer than {FEW}")
    if known.sum() < FEW:
        items = f"{is_shared.sum()} items that other groups labelled, too"
        if is_shared.sum() >= FEW:
            items = f"{known.sum()} items of which anything is decided"
        return Loss(name, people, None, None, f"{items}: nothing can be said of fewer than {FEW}")
    overruled, regrets = Share(), []
    for mine, shares in zip(scores[known], decided[known], strict=True):
        best = mine.max()
        favourites = mine >= best - EQUAL
        if favourites.sum() < len(mine):
            overruled.count(float(1 - shares[favourites].sum()))
        regrets.append(float(best - mine @ shares))
        overruled.end_cluster()
    return Loss(name, people, overruled.figure(), _regret(regrets))


def _regret(regrets: list[float]) -> Figure | None:
    """The mean over items of what is lost, from 0 to 1 as scores are; its interval has a width where all lose alike."""
    change = mean_change(np.clip(regrets, 0.0, 1.0), range(len(regrets)))  # a difference of shares may round below 0
    return None if change is None else replace(change, low=max(0.0, change.low))
