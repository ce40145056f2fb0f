"""How long each annotator takes for an item, and whether that, or their agreement with others, changes in a session.

A session is labels that follow each other without a long break. People tire: they become faster and agree less, or
slower. So both figures are of the place of a label in its session.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from statistics import median
from typing import NamedTuple

from pydantic import BaseModel

from critic.statistics.intervals import Mean, Share
from service.answers.agreement import ShareFigure
from service.labels.agreement import Values
from service.labels.label_query import StoredFeedback
from service.review.agreement.shares import MeanFigure, share_of

BREAK = timedelta(minutes=30)  # without a label, after which a new session begins
STAGES = (1, 26, 51, 101, 201)  # the first label's place of each stage of a session
MOST_LABELS = 1_000_000  # whose time is kept; more are not looked at


class Stage(BaseModel):
    """Labels at the places ``first`` to ``last`` of their sessions (null: and all that follow)."""

    first: int
    last: int | None
    labels: int
    seconds: MeanFigure | None
    agreement: ShareFigure | None


class Pace(BaseModel):
    """One annotator's time. ``seconds`` is the median for a label, ``sessions`` how often they began anew."""

    annotator: str
    labels: int
    seconds: float | None
    sessions: int
    last_at: datetime
    stages: list[Stage]


class _Given(NamedTuple):
    at: datetime
    item: str
    seconds: float | None
    equal: int
    compared: int


class PaceCounter:
    """Collects, item by item, when each label was given and how far it agrees with those of other people."""

    def __init__(self, seconds: Mapping[str, float]) -> None:
        """``seconds`` has the time from lease to answer, by a label's id: for labels that don't say what they took."""
        self._seconds = seconds
        self._given: dict[str, list[_Given]] = {}
        self._count = 0

    def add(self, labels: Sequence[StoredFeedback], units: Iterable[Values]) -> None:
        """Add one item: its labels, and their units."""
        equal, compared = Counter[str](), Counter[str]()
        for unit in units:
            people = {rater.annotator or "": value for rater, value in unit.items() if rater.source == "human"}
            said = Counter(people.values())
            for name, value in people.items():
                equal[name] += said[value] - 1
                compared[name] += len(people) - 1
        for label in labels:
            if label.source != "human" or label.annotator is None or self._count >= MOST_LABELS:
                continue
            self._count += 1
            name = label.annotator
            given = _Given(label.created_at, label.item, self._took(label), equal[name], compared[name])
            self._given.setdefault(name, []).append(given)

    def _took(self, label: StoredFeedback) -> float | None:
        """Return how long a label took: as the client measured it, else since the task was leased."""
        return label.seconds if label.seconds is not None else self._seconds.get(label.id)

    def figures(self) -> list[Pace]:
        """Return each annotator's, by id."""
        return [_pace(name, sorted(given)) for name, given in sorted(self._given.items())]


def _pace(annotator: str, given: Sequence[_Given]) -> Pace:
    places, sessions = _places(given)
    took = [one.seconds for one in given if one.seconds is not None]
    stages = []
    for first, last in _bounds():
        inside = [one for one, place in zip(given, places, strict=True) if first <= place <= (last or place)]
        if inside:
            stages.append(_stage(first, last, inside))
    return Pace(
        annotator=annotator,
        labels=len(given),
        seconds=median(took) if took else None,
        sessions=sessions,
        last_at=given[-1].at,
        stages=stages,
    )


def _bounds() -> list[tuple[int, int | None]]:
    """The first and last place of each stage; the last one has no end."""
    ends: list[int | None] = [first - 1 for first in STAGES[1:]]
    return list(zip(STAGES, [*ends, None], strict=True))


def _places(given: Sequence[_Given]) -> tuple[list[int], int]:
    """The place of each label in its session, from 1, and how many sessions there are."""
    places: list[int] = []
    sessions = 0
    before: datetime | None = None
    for one in given:
        if before is None or one.at - before > BREAK:
            sessions += 1
            places.append(1)
        else:
            places.append(places[-1] + 1)
        before = one.at
    return places, sessions


def _stage(first: int, last: int | None, inside: Sequence[_Given]) -> Stage:
    seconds, agreement = Mean(), Share()
    for one in inside:
        if one.seconds is not None:
            seconds.count(one.seconds)
            seconds.end_cluster()
        if one.compared:
            agreement.count(one.equal / one.compared)
            agreement.end_cluster()
    return Stage(
        first=first,
        last=last,
        labels=len(inside),
        seconds=MeanFigure.of(seconds),
        agreement=share_of(agreement),
    )
