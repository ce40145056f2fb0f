"""The items of a project on which people disagree most, within their groups and between them, and what to do there."""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import fsum

from pydantic import BaseModel

from critic.feedback import KINDS, RatingLabel
from critic.statistics.prediction.verdicts import Verdict, slip, verdicts
from service.labels.agreement import Group, Rater, Values
from service.labels.label_query import StoredFeedback

KEPT = 500  # items, those with the most disagreement
SHOWN_CHARACTERS = 300  # of a prompt, in a list
MOST_SLIPS = 0.5  # of all labels: were there more, people would mean the opposite of what they say


class ContestedGroup(BaseModel):
    """An item by the people of one ``group`` (null: those of none): their labels, and how far apart these are.

    ``verdict`` says what to do, where labels take one of two sides; it is null where that can't be told.
    """

    group: str | None
    labels: int
    disagreement: float | None
    verdict: Verdict | None


class Contested(BaseModel):
    """An item, and how far apart its people's labels are: 0 where all are equal, 1 where two say the very opposite.

    It is the mean distance of two people's values, on a scale from 0 to 1; ``between`` is that of two people of
    different groups, null where there are none.
    """

    item: str
    prompt: str
    disagreement: float
    between: float | None
    labels: int
    groups: list[ContestedGroup]


@dataclass(frozen=True, slots=True)
class _Said:
    """What the people of one group said of an item: ``labels`` and their mean distance.

    ``sides`` counts those on the one side and on the other, ties as a half of each; None for labels without sides.
    """

    labels: int
    apart: float | None
    sides: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class _Item:
    prompt: str
    between: float | None
    said: Mapping[Group, _Said]


class MostContested:
    """Keeps the `KEPT` items with the most disagreement, in memory that doesn't grow."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, str, _Item]] = []  # items differ, so that they are never compared
        self._differing: dict[Group, tuple[float, float]] = {}  # pairs of a group's labels that differ, and all
        self.items = 0

    def add(self, labels: Sequence[StoredFeedback], units: Iterable[Values]) -> None:
        """Add one item: its labels, and their units."""
        group_of = {Rater(label.source, label.annotator): label.group for label in labels}
        people = []
        for unit in units:
            people.append({rater: value for rater, value in unit.items() if rater.source == "human"})
        within, between = _distances(people, group_of, _width(labels))
        said = _said(people, group_of, within, is_two_sided=KINDS[labels[0].kind].two_sided)
        self._count(said)
        distances = [*between, *(distance for own in within.values() for distance in own)]
        apart = _mean(distances)
        if apart is None:
            return
        self.items += 1
        asked = labels[0].prompt.messages[-1].text[:SHOWN_CHARACTERS]
        count = sum(label.source == "human" for label in labels)
        entry = (apart, count, labels[0].item, _Item(asked, _mean(between), said))
        if len(self._heap) < KEPT:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heappushpop(self._heap, entry)

    def _count(self, said: Mapping[Group, _Said]) -> None:
        for group, own in said.items():
            if own.sides is not None:
                differ, pairs = self._differing.get(group, (0.0, 0.0))
                total = sum(own.sides)
                self._differing[group] = (differ + own.sides[0] * own.sides[1], pairs + total * (total - 1) / 2)

    def figures(self) -> list[Contested]:
        """Return the items, the most contested first."""
        slips = {group: min(MOST_SLIPS, slip(differ / n)) for group, (differ, n) in self._differing.items() if n}
        ordered = sorted(self._heap, key=lambda entry: (-entry[0], -entry[1], entry[2]))
        contested = []
        for apart, count, item, item_labels in ordered:
            contested.append(
                Contested(
                    item=item,
                    prompt=item_labels.prompt,
                    disagreement=apart,
                    between=item_labels.between,
                    labels=count,
                    groups=[
                        _told(group, item_labels.said[group], slips.get(group))
                        for group in sorted(item_labels.said, key=_name)
                    ],
                )
            )
        return contested


def _told(group: Group, said: _Said, slips: float | None) -> ContestedGroup:
    verdict: Verdict | None = None
    if said.sides is not None and slips is not None:
        [verdict] = verdicts([said.sides[0]], [said.sides[1]], slips)
    return ContestedGroup(group=group, labels=said.labels, disagreement=said.apart, verdict=verdict)


def _name(group: Group) -> str:
    return group or ""


def _width(labels: Sequence[StoredFeedback]) -> float:
    """How far apart two values can be."""
    scales = [label.label.scale for label in labels if isinstance(label.label, RatingLabel)]
    return max((scale.max - scale.min for scale in scales), default=1.0) or 1.0


def _distances(
    people: Sequence[Values], group_of: Mapping[Rater, Group], width: float
) -> tuple[dict[Group, list[float]], list[float]]:
    """The distances of each two people's values: by group of those in one, and of those in two."""
    within: dict[Group, list[float]] = {}
    between: list[float] = []
    for unit in people:
        for first, second in combinations(sorted(unit, key=_called), 2):
            group, distance = group_of.get(first), abs(unit[first] - unit[second]) / width
            if group == group_of.get(second):
                within.setdefault(group, []).append(distance)
            else:
                between.append(distance)
    return within, between


def _said(
    people: Sequence[Values],
    group_of: Mapping[Rater, Group],
    within: Mapping[Group, Sequence[float]],
    *,
    is_two_sided: bool,
) -> dict[Group, _Said]:
    values: dict[Group, list[float]] = {}
    raters: dict[Group, set[Rater]] = {}
    for unit in people:
        for rater, value in unit.items():
            group = group_of.get(rater)
            values.setdefault(group, []).append(value)
            raters.setdefault(group, set()).add(rater)
    return {
        group: _Said(
            labels=len(raters[group]),
            apart=_mean(within.get(group, ())),
            sides=(fsum(own), len(own) - fsum(own)) if is_two_sided else None,
        )
        for group, own in values.items()
    }


def _mean(distances: Sequence[float]) -> float | None:
    return fsum(distances) / len(distances) if distances else None


def _called(rater: Rater) -> str:
    return rater.annotator or ""
