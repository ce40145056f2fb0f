"""What a run's judgements look like, row by row, in memory that does not grow with their number.

Signs: a vote's log-odds are about the comparison's first response. With order ``swapped`` the page showed the second
response first, so the odds for the position shown first are the negative. Votes without an order have no position.
"""

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence

from critic.judging.base import FLOOR
from critic.records import Judgement, Row, Vote
from critic.statistics.agreement import PrincipleAgreement
from critic.statistics.intervals import Mean, Share

BINS = 21  # of probabilities, around 0, 0.05 .. 1: so what is exactly 0.5 stands in the middle of one
LENGTH_EDGES = tuple(round(2 ** (i / 2)) for i in range(4, 41))  # characters: 4, 6, 8, 11, 16 .. 1,048,576


class Lengths:
    """Lengths of texts in characters: their mean, and a histogram over `LENGTH_EDGES`, below and above included."""

    def __init__(self) -> None:
        self.mean = Mean()
        self.bins = [0] * (len(LENGTH_EDGES) + 1)

    def count(self, text: str) -> None:
        """Add one text."""
        self.mean.count(len(text))
        self.bins[bisect_right(LENGTH_EDGES, len(text))] += 1


class PrincipleStatistics:
    """One principle's votes: `RunStatistics` explains the figures."""

    def __init__(self) -> None:
        self.unreadable = Share()
        self.same_position = Share()
        self.first_lean = Share()
        self.with_outcome = Share()
        self.strength = Mean()

    def figures(self) -> Sequence[Share | Mean]:
        """All that is counted by clusters."""
        return self.unreadable, self.same_position, self.first_lean, self.with_outcome, self.strength


class RunStatistics:
    """Figures of a run.

    ``same_position``: of a principle's two readable votes on a comparison, how often both favour the same position of
    the page, whichever response stood there. ``same_first``: those that favour the position shown first.
    ``first_lean``: how often a vote favours the response shown first; votes at exactly 0 aren't counted.
    ``lean``: the mean log-odds for the response shown first.
    ``order_disagreement``: how often a comparison's votes in one order, taken together, prefer another response than
    those in the other order do. ``longest``: how often a judgement that is no tie prefers the longer response
    (equal lengths aren't counted). ``unreadable``: of all votes. ``cut_off``: of all responses, those that ran into
    the token limit. ``mass``: the mean label mass of votes that read choices; ``low_mass``: those with less than
    `FLOOR`.
    By principle, ``with_outcome``: how often it prefers what the judgement prefers; ``strength``: the
    mean of the absolute log-odds.
    """

    def __init__(self) -> None:
        self.rows = self.pairs = self.votes = self.at_half = 0
        self.outcomes: Counter[str] = Counter()
        self.critiques: Counter[str] = Counter()
        self.revisions: Counter[str] = Counter()
        self.drops: Counter[tuple[str, str]] = Counter()
        self.groups: Counter[str | None] = Counter()
        self.probabilities = [0] * BINS
        self.same_position, self.first_lean, self.order_disagreement = Share(), Share(), Share()
        self.longest, self.unreadable, self.cut_off = Share(), Share(), Share()
        self.same_first = 0
        self.low_mass = Share()
        self.lean, self.mass = Mean(), Mean()
        self.chosen, self.rejected = Lengths(), Lengths()
        self.principles: dict[str, PrincipleStatistics] = {}
        self.agreement = PrincipleAgreement()

    def add(self, row: Row) -> None:
        """Add one row."""
        self.rows += 1
        self.drops.update((drop.what, drop.reason) for drop in row.drops)
        for candidate in row.candidates:
            self.cut_off.count(candidate.finish == "length")
        for chain in row.chains:
            self.critiques.update(revision.critique.outcome for revision in chain.revisions)
            self.revisions.update(revision.outcome for revision in chain.revisions)
        for judgement in row.judgements:
            self._add_judgement(row, judgement)
        for pair in row.pairs:
            self.pairs += 1
            self.groups[pair.group] += 1
            self.chosen.count(pair.chosen.text)
            self.rejected.count(pair.rejected.text)
        for figure in self._figures():
            figure.end_cluster()

    def _figures(self) -> Iterator[Share | Mean]:
        yield from (self.same_position, self.first_lean, self.order_disagreement, self.longest, self.unreadable)
        yield from (self.low_mass, self.mass)
        yield from (self.cut_off, self.lean, self.chosen.mean, self.rejected.mean)
        for principle in self.principles.values():
            yield from principle.figures()

    def _add_judgement(self, row: Row, judgement: Judgement) -> None:
        self.outcomes[judgement.outcome] += 1
        preferred = 0
        if judgement.probability is not None:
            p = judgement.probability
            self.probabilities[int(p * (BINS - 1) + 0.5)] += 1
            self.at_half += abs(p - 0.5) < 1e-9
            preferred = (p > 0.5) - (p < 0.5) if judgement.outcome == "preference" else 0
        longer = len(row.candidates[judgement.first].text) - len(row.candidates[judgement.second].text)
        if preferred and longer:
            self.longest.count((longer > 0) == (preferred > 0))
        by_principle: dict[str, list[Vote]] = {}
        for vote in judgement.votes:
            self.votes += 1
            self.unreadable.count(vote.log_odds is None)
            if vote.mass is not None:
                self.mass.count(vote.mass)
                self.low_mass.count(vote.mass < FLOOR)
            if vote.principle is not None:
                by_principle.setdefault(vote.principle, []).append(vote)
        self._add_order_disagreement(judgement.votes)
        read = {name: self._add_principle(name, votes, preferred) for name, votes in by_principle.items()}
        self.agreement.add({name: value for name, value in read.items() if value is not None})

    def _add_principle(self, name: str, votes: list[Vote], preferred: int) -> float | None:
        """Count a principle's votes on one comparison. Return their mean log-odds; None if one is unreadable."""
        figures = self.principles.get(name)
        if figures is None:
            figures = self.principles[name] = PrincipleStatistics()
        for vote in votes:
            figures.unreadable.count(vote.log_odds is None)
            self._add_lean(figures, vote)
        shown_first = {(v.judge, v.mode, v.order): _for_first_position(v) for v in votes if v.order is not None}
        for juror in {(v.judge, v.mode) for v in votes}:
            given, swapped = shown_first.get((*juror, "given")), shown_first.get((*juror, "swapped"))
            if given is not None and swapped is not None:
                same = given * swapped > 0
                self.same_position.count(same)
                figures.same_position.count(same)
                self.same_first += same and given > 0
        odds = [vote.log_odds for vote in votes if vote.log_odds is not None]
        if len(odds) < len(votes):
            return None
        mean = math.fsum(odds) / len(odds)
        figures.strength.count(abs(mean))
        if preferred and mean:
            figures.with_outcome.count((mean > 0) == (preferred > 0))
        return mean

    def _add_lean(self, figures: PrincipleStatistics, vote: Vote) -> None:
        odds = _for_first_position(vote)
        if odds is None:
            return
        self.lean.count(odds)
        if odds:
            self.first_lean.count(odds > 0)
            figures.first_lean.count(odds > 0)

    def _add_order_disagreement(self, votes: tuple[Vote, ...]) -> None:
        sums = {"given": 0.0, "swapped": 0.0}
        for vote in votes:
            if vote.order is not None and vote.log_odds is not None:
                sums[vote.order] += vote.log_odds
        if sums["given"] and sums["swapped"]:
            self.order_disagreement.count(sums["given"] * sums["swapped"] < 0)


def _for_first_position(vote: Vote) -> float | None:
    """Log-odds that the response shown first is better; None without an order or unread."""
    if vote.log_odds is None or vote.order is None:
        return None
    return vote.log_odds if vote.order == "given" else -vote.log_odds
