"""Labels to units and values: what two people said of the same thing, whatever kind of label it is."""

import math
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby

from base.errors import InputError
from critic.feedback import ComparisonLabel, Feedback, RankingLabel, RatingLabel, ThumbsLabel
from critic.statistics.reliability.alpha import Level

LEVELS: dict[str, tuple[Level, ...]] = {
    "comparison": ("nominal", "ordinal"),
    "ranking": ("nominal", "ordinal"),
    "rating": ("nominal", "ordinal", "interval"),
    "thumbs": ("nominal",),
}
"""By kind, as what its values can be compared. Kinds in words have no agreement."""
CHOICES = {"first": 1.0, "tie": 0.5, "second": 0.0}
PAIRS_OF_A_RANKING = 500  # of its responses: all of 32


@dataclass(frozen=True, slots=True)
class Said:
    """One label of a unit. ``unit`` is a text or a tuple of what it is about; ``at`` seconds since 1970, if known.

    Of a comparison ``models`` wrote the first answer and the second.
    """

    unit: str
    item: str
    prompt: str
    annotator: str
    value: float
    group: str | None = None
    at: float | None = None
    models: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Timed:
    """A label, and when it was given, in seconds since 1970; None where nobody knows."""

    label: Feedback
    at: float | None = None


def said(labels: Iterable[Timed], kind: str) -> tuple[list[Said], int]:
    """Return what people said of each unit, in the order of the items, and how many labels were given again.

    Responses are taken in one order for all labels of an item. Of one person's two labels of a unit the last counts.
    Raises `InputError` for kinds in words.
    """
    if kind not in LEVELS:
        raise InputError(f"labels of the kind {kind} are words: they have no agreement", where="kind")
    own = sorted(
        (timed for timed in labels if timed.label.kind == kind and timed.label.source == "human"),
        key=lambda timed: timed.label.item,
    )
    last: dict[tuple[str, str], Said] = {}
    repeated = 0
    for _, item in groupby(own, key=lambda timed: timed.label.item):
        gathered = list(item)
        order = sorted(response.text for response in gathered[0].label.responses)
        unnamed = 0
        for timed in gathered:
            unnamed += timed.label.annotator is None
            name = timed.label.annotator or f"unnamed {unnamed}"
            for one in _of(timed, order, name):
                repeated += (one.unit, name) in last
                last[one.unit, name] = one
    return list(last.values()), repeated


def _of(timed: Timed, order: Sequence[str], name: str) -> Iterator[Said]:
    label = timed.label.in_order_of(order)
    models = None
    if isinstance(label.label, ComparisonLabel):
        models = label.responses[0].model, label.responses[1].model
    for about, value in _values(label):
        yield Said(f"{label.item}:{about}", label.item, label.prompt.key, name, value, label.group, timed.at, models)


def _values(label: Feedback) -> Iterator[tuple[str, float]]:
    match label.label:
        case ComparisonLabel(choice=str(choice)):
            yield "comparison", CHOICES[choice]
        case RatingLabel(response=response, value=value, scale=scale):
            yield f"{response}:{scale.min:g}:{scale.max:g}:{label.principle or ''}", value
        case ThumbsLabel(response=response, value=value):
            yield str(response), float(value == "up")
        case RankingLabel(ranks=ranks):
            for first, second in _pairs(len(ranks), label.item):
                one, other = ranks[first], ranks[second]
                if one is not None and other is not None:
                    yield f"{first}:{second}", 0.5 + 0.5 * ((one < other) - (one > other))


def _pairs(responses: int, item: str) -> Iterable[tuple[int, int]]:
    every = list(combinations(range(responses), 2))
    if math.comb(responses, 2) <= PAIRS_OF_A_RANKING:
        return every
    return sorted(random.Random(item).sample(every, PAIRS_OF_A_RANKING))
