"""Clauses that are read in different ways: votes of several judges, or of one asked twice, spread more on them.

Hard comparisons spread every principle's votes, so each principle is measured against the others on the very same
comparison: is its spread above their median? Where all are equally clear, it is so half of the time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median, pstdev

from critic.evaluation.principles.influence import by_row
from critic.evaluation.principles.table import Comparison, VoteTable
from critic.statistics.alarms import OF_REPORT
from critic.statistics.intervals import FEW, Figure, Mean, Share, paired

LEVEL = OF_REPORT / 2  # of all principles' tests together; contradictions have the other half
TIMES = 1.5  # the others' spread, from which a clause is called ambiguous


@dataclass(frozen=True, slots=True)
class Ambiguity:
    """One principle's reading. ``spread``: the mean standard deviation of its readers' log-odds. ``above``: how often
    it is above the median of the other principles on the same comparison. ``times``: its spread by theirs.
    ``p`` is the sign test's over prompts, times the number of principles.
    """

    principle: str
    spread: Figure
    above: Figure
    times: float
    p: float

    @property
    def is_ambiguous(self) -> bool:
        """Whether readers differ on it more than on the others, beyond chance."""
        return self.p < LEVEL and self.times >= TIMES and self.above.estimate > 0.5


@dataclass(slots=True)
class _ClauseCounts:
    spread: Mean
    others: Mean
    above: Share
    wins: int = 0
    losses: int = 0


def ambiguities(table: VoteTable) -> tuple[list[Ambiguity], str]:
    """Return every principle's reading, the most ambiguous first; or none, and a sentence that says why."""
    if table.readers < 2:
        return [], (
            "One judge read each principle once: which clauses are ambiguous is not known. Votes of a jury, or of the "
            "same pairs judged again (another run), tell."
        )
    counted = {id: _ClauseCounts(Mean(), Mean(), Share()) for id in table.principles}
    for row in by_row(table.comparisons):
        _count_row([_spreads(comparison) for comparison in row], counted)
    rows = max((one.spread.clusters for one in counted.values()), default=0)
    if rows < FEW:
        return [], f"{rows} prompts with two readings: which clauses are ambiguous can't be said of fewer than {FEW}."
    known = [(id, one) for id, one in counted.items() if one.spread.clusters >= FEW]
    made = [_ambiguity(id, one, len(known)) for id, one in known]
    return sorted((one for one in made if one is not None), key=lambda one: -one.times), ""


def _spreads(comparison: Comparison) -> dict[str, float]:
    return {id: pstdev(by.values()) for id, by in comparison.readings.items() if len(by) >= 2}


def _count_row(comparisons: list[dict[str, float]], counted: Mapping[str, _ClauseCounts]) -> None:
    balance = dict.fromkeys(counted, 0)
    for spreads in comparisons:
        for id, spread in spreads.items():
            others = [value for other, value in spreads.items() if other != id]
            if not others:
                continue
            middle, one = median(others), counted[id]
            one.spread.count(spread)
            one.others.count(middle)
            one.above.count(0.5 if spread == middle else float(spread > middle))
            balance[id] += (spread > middle) - (spread < middle)
    for id, one in counted.items():
        for figure in (one.spread, one.others, one.above):
            figure.end_cluster()
        one.wins += balance[id] > 0
        one.losses += balance[id] < 0


def _ambiguity(id: str, counted: _ClauseCounts, tests: int) -> Ambiguity | None:
    spread, others, above = counted.spread.figure(), counted.others.figure(), counted.above.figure()
    if spread is None or others is None or above is None:
        return None
    if others.estimate > 0:
        times = spread.estimate / others.estimate
    elif spread.estimate:
        times = float("inf")
    else:
        times = 1.0
    p = paired(counted.wins, counted.losses).p if counted.wins > counted.losses else 1.0
    return Ambiguity(id, spread, above, times, min(1.0, p * tests))
