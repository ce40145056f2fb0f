"""How far each judge agrees with people, beside how far people agree among themselves on the very same items.

A judge that agrees with people in seven of ten cases is as good as a person where people agree in seven of ten, and bad
where they agree in nine. So both figures are of the units that the judge and at least two people have labelled. Groups
of people stay apart: a judge stands beside each of them.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import combinations

from pydantic import BaseModel

from service.answers.agreement import ShareFigure
from service.labels.agreement import Counted, Group, Rater, Values
from service.review.agreement.coefficients import Coefficient, CollectedRatings, kappa_of
from service.review.agreement.shares import share_of


class JudgeFigures(BaseModel):
    """A judge beside the people of one ``group`` (null: those of none), on ``units`` that both have labelled.

    ``with_people`` is the share of equal values of the judge and a person, ``among_people`` that of two people. Beside
    them stand ``kappa`` (Cohen's, the judge against each person) and ``alpha`` (Krippendorff's nominal, among people).
    """

    judge: str
    group: str | None
    units: int
    with_people: ShareFigure | None
    kappa: Coefficient | None
    among_people: ShareFigure | None
    alpha: Coefficient | None


class _Beside:
    def __init__(self) -> None:
        self.units = 0
        self.with_people, self.among_people = Counted(), Counted()
        self.people = CollectedRatings()
        self.own: list[float] = []  # the judge's value beside each person's
        self.theirs: list[float] = []
        self.items: list[int] = []

    def add(self, value: float, people: list[float], item: int) -> None:
        said = Counter(people)
        self.units += 1
        self.with_people.add(said[value], len(people))
        equal = sum(n * (n - 1) // 2 for n in said.values())
        self.among_people.add(equal, len(people) * (len(people) - 1) // 2)
        self.own += [value] * len(people)
        self.theirs += people
        self.items += [item] * len(people)


class Judges:
    """Counts, item by item."""

    def __init__(self) -> None:
        self._judges: dict[tuple[str, Group], _Beside] = {}
        self._item = 0

    def add(self, units: Iterable[Values], groups: Mapping[Rater, Group]) -> None:
        """Add one item's units; ``groups`` says whose each rater's label was."""
        self._item += 1
        compared: dict[tuple[str, Group], list[Values]] = {}
        for unit in units:
            judges = {rater.annotator or "": value for rater, value in unit.items() if rater.source == "ai"}
            for group, people in apart(unit, groups).items():
                if len(people) < 2:
                    continue
                for name, value in judges.items():
                    beside = self._judges.setdefault((name, group), _Beside())
                    beside.add(value, list(people.values()), self._item)
                    compared.setdefault((name, group), []).append(people)
        for key, own in compared.items():
            beside = self._judges[key]
            beside.people.add(own)
            beside.with_people.end_cluster()
            beside.among_people.end_cluster()

    def figures(self) -> list[JudgeFigures]:
        """Return each judge's, by name and group."""
        return [
            JudgeFigures(
                judge=name,
                group=group,
                units=beside.units,
                with_people=share_of(beside.with_people),
                kappa=kappa_of(beside.own, beside.theirs, beside.items),
                among_people=share_of(beside.among_people),
                alpha=beside.people.alpha(("nominal",))["nominal"],
            )
            for (name, group), beside in sorted(self._judges.items(), key=lambda one: (one[0][0], one[0][1] or ""))
        ]


def apart(unit: Values, groups: Mapping[Rater, Group]) -> dict[Group, dict[Rater, float]]:
    """What people said of a unit, by their groups."""
    by_group: dict[Group, dict[Rater, float]] = {}
    for rater, value in unit.items():
        if rater.source == "human":
            by_group.setdefault(groups.get(rater), {})[rater] = value
    return by_group


class GroupPair(BaseModel):
    """How often two people agree, one of the group ``first``, one of ``second``; these may be the same group."""

    first: str | None
    second: str | None
    agreement: ShareFigure | None


class Groups:
    """Counts agreement within and between groups, item by item."""

    def __init__(self) -> None:
        self._pairs: dict[tuple[str, str], Counted] = {}

    def add(self, units: Iterable[Values], groups: Mapping[Rater, str | None]) -> None:
        """Add one item's units; ``groups`` says whose each rater's label was."""
        touched: dict[tuple[str, str], Counted] = {}
        for unit in units:
            people = sorted((rater for rater in unit if rater.source == "human"), key=str)
            for first, second in combinations(people, 2):
                names = sorted((groups.get(first) or "", groups.get(second) or ""))
                key = (names[0], names[1])
                touched[key] = self._pairs.setdefault(key, Counted())
                touched[key].add(int(unit[first] == unit[second]), 1)
        for share in touched.values():
            share.end_cluster()

    def figures(self) -> list[GroupPair]:
        """Return each pair's, by name; people without a group are a group of their own."""
        return [
            GroupPair(first=first or None, second=second or None, agreement=share_of(share))
            for (first, second), share in sorted(self._pairs.items())
        ]
