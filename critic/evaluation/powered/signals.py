"""How doubtful each item is, by what judges said of it and what it is like: signals from 0, sure, to 1.

- margin: how near the probability is to even odds; of judges that know no degrees (0, a half, 1), of one alone.
- orders: how far it moves with the order in which the answers are shown.
- principles: how far the principles are apart.
- judges: how far judges are apart.
- answers: how far it is from what other comparisons of these two answers say: a winner that loses to all others.
- prompt: how doubtful the prompt's other comparisons are, by all that stands above.
- unlike: how much less its words are like those of any item that people have labelled than theirs are like each other.

A signal that there is nothing to tell from is NaN: one order, one principle, one judge, nothing labelled, two answers.
"""

import hashlib
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from statistics import fmean, pstdev
from typing import TYPE_CHECKING

import numpy as np

from critic.evaluation.powered.items import ComparedItem, JudgeReading
from critic.judging.aggregate import principle_log_odds
from critic.records import Vote
from critic.statistics.prediction.routing import doubt
from critic.statistics.reliability.ratings import Floats

if TYPE_CHECKING:
    from scipy.sparse import csr_array

WORDS = 1 << 16  # places that words are hashed to: far more than a prompt has, so that few share one
AT_ONCE = 1000  # items whose likeness to all labelled ones is in memory at once
_WORD = re.compile(r"\w+")


def signals(items: Sequence[ComparedItem]) -> Mapping[str, Floats]:
    """Return (N,) each signal by name; items without a judge's reading have NaN in those that are of readings."""
    orders = np.array([_apart(_by_order(one)) for one in items])
    principles = np.array([_apart(_by_principle(one)) for one in items])
    own = {
        "margin": _margins(items),
        "orders": orders,
        "principles": principles,
        "judges": np.array([_apart(_probabilities(one)) for one in items]),
    }
    return {**own, "answers": _against_others(items), "prompt": _around(items, own), "unlike": unlike(items)}


def _margins(items: Sequence[ComparedItem]) -> Floats:
    """Return (N,) how near the probabilities are to even odds.

    Where several judges say no more than which answer, or neither, the mean is near even odds where they are apart,
    which is another signal, and where they agree on a tie, which is no doubt.
    """
    readings = [reading for one in items for reading in one.readings]
    by_degrees = {reading.judge for reading in readings if reading.probability not in (0.0, 0.5, 1.0)}
    return np.array([_margin(one, by_degrees) for one in items], np.float64)


def _margin(one: ComparedItem, by_degrees: Set[str]) -> float:
    probability = one.probability()
    if probability is None or (len(one.readings) > 1 and by_degrees.isdisjoint(map(_judge, one.readings))):
        return math.nan
    return 1 - abs(2 * probability - 1)


def _judge(reading: JudgeReading) -> str:
    return reading.judge


def _probabilities(one: ComparedItem) -> list[float]:
    return [reading.probability for reading in one.readings]


def _apart(probabilities: Sequence[float]) -> float:
    """Return twice the standard deviation: 1 where half say 0 and half say 1."""
    return min(1.0, 2 * pstdev(probabilities)) if len(probabilities) > 1 else math.nan


def _against_others(items: Sequence[ComparedItem]) -> Floats:
    """Return (N,) how far each probability is from what the prompt's other comparisons of either answer say.

    An answer's mean win over all others says how good it is; one that stands in no other comparison is average.
    """
    wins: dict[tuple[str, str], dict[int, float]] = {}
    for place, one in enumerate(items):
        if (probability := one.probability()) is not None:
            for text, win in ((one.item.first.text, probability), (one.item.second.text, 1 - probability)):
                wins.setdefault((one.item.prompt.key, text), {})[place] = win
    return np.array([_from_others(one, place, wins) for place, one in enumerate(items)], np.float64)


def _from_others(one: ComparedItem, place: int, wins: Mapping[tuple[str, str], Mapping[int, float]]) -> float:
    probability = one.probability()
    sides = []
    for response in (one.item.first, one.item.second):
        own = wins.get((one.item.prompt.key, response.text), {})
        sides.append([win for other, win in own.items() if other != place])
    if probability is None or not any(sides):
        return math.nan
    first, second = (fmean(side) if side else 0.5 for side in sides)
    return abs(probability - (1 + first - second) / 2)


def _around(items: Sequence[ComparedItem], own: Mapping[str, Floats]) -> Floats:
    """Return (N,) the root mean square of the doubts of the same prompt's other items."""
    if not items:
        return np.zeros(0)
    _, of = np.unique([one.item.prompt.key for one in items], return_inverse=True)
    has_reading = np.array([bool(one.readings) for one in items])
    squares = np.where(has_reading, doubt(own) ** 2, 0.0)
    others = np.bincount(of, squares)[of] - squares
    count = np.bincount(of, has_reading)[of] - has_reading
    # Rounding leaves a trace below 0 where all others are sure.
    mean = np.divide(np.maximum(0.0, others), count, out=np.full(of.size, math.nan), where=count > 0)
    return np.minimum(1.0, np.sqrt(mean))


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
    """Return (N,) how much less an item is like any that people have labelled than these are like each other, 0 to 1.

    Likeness is the highest cosine of an item's words and another's; words count by how few items have them (Sparck
    Jones 1972). Half of the labelled items are less like all others than is usual among them: that much is 0, since
    what is true of nearly all items tells none apart. All NaN where people have labelled nothing.
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
    apart = np.clip(1 - nearest, 0.0, 1.0)
    usual = float(np.median(apart[labelled])) if labelled.size > 1 else 0.0
    return np.clip((apart - usual) / (1 - usual), 0.0, 1.0) if usual < 1 else np.zeros(len(items))


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
