"""Comparisons by people and by judges, item by item: two answers, and all that was said of which is better."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from critic.evaluation.trust.people import CHOICES, LabelledItem, blank
from critic.feedback import ComparisonLabel, Feedback
from critic.records import Vote


@dataclass(frozen=True, slots=True)
class JudgeReading:
    """What a judge said of an item: the probability that its first answer is better, for one group, and its votes."""

    judge: str
    group: str | None
    probability: float
    votes: tuple[Vote, ...] = ()


@dataclass(slots=True)
class ComparedItem:
    """An item with what people (``item.said``) and judges said of it; either may be missing."""

    item: LabelledItem
    readings: list[JudgeReading] = field(default_factory=list)

    def probability(self, group: str | None = None, judge: str | None = None) -> float | None:
        """Return the judges' mean probability that the first answer is better, or that of one ``judge`` alone.

        For a group the readings of that group count where there are any, else those of no group, else all of them.
        None where nobody judged.
        """
        own = [one for one in self.readings if judge is None or one.judge == judge]
        of_nobody = [one for one in own if one.group is None]
        chosen = [one for one in own if one.group == group] or of_nobody or own
        return sum(one.probability for one in chosen) / len(chosen) if chosen else None

    def share(self, group: str | None = None) -> float | None:
        """Return how far people prefer the first answer, those of a ``group`` alone if one is named; None without."""
        if group is not None:
            return self.item.share_of(group)
        return self.item.share if self.item.said else None

    def sign_of(self, model: str) -> int:
        """1 where the first answer alone is the model's, -1 where the second alone is, else 0."""
        return (self.item.first.model == model) - (self.item.second.model == model)


@dataclass(frozen=True, slots=True)
class Gathered:
    """All items, in the order in which they were met. ``repeated`` counts labels that a later one of the same took the
    place of, ``unread`` judges' comparisons without a probability, ``others`` labels of other kinds."""

    items: tuple[ComparedItem, ...]
    repeated: int
    unread: int
    others: int

    @property
    def groups(self) -> list[str]:
        """The names of people's groups."""
        return sorted({group for one in self.items for group in one.item.groups.values()})

    @property
    def judges(self) -> list[str]:
        """The judges' names."""
        return sorted({reading.judge for one in self.items for reading in one.readings})

    @property
    def models(self) -> list[str]:
        """The models whose answers stand against another's; those of which the data don't say who wrote them left out.

        Two answers of one model are no match.
        """
        both = ((one.item.first.model, one.item.second.model) for one in self.items)
        return sorted({model for pair in both if pair[0] != pair[1] for model in pair if model != UNNAMED})


UNNAMED = "given"
"""The model of an answer of which nobody said who wrote it."""


def gathered(labels: Iterable[Feedback]) -> Gathered:
    """Gather comparisons. Of two labels of one person, or one judge for one group, on an item the last counts."""
    items: dict[str, ComparedItem] = {}
    repeated, unread, others = 0, 0, 0
    for label in labels:
        if not isinstance(label.label, ComparisonLabel):
            others += 1
            continue
        if label.label.choice is None:
            unread += label.source == "ai"
            others += label.source != "ai"
            continue
        if label.item not in items:
            items[label.item] = ComparedItem(blank(label))
        one = items[label.item]
        turned = label.in_order_of([one.item.first.text, one.item.second.text])
        repeated += _judged(one, turned) if label.source == "ai" else _said(one, turned)
    return Gathered(tuple(items.values()), repeated, unread, others)


def _said(one: ComparedItem, label: Feedback) -> bool:
    """Take a person's label over; return whether it takes the place of another."""
    name = label.annotator or f"unnamed {len(one.item.said) + 1}"
    is_again = name in one.item.said
    assert isinstance(label.label, ComparisonLabel)
    one.item.said[name] = CHOICES[label.label.choice or "tie"]
    if label.group is not None:
        one.item.groups[name] = label.group
    return is_again


def _judged(one: ComparedItem, label: Feedback) -> bool:
    assert isinstance(label.label, ComparisonLabel)
    probability = label.label.first_is_better
    assert probability is not None  # a label without a choice was left out
    name = label.annotator or "a judge without a name"
    kept = [reading for reading in one.readings if (reading.judge, reading.group) != (name, label.group)]
    is_again = len(kept) < len(one.readings)
    one.readings = [*kept, JudgeReading(name, label.group, probability, label.label.votes)]
    return is_again


def by_group(gathered: Gathered, pool: bool) -> Sequence[str | None]:
    """The groups whose labels make figures of their own; None stands for everybody's, where nobody has a group.

    With ``pool`` everybody's labels are brought together, which has to be asked for.
    """
    return [None] if pool or len(gathered.groups) < 2 else gathered.groups
