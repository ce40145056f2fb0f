"""The items of a project on which people disagree most."""

import heapq
from collections.abc import Iterable, Sequence
from itertools import combinations
from math import fsum

from pydantic import BaseModel

from critic.feedback import RatingLabel
from service.labels.agreement import Rater, Values
from service.labels.label_query import StoredFeedback

KEPT = 500  # items, those with the most disagreement
SHOWN_CHARACTERS = 300  # of a prompt, in a list


class Contested(BaseModel):
    """An item, and how far apart its people's labels are: 0 where all are equal, 1 where two say the very opposite.

    It is the mean distance of two people's values, on a scale from 0 to 1.
    """

    item: str
    prompt: str
    disagreement: float
    labels: int


class MostContested:
    """Keeps the `KEPT` items with the most disagreement, in memory that doesn't grow."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, str, str]] = []
        self.items = 0

    def add(self, labels: Sequence[StoredFeedback], units: Iterable[Values]) -> None:
        """Add one item: its labels, and their units."""
        apart = _apart(units, _width(labels))
        if apart is None:
            return
        self.items += 1
        people = sum(label.source == "human" for label in labels)
        asked = labels[0].prompt.messages[-1].text[:SHOWN_CHARACTERS]
        entry = (apart, people, labels[0].item, asked)
        if len(self._heap) < KEPT:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heappushpop(self._heap, entry)

    def figures(self) -> list[Contested]:
        """Return the items, the most contested first."""
        ordered = sorted(self._heap, key=lambda entry: (-entry[0], -entry[1], entry[2]))
        return [
            Contested(item=item, prompt=prompt, disagreement=apart, labels=people)
            for apart, people, item, prompt in ordered
        ]


def _width(labels: Sequence[StoredFeedback]) -> float:
    """How far apart two values can be."""
    scales = [label.label.scale for label in labels if isinstance(label.label, RatingLabel)]
    return max((scale.max - scale.min for scale in scales), default=1.0) or 1.0


def _apart(units: Iterable[Values], width: float) -> float | None:
    """The mean distance of two people's values; None where no two people labelled one unit."""
    distances: list[float] = []
    for unit in units:
        people = sorted((rater for rater in unit if rater.source == "human"), key=_named)
        distances += (abs(unit[first] - unit[second]) / width for first, second in combinations(people, 2))
    return fsum(distances) / len(distances) if distances else None


def _named(rater: Rater) -> str:
    return rater.annotator or ""
