"""Votes that are asked twice: how far an engine's answers differ when it is asked the same again.

Servers compute a request with whatever else is in their batch, off a prefix that they may have kept, and are restarted
with other versions: so a probability is not the same to the last digit, and sometimes not to the first. A share of the
principles of a run's comparisons is judged a second time when all rows are done. Which ones is decided by their hashes,
so the same run asks the same again, and what was answered stands in the ledger under keys of its own. No label changes.
"""

import heapq
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from constitution import Constitution
from constitution.digest import unit_interval
from critic.engines.base import EngineError, RunStopped
from critic.engines.capabilities import VARIES
from critic.judging.base import Question
from critic.judging.jury import Jury
from critic.pipeline import Pipeline
from critic.records import Judgement, Row, Vote
from critic.run.execute import Progress
from critic.together import together

SHARE = 0.01
AT_LEAST = 8
_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Asked:
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


class Stored(Protocol):
    """Where the rows are: `critic.run.store.RunStore`."""

    def rows(self) -> Iterator[Row]:
        """Every result, in the order of the input."""
        ...

    def row(self, row: int) -> Row | None:
        """The result at one position of the input."""
        ...


def varying(jury: Jury) -> dict[int, str]:
    """The jurors whose answers can differ between askings, by position, and what they vary by."""
    said = {number: juror.engine.capabilities.get(VARIES) for number, juror in enumerate(jury.jurors)}
    return {number: why for number, why in said.items() if why is not None}


def chosen(rows: Iterable[Row], jury: Jury, share: float, seed: int) -> list[Asked]:
    """Choose what is asked again: ``share`` of the principles that were judged, at least `AT_LEAST` if there are."""
    drawn: list[Asked] = []
    least: list[tuple[float, int, Asked]] = []  # the largest number first
    for count, (number, asked) in enumerate(_all(rows, jury, seed)):
        if number < share:
            drawn.append(asked)
        heapq.heappush(least, (-number, count, asked))
        if len(least) > AT_LEAST:
            heapq.heappop(least)
    return sorted({*drawn, *(asked for _, _, asked in least)}, key=lambda asked: (asked.row, asked.judgement))


async def retested(pipeline: Pipeline, store: Stored, share: float, progress: Progress) -> Retest | None:
    """Ask the jury of ``pipeline`` again; None where its answers can't differ, or the run has stopped or stops."""
    if progress.stopped or not share or not varying(pipeline.jury):
        return None
    wanted = chosen(store.rows(), pipeline.jury, share, pipeline.seed)
    try:
        return await retest(wanted, store, pipeline.jury, pipeline.constitution, pipeline.seed)
    except RunStopped as reason:
        progress.stopped = str(reason)
        return None


async def retest(wanted: Iterable[Asked], store: Stored, jury: Jury, constitution: Constitution, seed: int) -> Retest:
    """Ask ``jury`` again what is ``wanted``. Raises `RunStopped` where it can't be asked any more."""
    found: list[tuple[float, float]] = []
    unread = 0
    waiting = list(wanted)
    for start in range(0, len(waiting), _AT_ONCE):
        asked = (_again(one, store, jury, constitution, seed) for one in waiting[start : start + _AT_ONCE])
        for before, after in await together(asked):
            both = [(vote.log_odds, _same(vote, after)) for vote in before]
            found += [(one, other) for one, other in both if one is not None and other is not None]
            unread += sum((one is None) != (other is None) for one, other in both)
    spreads = [abs(one - other) for one, other in found]
    return Retest(
        votes=len(found),
        spread=math.fsum(spreads) / len(spreads) if spreads else None,
        largest=max(spreads, default=None),
        turned=sum(one * other < 0 for one, other in found),
        unread=unread,
        varies={jury.jurors[number].engine.identity.name: why for number, why in varying(jury).items()},
    )


def _all(rows: Iterable[Row], jury: Jury, seed: int) -> Iterator[tuple[float, Asked]]:
    """Each principle that a varying juror has judged, with its number: a hash, by which it is chosen or not."""
    jurors = {(jury.jurors[i].engine.identity.name, jury.jurors[i].mode.name): i for i in varying(jury)}
    for row in rows:
        for place, judgement in enumerate(row.judgements):
            sides = (row.candidates[judgement.first].text, row.candidates[judgement.second].text)
            for (judge, mode, principle), _ in _units(judgement):
                juror = jurors.get((judge, mode))
                if juror is not None and principle is not None:
                    number = unit_interval("retest", seed, row.prompt.key, *sides, judge, mode, principle)
                    yield number, Asked(row.row, place, juror, principle)


def _units(judgement: Judgement) -> Iterator[tuple[tuple[str, str, str | None], list[Vote]]]:
    votes: dict[tuple[str, str, str | None], list[Vote]] = {}
    for vote in judgement.votes:
        votes.setdefault((vote.judge, vote.mode, vote.principle), []).append(vote)
    yield from votes.items()


async def _again(
    asked: Asked, store: Stored, jury: Jury, constitution: Constitution, seed: int
) -> tuple[list[Vote], tuple[Vote, ...]]:
    """A principle's votes as they were given, and as they are given again."""
    row = store.row(asked.row)
    assert row is not None, "a row that was just read is gone"
    judgement, juror, name = row.judgements[asked.judgement], jury.jurors[asked.juror], asked.principle
    [principle] = [principle for principle in constitution.principles if principle.id == name]
    first, second = row.candidates[judgement.first].text, row.candidates[judgement.second].text
    question = Question(row.prompt, first, second, (principle,), seed, judgement.group)
    unit = (juror.engine.identity.name, juror.mode.name, name)
    before = dict(_units(judgement))[unit]
    try:
        return before, await juror.mode.votes(juror.engine, question)
    except EngineError:
        return before, ()


def _same(vote: Vote, after: Iterable[Vote]) -> float | None:
    return next((one.log_odds for one in after if one.order == vote.order), None)
