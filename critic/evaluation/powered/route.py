"""Which items people should see within a budget, with the probability of each, and what to do with those they saw.

Where people have labelled enough items, how far the judge was off there says how much a doubt is worth. Items that they
have labelled already count as drawn for certain, so that figures over all items stay unbiased.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from critic.evaluation.powered.items import ComparedItem, Gathered, by_group
from critic.evaluation.powered.signals import signals
from critic.statistics.intervals import FEW
from critic.statistics.prediction.routing import doubt, drawn, expected_errors, probabilities
from critic.statistics.prediction.verdicts import Verdict, slips, verdicts


@dataclass(frozen=True, slots=True)
class Routed:
    """One item: its chance to be shown, whether it was drawn, and why it is doubtful.

    ``chance`` is 1 for items that people have labelled. ``verdicts`` say what to do with those, by group.
    """

    one: ComparedItem
    chance: float
    is_drawn: bool
    doubt: float
    signals: Mapping[str, float | None]
    verdicts: Mapping[str, Verdict]


@dataclass(frozen=True, slots=True)
class Route:
    """All items that a judge has an opinion on, in their order. ``pilot`` counts those that doubts were weighed by.

    ``slips`` is by group the probability that a label is a slip, where two people labelled an item.
    """

    items: tuple[Routed, ...]
    budget: int
    seed: int
    pilot: int
    slips: Mapping[str, float]

    @property
    def drawn(self) -> list[Routed]:
        """Those that people should see, the most doubtful first."""
        return sorted((one for one in self.items if one.is_drawn), key=lambda one: -one.doubt)


EVERYBODY = "everybody"
"""Whose labels a verdict is of, where nobody has a group."""


def route(gathered: Gathered, budget: int, seed: int) -> Route:
    """Draw a ``budget`` of items. Raises ValueError for a budget below 1, and where no item is left to be labelled."""
    items = [one for one in gathered.items if one.readings]
    told = signals(items)
    doubts = doubt(told) if items else np.zeros(0)
    is_labelled = np.array([bool(one.item.said) for one in items], bool)
    left = np.flatnonzero(~is_labelled)
    if not left.size:
        raise ValueError("no item is left that a judge has an opinion on and people haven't labelled")
    pilot = np.flatnonzero(is_labelled)
    sizes = expected_errors(told, pilot, [_off(items[place]) for place in pilot])
    chances = np.ones(len(items))
    chances[left] = probabilities(sizes[left], budget)
    is_drawn = np.zeros(len(items), bool)
    is_drawn[left[drawn(chances[left], seed)]] = True
    to_do, slip = decided(gathered)
    routed = []
    for place, one in enumerate(items):
        known = {name: _known(values[place]) for name, values in told.items()}
        routed.append(
            Routed(
                one=one,
                chance=float(chances[place]),
                is_drawn=bool(is_drawn[place]),
                doubt=float(doubts[place]),
                signals=known,
                verdicts=to_do.get(one.item.id, {}),
            )
        )
    return Route(tuple(routed), budget, seed, pilot.size if pilot.size >= FEW else 0, slip)


def _off(one: ComparedItem) -> float:
    probability, share = one.probability(), one.share()
    assert probability is not None and share is not None
    return share - probability


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def decided(gathered: Gathered) -> tuple[dict[str, dict[str, Verdict]], dict[str, float]]:
    """Return what to do with each labelled item, by its id and group, and each group's slips."""
    to_do: dict[str, dict[str, Verdict]] = {}
    slip_of: dict[str, float] = {}
    for group in by_group(gathered, pool=False):
        counted = {one.item.id: _counts(one, group) for one in gathered.items}
        own = {item: both for item, both in counted.items() if sum(both) > 0}
        first = [a for a, _ in own.values()]
        second = [b for _, b in own.values()]
        if not any(a + b > 1 for a, b in own.values()):
            continue
        name = group or EVERYBODY
        slip_of[name] = min(0.5, slips(first, second))
        for item, verdict in zip(own, verdicts(first, second, slip_of[name]), strict=True):
            to_do.setdefault(item, {})[name] = verdict
    return to_do, slip_of


def _counts(one: ComparedItem, group: str | None) -> tuple[float, float]:
    """How many people prefer each of the answers, ties as a half of each."""
    said = [value for name, value in one.item.said.items() if group is None or one.item.groups.get(name) == group]
    return sum(said), len(said) - sum(said)
