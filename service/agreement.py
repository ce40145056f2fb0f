"""How far people and judges agree on a project's items, which way they lean, and how fast they are.

Labels come item by item, in constant memory but for the pairs of raters. Each item's labels are turned to one order of
its responses; what they say of it are its units: the comparison itself, each rated response, each pair of a ranking.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations, groupby
from typing import NamedTuple

from critic.feedback import ComparisonLabel, Feedback, RankingLabel, RatingLabel, ThumbsLabel
from critic.statistics.intervals import Share
from critic.statistics.raters import Coincidences, Kappa, Level
from service.label_query import StoredFeedback

LEVELS: dict[str, tuple[Level, ...]] = {
    "comparison": ("nominal", "ordinal"),
    "ranking": ("nominal", "ordinal"),
    "rating": ("nominal", "ordinal", "interval"),
    "thumbs": ("nominal",),
}
"""By kind, as what its values can be compared. Kinds in words have no agreement."""
MOST_RATERS = 100  # raters between whom pairs are counted, of the first that labelled
CHOICES = {"first": 1.0, "tie": 0.5, "second": 0.0}


class Rater(NamedTuple):
    """A person's id, or a judge's name."""

    source: str
    annotator: str | None


class Rated:
    """One rater's figures."""

    def __init__(self) -> None:
        self.labels = 0
        self.group: str | None = None
        self.with_people, self.first_lean, self.longer_lean = Share(), Share(), Share()

    def shares(self) -> tuple[Share, ...]:
        """Everything that is counted by item."""
        return self.with_people, self.first_lean, self.longer_lean


class Reliability:
    """Agreement among several raters."""

    def __init__(self) -> None:
        self.agreement, self.coincidences = Share(), Coincidences()

    def add(self, values: Sequence[float]) -> None:
        """Add one unit's values, one a rater."""
        self.coincidences.add(values)
        for first, second in combinations(values, 2):
            self.agreement.count(first == second)


class Agreement:
    """The figures of one project's labels, which must come sorted by item."""

    def __init__(self, labels: Iterable[StoredFeedback]) -> None:
        self.items = 0
        self.labels = 0
        self.people, self.everyone = Reliability(), Reliability()
        self.raters: dict[Rater, Rated] = {}
        self.pairs: dict[tuple[Rater, Rater], Kappa] = {}
        for _, item in groupby(labels, key=lambda label: label.item):
            self._add(list(item))

    def _add(self, labels: Sequence[StoredFeedback]) -> None:
        self.items += 1
        self.labels += len(labels)
        units: dict[object, dict[Rater, float]] = {}
        for label in labels:
            rater = Rater(label.source, label.annotator)
            rated = self.raters.setdefault(rater, Rated())
            rated.labels += 1
            rated.group = label.group or rated.group
            _lean(label, rated)
            for unit, value in _values(label.in_order_of([response.text for response in labels[0].responses])):
                units.setdefault(unit, {})[rater] = value
        for unit in units.values():
            self._add_unit(unit)
        for share in self._shares():
            share.end_cluster()

    def _add_unit(self, unit: dict[Rater, float]) -> None:
        people = {rater: value for rater, value in unit.items() if rater.source == "human"}
        self.everyone.add(list(unit.values()))
        self.people.add(list(people.values()))
        for rater, value in unit.items():
            for other, theirs in people.items():
                if other != rater:
                    self.raters[rater].with_people.count(value == theirs)
        for first, second in combinations(sorted(unit, key=str), 2):
            if (first, second) in self.pairs or len(self.raters) <= MOST_RATERS:
                self.pairs.setdefault((first, second), Kappa()).add(unit[first], unit[second])

    def _shares(self) -> Iterator[Share]:
        yield self.people.agreement
        yield self.everyone.agreement
        for rated in self.raters.values():
            yield from rated.shares()


def _values(label: Feedback) -> Iterator[tuple[object, float]]:
    """What a label says of each unit; nothing where it wasn't read, or is in words."""
    match label.label:
        case ComparisonLabel(choice=str(choice)):
            yield "comparison", CHOICES[choice]
        case RatingLabel(response=response, value=value, scale=scale):
            yield (label.responses[response].text, scale.min, scale.max), value
        case ThumbsLabel(response=response, value=value):
            yield label.responses[response].text, float(value == "up")
        case RankingLabel(ranks=ranks):
            for first, second in combinations(range(len(ranks)), 2):
                yield (first, second), 0.5 + 0.5 * ((ranks[first] < ranks[second]) - (ranks[first] > ranks[second]))


def _lean(label: StoredFeedback, rated: Rated) -> None:
    """Count whether the preferred response is the one that was shown first, and whether it is the longer one."""
    if not isinstance(label.label, ComparisonLabel) or label.label.outcome != "preference":
        return
    chosen = 0 if label.label.choice == "first" else 1
    shown_first = label.shown[0] if label.shown else 0
    rated.first_lean.count(chosen == shown_first)
    lengths = [len(response.text) for response in label.responses]
    if lengths[0] != lengths[1]:
        rated.longer_lean.count(lengths[chosen] == max(lengths))
