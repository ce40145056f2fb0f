"""What the readings of right and wrong answers come to, with 95 % intervals; a row is a cluster."""

from collections.abc import Callable, Iterable, Sequence
from math import exp
from typing import NamedTuple

from critic.evaluation.choices import PairReading, RowReading
from critic.judging.base import FLOOR
from critic.statistics.intervals import Figure, Share
from critic.statistics.judges.calibration_error import brier_score, event_calibration_error

Figures = dict[str, Figure | None]


def figures(readings: Sequence[RowReading]) -> Figures:
    """Sum up what was read; None where nothing was.

    Right is more than 0 for the correct answer: a tie is not. A row is right where all its pairs are. The orders agree
    where both prefer the same answer; the position is the same where both prefer the one shown first, or second.
    Calibration is that of the probability that the answer shown first in the given order is the correct one.
    """

    def share(of: Callable[[PairReading], bool | None]) -> Figure | None:
        return _share([map(of, row.pairs) for row in readings])

    def rows_right(of: Callable[[PairReading], float | None]) -> Figure | None:
        return _share([[_right(_least(map(of, row.pairs)))] for row in readings])

    return {
        "accuracy, given order": share(lambda pair: _right(pair.given)),
        "accuracy, both orders": share(lambda pair: _right(pair.both)),
        "rows right, given order": rows_right(lambda pair: pair.given),
        "rows right, both orders": rows_right(lambda pair: pair.both),
        "ties, both orders": share(lambda pair: None if pair.both is None else pair.both == 0),
        "orders agree": share(lambda pair: _alike(pair, 1)),
        "same position": share(lambda pair: _alike(pair, -1)),
        **_calibration("given order", readings, lambda pair: pair.given),
        **_calibration("both orders", readings, lambda pair: pair.both),
        "accuracy, likelihood per token": share(lambda pair: _right(pair.per_token)),
        "accuracy, likelihood summed": share(lambda pair: _right(pair.summed)),
    }


class Unreadable(NamedTuple):
    """Pairs that could not be read in an order that they were asked in, and those without a likelihood.

    Of the former, ``below_floor`` had too little probability on any of the letters.
    """

    letters: int
    likelihood: int
    pairs: int
    below_floor: int


def unreadable(readings: Sequence[RowReading], floor: float = FLOOR) -> Unreadable:
    """Count what could not be read, with ``floor`` of label mass."""
    pairs = [(row.one_order, pair) for row in readings for pair in row.pairs]
    letters = sum(p.given is None or (p.swapped is None and not one_order) for one_order, p in pairs)
    below_floor = sum(p.given is None and p.mass is not None and p.mass < floor for _, p in pairs)
    return Unreadable(letters, sum(p.summed is None for _, p in pairs), len(pairs), below_floor)


def _share(clusters: Iterable[Iterable[bool | None]]) -> Figure | None:
    """What was not read (None) doesn't count."""
    counted = Share()
    for hits in clusters:
        for hit in hits:
            if hit is not None:
                counted.count(hit)
        counted.end_cluster()
    return counted.figure()


def _least(advantages: Iterable[float | None]) -> float | None:
    """The least; None where one is unread."""
    values = list(advantages)
    read = [value for value in values if value is not None]
    return min(read) if len(read) == len(values) else None


def _right(advantage: float | None) -> bool | None:
    return None if advantage is None else advantage > 0


def _alike(pair: PairReading, sign: int) -> bool | None:
    if pair.given is None or pair.swapped is None:
        return None
    return sign * pair.given * pair.swapped > 0


def _calibration(
    order: str, readings: Sequence[RowReading], advantage: Callable[[PairReading], float | None]
) -> Figures:
    observed = [
        (1 / (1 + exp(-value if pair.correct_first else value)), pair.correct_first, row.row)
        for row in readings
        for pair in row.pairs
        if (value := advantage(pair)) is not None
    ]
    probabilities, outcomes, rows = zip(*observed, strict=True) if observed else ((), (), ())
    return {
        f"calibration error, {order}": event_calibration_error(probabilities, outcomes, rows),
        f"Brier score, {order}": brier_score(probabilities, outcomes, rows),
    }
