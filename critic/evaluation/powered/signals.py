"""How doubtful each item is, by what judges said of it and what it is like: signals from 0, sure, to 1.

- margin: how near the probability is to even odds.
- orders: how far it moves with the order in which the answers are shown.
- principles: how far the principles are apart.
- judges: how far judges are apart.
- unlike: how unlike its words are those of any item that people have labelled.

A signal that there is nothing to tell from is NaN: one order, one principle, one judge, nothing labelled.
"""

import hashlib
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean, pstdev
from typing import TYPE_CHECKING

import numpy as np

from critic.evaluation.powered.items import ComparedItem
from critic.judging.aggregate import principle_log_odds
from critic.records import Vote
from critic.statistics.reliability.ratings import Floats

if TYPE_CHECKING:
    from scipy.sparse import csr_array

WORDS = 1 << 16  # places that words are hashed to: far more than a prompt has, so that few share one
AT_ONCE = 1000  # items whose likeness to all labelled ones is in memory at once
_WORD = re.compile(r"\w+")


def signals(items: Sequence[ComparedItem]) -> Mapping[str, Floats]:
    """Return (N,) each signal by name; items without a judge's reading have NaN in those that are of readings."""
    margin = np.array([_margin(one) for one in items])
    orders = np.array([_apart(_by_order(one)) for one in items])
    principles = np.array([_apart(_by_principle(one)) for one in items])
    return {
        "margin": margin,
        "orders": orders,
        "principles": principles,
        "judges": np.array([_apart(_probabilities(one)) for one in items]),
        "unlike": unlike(items),
    }


def _margin(one: ComparedItem) -> float:
    probability = one.probability()
    return math.nan if probability is None else 1 - abs(2 * probability - 1)


def _probabilities(one: ComparedItem) -> list[float]:
    return [reading.probability for reading in one.readings]


def _apart(probabilities: Sequence[float]) -> float:
    """Return twice the standard deviation: 1 where half say 0 and half say 1."""
    return min(1.0, 2 * pstdev(probabilities)) if len(probabilities) > 1 else math.nan


def _by_order(one: ComparedItem) -> list[float]:
    """The mean probability in each of the orders."""
    odds: dict[str, list[float]] = {}
    for vote in _votes(one):
        if vote.order is not None and vote.log_odds is not None:
            odds.setdefault(vote.order, []).append(vote.log_odds)
    return [_logistic(fmean(values)) for values in odds.values()]


def _by_principle(one: ComparedItem) -> list[float]:
    """Each principle's probability, over both orders and all judges."""
    return [_logistic(odds) for name, odds in principle_log_odds(_votes(one)).items() if name and odds is not None]


def _votes(one: ComparedItem) -> list[Vote]:
    return [vote for reading in one.readings for vote in reading.votes]


def _logistic(odds: float) -> float:
    return 1 / (1 + math.exp(-max(-700.0, min(700.0, odds))))


def unlike(items: Sequence[ComparedItem]) -> Floats:
    """Return (N,) 1 minus the highest cosine of an item's words and those of another item that people have labelled.

    Words count by how few items have them (Sparck Jones 1972). All NaN where people have labelled nothing.
    """
    is_labelled = np.array([bool(one.item.said) for one in items])
    if not is_labelled.any():
        return np.full(len(items), math.nan)
    table = _weighed([_text(one) for one in items])
    labelled = np.flatnonzero(is_labelled)
    others = table[labelled]
    nearest = np.zeros(len(items))
    for start in range(0, len(items), AT_ONCE):
        likeness = (table[start : start + AT_ONCE] @ others.T).toarray()
        # A labelled item is like itself, which says nothing of how it is like others.
        own = np.flatnonzero((labelled >= start) & (labelled < start + AT_ONCE))
        likeness[labelled[own] - start, own] = 0.0
        nearest[start : start + AT_ONCE] = likeness.max(axis=1)
    return np.clip(1 - nearest, 0.0, 1.0)


def _text(one: ComparedItem) -> str:
    return " ".join(message.content for message in one.item.prompt.messages)


def _weighed(texts: Sequence[str]) -> "csr_array":
    """Return (N, WORDS) unit vectors of weighed words."""
    from scipy.sparse import csr_array  # slow to import, and a server starts without it

    counted = []
    for text in texts:
        counted.append(Counter(_place(word) for word in _WORD.findall(text.lower())))
    seen = Counter(place for words in counted for place in words)
    rows, places, weights = [], [], []
    for row, words in enumerate(counted):
        own = {place: count * math.log(1 + len(texts) / seen[place]) for place, count in words.items()}
        length = math.sqrt(sum(weight**2 for weight in own.values())) or 1.0
        for place, weight in own.items():
            rows.append(row)
            places.append(place)
            weights.append(weight / length)
    return csr_array((weights, (rows, places)), shape=(len(texts), WORDS))


def _place(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=4).digest(), "big") % WORDS
