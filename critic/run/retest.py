"""Votes that are asked twice: how far an engine's answers differ when it is asked the same again.

Servers compute a request with whatever else is in their batch, off a prefix that they may have kept, and are restarted
with other versions: so a probability is not the same to the last digit, and sometimes not to the first. A share of the
principles of a run's comparisons is judged a second time when all rows are done. Which ones is decided by their hashes,
so the same run asks the same again, and what was answered stands in the ledger under keys of its own. No label changes.
"""

import heapq
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple, Protocol

from base.digest import unit_interval
from base.together import together
from critic.engine import EngineError, RunStopped
from critic.engine_kinds.capabilities import VARIES
from critic.judging.base import Question
from critic.judging.jury import Jury
from critic.pipeline import Pipeline
from critic.records import Judgement, Row, Vote
from critic.run.config import Seat
from critic.run.execute import Progress

AT_LEAST = 8
AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class AskedAgain:
    """One principle of one comparison, by the place where its votes stand."""

    row: int
    judgement: int
    juror: int
    principle: str


@dataclass(frozen=True, slots=True)
class Retest:
    """What came of it: ``votes`` that were read both times.

    ``spread`` is the mean of the absolute differences of log-odds, ``largest`` the largest; ``turned`` counts those
    that prefer the other response, ``unread`` those that could be read one time only or not be asked. ``varies`` says
    of each judge what its answers vary by, as far as is known.
    """

    votes: int
    spread: float | None
    largest: float | None
    turned: int
    unread: int
    varies: Mapping[str, str]

    def plain(self) -> dict[str, Any]:
        """As plain data, for the manifest."""
        return {
            "votes": self.votes,
            "spread": self.spread,
            "largest": self.largest,
            "turned": self.turned,
            "unread": self.unread,
            "varies": dict(self.varies),
        }


@dataclass(slots=True)
class Tally:
    """Log-odds of votes that were read both times, and how many were read one time only."""

    both: list[tuple[float, float]] = field(default_factory=list)
    unread: int = 0

    def add(self, more: "Tally") -> None:
        """Count what was asked elsewhere, too."""
        self.both += more.both
        self.unread += more.unread

    def result(self, varies: Mapping[str, str]) -> Retest:
        """What it comes to, with what each judge's answers vary by."""
        spreads = [abs(one - other) for one, other in self.both]
        return Retest(
            votes=len(self.both),
            spread=math.fsum(spreads) / len(spreads) if spreads else None,
            largest=max(spreads, default=None),
            turned=sum(one * other < 0 for one, other in self.both),
            unread=self.unread,
            varies=dict(varies),
        )


class Stored(Protocol):
    """Where the rows are: `critic.run.folder.store.RunStore`."""

    def rows(self) -> Iterator[Row]:
        """Every result, in the order of the input."""
        ...

    def row(self, row: int) -> Row | None:
        """The result at one position of the input."""
        ...


class JurorPlace(NamedTuple):
    """A juror's place in its jury, the judge's name and its mode, and what its answers vary by between askings."""

    place: int
    judge: str
    mode: str
    varies: str


def varying(jury: Jury) -> list[JurorPlace]:
    """The jurors whose answers can differ between askings."""
    return _varying((one.engine.identity.name, one.mode.name, one.engine.capabilities) for one in jury.jurors)


def varying_seats(seats: Sequence[Seat], capabilities: Mapping[str, Mapping[str, str]]) -> list[JurorPlace]:
    """As `varying`, of a jury whose engines are elsewhere: ``capabilities`` are theirs, by name."""
    return _varying((seat.judge.name, seat.mode["name"], capabilities[seat.judge.name]) for seat in seats)


def _varying(jurors: Iterable[tuple[str, str, Mapping[str, str]]]) -> list[JurorPlace]:
    numbered = enumerate(jurors)
    return [JurorPlace(i, judge, mode, said[VARIES]) for i, (judge, mode, said) in numbered if VARIES in said]


def chosen(rows: Iterable[Row], jurors: Sequence[JurorPlace], share: float, seed: int) -> list[AskedAgain]:
    """Choose what is asked again: ``share`` of the principles that were judged, at least `AT_LEAST` if there are."""
    drawn: list[AskedAgain] = []
    least: list[tuple[float, int, AskedAgain]] = []  # the largest number first
    for count, (number, asked) in enumerate(_all(rows, jurors, seed)):
        if number < share:
            drawn.append(asked)
        heapq.heappush(least, (-number, count, asked))
        if len(least) > AT_LEAST:
            heapq.heappop(least)
    return sorted({*drawn, *(asked for _, _, asked in least)}, key=lambda asked: (asked.row, asked.judgement))


async def retested(pipeline: Pipeline, store: Stored, share: float, progress: Progress) -> Retest | None:
    """Ask the jury of ``pipeline`` again; None where its answers can't differ, or the run has stopped or stops."""
    jurors = varying(pipeline.jury)
    if progress.stopped or not share or not jurors:
        return None
    wanted, tally = chosen(store.rows(), jurors, share, pipeline.seed), Tally()
    try:
        for part in parts(wanted, store):
            tally.add(await asked_again(part, pipeline))
    except RunStopped as reason:
        progress.stopped = str(reason)
        return None
    return tally.result(what_varies(jurors))


def parts(wanted: Iterable[AskedAgain], store: Stored) -> Iterator[list[tuple[AskedAgain, Row]]]:
    """What is ``wanted``, with the rows that it is about, so many at a time."""
    waiting = iter(wanted)
    while part := list(islice(waiting, AT_ONCE)):
        yield [(asked, _row(store, asked.row)) for asked in part]


async def asked_again(part: Iterable[tuple[AskedAgain, Row]], pipeline: Pipeline) -> Tally:
    """Ask the jury of ``pipeline`` again, all at once. Raises `RunStopped` where it can't be asked any more."""
    tally = Tally()
    for before, after in await together(_again(asked, row, pipeline) for asked, row in part):
        both = [(vote.log_odds, _same(vote, after)) for vote in before]
        tally.both += [(one, other) for one, other in both if one is not None and other is not None]
        tally.unread += sum((one is None) != (other is None) for one, other in both)
    return tally


def what_varies(jurors: Iterable[JurorPlace]) -> dict[str, str]:
    """What each judge's answers vary by."""
    return {juror.judge: juror.varies for juror in jurors}


def _row(store: Stored, number: int) -> Row:
    row = store.row(number)
    assert row is not None, "a row that was just read is gone"
    return row


def _all(rows: Iterable[Row], varying: Sequence[JurorPlace], seed: int) -> Iterator[tuple[float, AskedAgain]]:
    """Each principle that a varying juror has judged, with its number: a hash, by which it is chosen or not."""
    jurors = {(juror.judge, juror.mode): juror.place for juror in varying}
    for row in rows:
        for place, judgement in enumerate(row.judgements):
            sides = (row.candidates[judgement.first].text, row.candidates[judgement.second].text)
            for (judge, mode, principle), _ in _units(judgement):
                juror = jurors.get((judge, mode))
                if juror is not None and principle is not None:
                    number = unit_interval("retest", seed, row.prompt.key, *sides, judge, mode, principle)
                    yield number, AskedAgain(row.row, place, juror, principle)


def _units(judgement: Judgement) -> Iterator[tuple[tuple[str, str, str | None], list[Vote]]]:
    votes: dict[tuple[str, str, str | None], list[Vote]] = {}
    for vote in judgement.votes:
        votes.setdefault((vote.judge, vote.mode, vote.principle), []).append(vote)
    yield from votes.items()


async def _again(asked: AskedAgain, row: Row, pipeline: Pipeline) -> tuple[list[Vote], tuple[Vote, ...]]:
    """A principle's votes as they were given, and as they are given again."""
    judgement, juror, name = row.judgements[asked.judgement], pipeline.jury.jurors[asked.juror], asked.principle
    principle = pipeline.constitution.principle(name)
    first, second = row.candidates[judgement.first].text, row.candidates[judgement.second].text
    question = Question(row.prompt, first, second, (principle,), pipeline.seed, judgement.group)
    unit = (juror.engine.identity.name, juror.mode.name, name)
    before = dict(_units(judgement))[unit]
    try:
        return before, await juror.mode.votes(juror.engine, question)
    except EngineError:
        return before, ()


def _same(vote: Vote, after: Iterable[Vote]) -> float | None:
    return next((one.log_odds for one in after if one.order == vote.order), None)
