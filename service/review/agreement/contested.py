"""The items of a project on which people disagree most."""

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from math import fsum

from pydantic import BaseModel

from critic.feedback import RatingLabel
from service.labels.agreement import Group, Rater, Values
from service.labels.label_query import StoredFeedback

KEPT = 500  # items, those with the most disagreement
SHOWN_CHARACTERS = 300  # of a prompt, in a list


class ContestedGroup(BaseModel):
    """The people of one ``group`` (null: those of none): their ``labels``, and their distance from each other.

    ``disagreement`` is null where the group has one label of the item.
    """

    group: str | None
    disagreement: float | None
    labels: int


class Contested(BaseModel):
    """An item, and how far apart its people's labels are: 0 where all are equal, 1 where two say the very opposite.

    It is the mean distance of two people's values, on a scale from 0 to 1. ``disagreement`` and ``labels`` are of the
    whole pool of people; ``groups`` has those of each group apart: where it is 0 in each, groups differ, not people.
    """

    item: str
    prompt: str
    disagreement: float
    labels: int
    groups: list[ContestedGroup]


class MostContested:
    """Keeps the `KEPT` items with the most disagreement, in memory that doesn't grow."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, str, str, list[ContestedGroup]]] = []
        self.items = 0

    def add(self, labels: Sequence[StoredFeedback], units: Iterable[Values]) -> None:
        """Add one item: its labels, and their units."""
        said, width = list(units), _width(labels)
        apart = _apart(said, width)
        if apart is None:
            return
        self.items += 1
        people = sum(label.source == "human" for label in labels)
        asked = labels[0].prompt.messages[-1].text[:SHOWN_CHARACTERS]
        entry = (apart, people, labels[0].item, asked, _by_group(labels, said, width))
        if len(self._heap) < KEPT:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heappushpop(self._heap, entry)

    def figures(self) -> list[Contested]:
        """Return the items, the most contested first."""
        ordered = sorted(self._heap, key=lambda entry: (-entry[0], -entry[1], entry[2]))
        return [
            Contested(item=item, prompt=prompt, disagreement=apart, labels=people, groups=groups)
            for apart, people, item, prompt, groups in ordered
        ]


def _width(labels: Sequence[StoredFeedback]) -> float:
    """How far apart two values can be."""
    scales = [label.label.scale for label in labels if isinstance(label.label, RatingLabel)]
    return max((scale.max - scale.min for scale in scales), default=1.0) or 1.0


def _by_group(labels: Sequence[StoredFeedback], said: Sequence[Values], width: float) -> list[ContestedGroup]:
    """Each group's people apart, by name; those of none first."""
    group_of = {Rater(label.source, label.annotator): label.group for label in labels if label.source == "human"}
    counted = Counter(label.group for label in labels if label.source == "human")
    return [
        ContestedGroup(group=group, disagreement=_apart(_of_group(said, group_of, group), width), labels=count)
        for group, count in sorted(counted.items(), key=lambda one: one[0] or "")
    ]


def _of_group(said: Iterable[Values], group_of: Mapping[Rater, Group], group: Group) -> Iterable[Values]:
    for unit in said:
        yield {rater: value for rater, value in unit.items() if rater in group_of and group_of[rater] == group}


def _apart(units: Iterable[Values], width: float) -> float | None:
    """The mean distance of two people's values; None where no two people labelled one unit."""
    distances: list[float] = []
    for unit in units:
        people = sorted((rater for rater in unit if rater.source == "human"), key=_named)
        distances += (abs(unit[first] - unit[second]) / width for first, second in combinations(people, 2))
    return fsum(distances) / len(distances) if distances else None


def _named(rater: Rater) -> str:
    return rater.annotator or ""
