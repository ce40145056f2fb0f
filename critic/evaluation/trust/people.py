"""People's comparisons, item by item: who said what of which two answers."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from base.digest import digest, unit_interval
from critic.feedback import ComparisonLabel, Feedback
from critic.records import Prompt, Response
from critic.statistics.reliability.ratings import Ratings

CHOICES = {"first": 1.0, "tie": 0.5, "second": 0.0}


@dataclass(slots=True)
class LabelledItem:
    """Two answers to a prompt, and what people said of them: 1 where the first is better, 0, or 0.5 for a tie.

    Which one is the first is drawn by the item: no side is by habit. ``said`` has the last label of each annotator, who
    is named by number where the file names nobody.
    """

    id: str
    prompt: Prompt
    first: Response
    second: Response
    said: dict[str, float] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """How far people prefer the first: the mean of what they said."""
        return sum(self.said.values()) / len(self.said)

    def share_of(self, group: str) -> float | None:
        """How far the people of a group prefer the first; None where none of them was asked."""
        values = [value for name, value in self.said.items() if self.groups.get(name) == group]
        return sum(values) / len(values) if values else None


@dataclass(frozen=True, slots=True)
class People:
    """The items in the order of the file; how many labels were given again, or are of another kind."""

    items: tuple[LabelledItem, ...]
    repeated: int
    other_kinds: int

    @property
    def labels(self) -> int:
        """One of each person for each item."""
        return sum(len(item.said) for item in self.items)

    @property
    def sha256(self) -> str:
        """Hash of what was judged by whom, and of what they said."""
        return digest([[item.id, sorted(item.said.items())] for item in sorted(self.items, key=lambda item: item.id)])

    @property
    def annotators(self) -> list[str]:
        """Everybody's name."""
        return sorted({name for item in self.items for name in item.said})

    @property
    def groups(self) -> list[str]:
        """The names of all groups."""
        return sorted({group for item in self.items for group in item.groups.values()})

    def prompts(self) -> list[str]:
        """Each item's prompt, which is its cluster."""
        return [item.prompt.key for item in self.items]

    def ratings(self, *, ties: bool) -> Ratings:
        """Everybody's labels; without ``ties`` preferences alone."""
        rows = [
            (place, name, value)
            for place, item in enumerate(self.items)
            for name, value in item.said.items()
            if ties or value != 0.5
        ]
        places, names, values = zip(*rows, strict=True) if rows else ((), (), ())
        return Ratings.of(list(places), np.array(names, dtype=str), list(values))


def people(labels: Iterable[Feedback]) -> People:
    """Gather the comparisons that people gave. Of one person's two labels of an item the last counts.

    A label without an annotator is somebody's of their own.
    """
    items: dict[str, LabelledItem] = {}
    repeated, others = 0, 0
    for label in labels:
        if label.source != "human" or not isinstance(label.label, ComparisonLabel) or label.label.choice is None:
            others += 1
            continue
        item = _item(items, label)
        turned = label.in_order_of([item.first.text, item.second.text])
        name = label.annotator or f"unnamed {len(item.said) + 1}"
        repeated += name in item.said
        choice = turned.label.choice if isinstance(turned.label, ComparisonLabel) else None
        item.said[name] = CHOICES[choice or "tie"]
        if label.group is not None:
            item.groups[name] = label.group
    return People(tuple(items.values()), repeated, others)


def _item(items: dict[str, LabelledItem], label: Feedback) -> LabelledItem:
    if label.item not in items:
        items[label.item] = blank(label)
    return items[label.item]


def blank(label: Feedback) -> LabelledItem:
    """Return what a comparison is about, of which nobody has said anything yet.

    Its answers stand as its hash says: in many files the better one is always the first.
    """
    is_turned = unit_interval("order", label.item) < 0.5
    responses = sorted(label.responses, key=lambda response: response.text, reverse=is_turned)
    return LabelledItem(label.item, label.prompt, responses[0], responses[1])
