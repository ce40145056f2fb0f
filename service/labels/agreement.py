"""How far people and judges agree on a project's items, which way they lean, and how fast they are.

Groups of people stay apart: what two of different groups say is no disagreement within either. Beside each group's
figures stand those of everybody, which only who asks for them by name gets to see where there are several groups.

Labels come item by item, in memory that grows with raters only. Each item's labels are turned to one order of its
responses; what they say of it are its units: the comparison itself, each rated response, each pair of a ranking.

What raters and responses multiply to is bounded: a ranking of 2,000 has two million pairs. Of long rankings pairs are
drawn, the same for all raters of an item; that the figures are of fewer units is seen by their number.
"""

import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import combinations, groupby
from typing import NamedTuple

from base.errors import InputError
from critic.feedback.base import Label, Unit
from critic.statistics.intervals import Share
from critic.statistics.raters import Coincidences, Kappa
from service.labels.label_query import StoredFeedback

MOST_RATERS = 1000  # that have figures of their own, of the first that labelled
MOST_PAIRED = 100  # raters between whom pairs are counted, likewise
PAIRS_OF_A_RANKING = 5000  # of its responses: all of 100
VALUES_OF_AN_ITEM = 200_000  # pairs of responses times the raters that ranked them
MOST_PRINCIPLES = 500  # that have figures of their own, in all groups together, of the first that were answered for
MOST_GROUPS = 100  # that have figures of their own, of the first that labelled
MOST_VALUES = 10_000  # different ratings: each is kept


class Rater(NamedTuple):
    """A person's id, or a judge's name."""

    source: str
    annotator: str | None


class Counted(Share):
    """A share whose observations may come many at once."""

    __slots__ = ()

    def add(self, hits: int, n: int) -> None:
        """Add ``n`` observations to the current cluster, of which ``hits`` hold."""
        self._x += hits
        self._size += n


class RatedBy:
    """One rater's figures."""

    def __init__(self) -> None:
        self.labels = 0
        self.unsure = 0
        self.group: str | None = None
        self.with_people, self.within_group = Counted(), Counted()
        self.first_lean, self.longer_lean = Counted(), Counted()

    def shares(self) -> tuple[Counted, ...]:
        """Everything that is counted by item."""
        return self.with_people, self.within_group, self.first_lean, self.longer_lean


class Reliability:
    """Agreement among several raters."""

    def __init__(self) -> None:
        self.agreement, self.coincidences = Counted(), Coincidences()

    def add(self, values: Sequence[float]) -> None:
        """Add one unit's values, one a rater."""
        self.coincidences.add(values)
        equal = sum(n * (n - 1) // 2 for n in Counter(values).values())
        self.agreement.add(equal, len(values) * (len(values) - 1) // 2)


class Together:
    """People whose values may be set against each other: how far they agree, and by each principle."""

    def __init__(self) -> None:
        self.people = Reliability()
        self.by_principle: dict[str, Reliability] = {}


Group = str | None
"""Whose values people's labels speak for; None where they say nothing of it."""

Values = Mapping[Rater, float]
"""What raters said of one unit."""


class Agreement:
    """The figures of one project's labels, which must come sorted by item. ``look`` is called once a unit.

    Raises `InputError` where there are more than `MOST_VALUES` different ratings.
    """

    def __init__(self, labels: Iterable[StoredFeedback], look: Callable[[], None] = lambda: None) -> None:
        self.items = 0
        self.labels = 0
        self.pooled, self.everyone = Together(), Reliability()
        self.groups: dict[Group, Together] = {}
        self.groups_left_out: set[str] = set()
        self.principles_left_out: set[str] = set()
        self._principles = 0
        self.raters: dict[Rater, RatedBy] = {}
        self.left_out: set[Rater] = set()
        self.pairs: dict[tuple[Rater, Rater], Kappa] = {}
        self._paired: set[Rater] = set()
        self._look = look
        for _, item in groupby(labels, key=lambda label: label.item):
            self._add(list(item))

    def _add(self, labels: Sequence[StoredFeedback]) -> None:
        self.items += 1
        self.labels += len(labels)
        touched: dict[Rater, RatedBy] = {}
        for label in labels:
            rater = Rater(label.source, label.annotator)
            rated = self._rated(rater)
            if rated is None:
                continue
            touched[rater] = rated
            rated.labels += 1
            rated.unsure += label.label.unsure
            rated.group = label.group or rated.group
            _lean(label, rated)
        group_of = {Rater(label.source, label.annotator): label.group for label in labels}
        for unit in units(labels):
            self._look()
            self._add_unit(unit, group_of)
        for principle, said in _units_by_principle(labels).items():
            for one in said:
                self._look()
                self._add_principle(principle, one, group_of)
        together = (self.pooled, *self.groups.values())
        for share in (self.everyone.agreement, *_counts(together), *_shares(touched)):
            share.end_cluster()
        if self.everyone.coincidences.values > MOST_VALUES:
            raise InputError(
                f"there are more than {MOST_VALUES:,} different ratings",
                where="rating",
                fix="Agreement is of values that can be equal: ask for whole numbers.",
            )

    @property
    def is_of_several_groups(self) -> bool:
        """Whether people of more than one group have labelled, so that figures of everybody would mix them."""
        return len(self.groups) > 1

    def _add_principle(self, name: str, unit: Values, group_of: Mapping[Rater, Group]) -> None:
        """Add what people said of a unit by one principle; of too many, those that come first are counted."""
        self._by_principle(self.pooled, name, list(unit.values()))
        for group, values in _by_group(unit, group_of).items():
            together = self._together(group)
            if together is not None:
                self._by_principle(together, name, values)

    def _by_principle(self, together: Together, name: str, values: Sequence[float]) -> None:
        if name not in together.by_principle:
            if self._principles == 2 * MOST_PRINCIPLES:  # each is counted for its group and for all
                if len(self.principles_left_out) < MOST_VALUES:
                    self.principles_left_out.add(name)
                return
            self._principles += 1
            together.by_principle[name] = Reliability()
        together.by_principle[name].add(values)

    def _together(self, group: Group) -> Together | None:
        """The group's figures; None where so many others came first."""
        if group not in self.groups:
            if len(self.groups) == MOST_GROUPS:
                if len(self.groups_left_out) < MOST_VALUES:
                    self.groups_left_out.add(group or "")
                return None
            self.groups[group] = Together()
        return self.groups[group]

    def _rated(self, rater: Rater) -> RatedBy | None:
        """The rater's figures; None where so many others came first."""
        if rater not in self.raters:
            if len(self.raters) == MOST_RATERS:
                if len(self.left_out) < MOST_VALUES:
                    self.left_out.add(rater)
                return None
            if len(self.raters) < MOST_PAIRED:
                self._paired.add(rater)
            self.raters[rater] = RatedBy()
        return self.raters[rater]

    def _add_unit(self, unit: Values, group_of: Mapping[Rater, Group]) -> None:
        people = {rater: value for rater, value in unit.items() if rater.source == "human"}
        self.everyone.add(list(unit.values()))
        self.pooled.people.add(list(people.values()))
        apart = _by_group(people, group_of)
        for group, values in apart.items():
            together = self._together(group)
            if together is not None:
                together.people.add(values)
        said = Counter(people.values())
        within = {group: Counter(values) for group, values in apart.items()}
        for rater, value in unit.items():
            if rater not in self.raters:
                continue
            own = rater in people
            rated = self.raters[rater]
            rated.with_people.add(said[value] - own, len(people) - own)
            if own:
                group = group_of.get(rater)
                rated.within_group.add(within[group][value] - 1, len(apart[group]) - 1)
        for first, second in combinations(sorted(self._paired.intersection(unit), key=str), 2):
            self.pairs.setdefault((first, second), Kappa()).add(unit[first], unit[second])


def _by_group(unit: Values, group_of: Mapping[Rater, Group]) -> dict[Group, list[float]]:
    """A unit's values, by the group of those who gave them."""
    apart: dict[Group, list[float]] = {}
    for rater, value in unit.items():
        apart.setdefault(group_of.get(rater), []).append(value)
    return apart


def _counts(together: Iterable[Together]) -> Iterator[Counted]:
    for one in together:
        yield one.people.agreement
        for figures in one.by_principle.values():
            yield figures.agreement


def _shares(raters: Mapping[Rater, RatedBy]) -> Iterator[Counted]:
    for rated in raters.values():
        yield from rated.shares()


def units(labels: Sequence[StoredFeedback]) -> Iterator[Values]:
    """What raters said of each unit of one item; of each rater the last label counts."""
    order = [response.text for response in labels[0].responses]
    ordering: dict[Rater, Label] = {}
    units: dict[Unit, dict[Rater, float]] = {}
    for given in labels:
        rater, turned = Rater(given.source, given.annotator), given.in_order_of(order)
        if turned.label.pairwise:
            ordering[rater] = turned.label
        elif (said := turned.label.unit(turned.responses)) is not None:
            units.setdefault(said[0], {})[rater] = said[1]
    yield from units.values()
    for first, second in _pairs(len(order), len(ordering), labels[0].item):
        said_of_both = ((rater, label.relation(first, second)) for rater, label in ordering.items())
        yield {rater: relation for rater, relation in said_of_both if relation is not None}


def _units_by_principle(labels: Sequence[StoredFeedback]) -> Mapping[str, Iterable[Values]]:
    """What people said of each unit of one item by each principle; of each person the last label counts."""
    order = [response.text for response in labels[0].responses]
    by_principle: dict[str, dict[Unit, dict[Rater, float]]] = {}
    for given in labels:
        if given.source != "human" or not given.label.principles():
            continue
        turned, rater = given.in_order_of(order), Rater(given.source, given.annotator)
        for name, (unit, value) in turned.label.units_by_principle(turned.responses).items():
            by_principle.setdefault(name, {}).setdefault(unit, {})[rater] = value
    return {name: units.values() for name, units in by_principle.items()}


def _pairs(responses: int, raters: int, item: str) -> Iterable[tuple[int, int]]:
    """The pairs of a ranking's responses that are its units: all, or some that are drawn by the item."""
    if not raters:
        return ()
    total, most = math.comb(responses, 2), min(PAIRS_OF_A_RANKING, max(1, VALUES_OF_AN_ITEM // raters))
    if total <= most:
        return combinations(range(responses), 2)
    return map(_pair, sorted(random.Random(item).sample(range(total), most)))


def _pair(number: int) -> tuple[int, int]:
    """The pair of this number, where pairs are counted by their second response: 01, 02, 12, 03 ..."""
    second = (1 + math.isqrt(1 + 8 * number)) // 2
    return number - second * (second - 1) // 2, second


def _lean(label: StoredFeedback, rated: RatedBy) -> None:
    """Count whether the preferred response is the one that was shown first, and whether it is the longer one."""
    chosen = label.label.prefers
    if chosen is None:
        return
    shown_first = label.shown[0] if label.shown else 0
    rated.first_lean.count(chosen == shown_first)
    lengths = [len(response.text) for response in label.responses]
    if lengths[0] != lengths[1]:
        rated.longer_lean.count(lengths[chosen] == max(lengths))
