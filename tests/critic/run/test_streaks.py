"""Rows that fail alike: the engine's fault stops the run and blames none of them, their own faults quarantine them."""

from collections.abc import Callable
from typing import Any, cast

import pytest

from critic.calls.faults import NONE_DONE, SOME_DONE, Streak
from critic.engine import EngineDown, EngineError, HeldBack, RequestTooLong, Signature
from critic.pipeline import Pipeline
from critic.records import Item, Line, Message, Prompt, Quarantined, Row
from critic.run.execute import Progress, execute_rows
from critic.run.reasons import Causes

Answer = Callable[[int], Exception | None]


class Scripted:
    """A pipeline that answers a row, or fails as told."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.asked: list[int] = []

    async def run(self, line: Line) -> Row:
        self.asked.append(line.row)
        error = self._answer(line.row)
        if error is not None:
            raise error
        prompt = line.item.prompt
        return Row(row=line.row, where=line.where, prompt=prompt, chains=(), candidates=(), judgements=(), pairs=())


class Kept:
    """A store in memory."""

    def __init__(self) -> None:
        self.rows: dict[int, Row | Quarantined] = {}

    def is_done(self, row: int, item: str, plan: str) -> bool:
        return isinstance(self.rows.get(row), Row)

    async def finish(self, result: Row | Quarantined, item: str, plan: str) -> None:
        self.rows[result.row] = result

    async def trim(self, rows: int) -> None:
        raise AssertionError("nothing is trimmed here")

    @property
    def refused(self) -> list[Quarantined]:
        return [result for result in self.rows.values() if isinstance(result, Quarantined)]


def lines(count: int) -> list[Line]:
    prompts = [Prompt(messages=(Message(role="user", content=f"question {i}"),)) for i in range(count)]
    return [Line(row=i, where=f"p:{i + 1}", item=Item(prompt=prompt)) for i, prompt in enumerate(prompts)]


async def run(answer: Answer, count: int = 300, store: Kept | None = None) -> tuple[Progress, Kept, Scripted]:
    progress, kept, pipeline = Progress(), store or Kept(), Scripted(answer)
    await execute_rows(cast(Pipeline, cast(Any, pipeline)), lines(count), kept, "plan", progress, Streak())
    return progress, kept, pipeline


async def test_an_engine_that_fails_every_row_stops_the_run_and_no_row_is_blamed() -> None:
    progress, kept, pipeline = await run(lambda row: EngineError(f"the model broke at {row}: no weights"))
    assert "none was answered: the model broke at" in progress.stopped and "no weights" in progress.stopped
    assert (progress.quarantined, kept.rows) == (0, {})
    assert len(pipeline.asked) < 100
    again, kept, _ = await run(lambda row: None, store=kept)
    assert (again.rows, again.stopped, len(kept.rows)) == (300, "", 300)


async def test_an_engine_that_breaks_in_the_middle_stops_the_run_and_what_was_done_is_kept() -> None:
    progress, kept, _ = await run(lambda row: EngineError("out of memory") if row >= 100 else None)
    assert "out of memory" in progress.stopped
    assert (progress.rows, progress.quarantined, len(kept.rows)) == (100, 0, 100)


async def test_a_few_rows_that_fail_are_quarantined_and_the_run_goes_on() -> None:
    progress, kept, _ = await run(lambda row: EngineError("bad") if row % 10 == 3 else None)
    assert (progress.rows, progress.quarantined, progress.stopped) == (270, 30, "")
    assert {refused.row % 10 for refused in kept.refused} == {3}


async def test_too_few_rows_for_a_streak_are_quarantined() -> None:
    progress, kept, _ = await run(lambda row: EngineError("bad"), count=NONE_DONE - 1)
    assert (progress.quarantined, progress.stopped) == (NONE_DONE - 1, "")
    assert len(kept.refused) == NONE_DONE - 1


async def test_parts_of_a_run_that_are_too_small_for_a_streak_make_one_together() -> None:
    streak, kept, stopped = Streak(), Kept(), []
    for part in range(4):
        progress, pipeline = Progress(), Scripted(lambda row: EngineError("no weights"))
        rows = lines(20)[part * 5 : part * 5 + 5]
        await execute_rows(cast(Pipeline, cast(Any, pipeline)), rows, kept, "plan", progress, streak)
        stopped.append("no weights" in progress.stopped)
    assert stopped == [False, True, True, True]
    assert sorted(kept.rows) == [0, 1, 2, 3, 4]  # the others are not blamed, and not asked for in vain
    assert pipeline.asked == []


@pytest.mark.parametrize(
    ("error", "reason"), [(RequestTooLong("9000 tokens"), "too_long"), (HeldBack("violence"), "held_back")]
)
async def test_what_every_row_s_content_causes_is_charged_to_the_rows(error: EngineError, reason: str) -> None:
    progress, kept, _ = await run(lambda row: error)
    assert (progress.quarantined, progress.stopped) == (300, "")
    assert {refused.reason for refused in kept.refused} == {reason}


async def test_requests_that_are_refused_side_by_side_are_the_rows_own_where_others_were_answered() -> None:
    bad = EngineError("no pictures", Signature("no pictures", 400))
    progress, _, _ = await run(lambda row: bad if row >= 100 else None)
    assert (progress.rows, progress.quarantined, progress.stopped) == (100, 200, "")


async def test_a_stop_of_another_kind_blames_nobody_for_what_failed_just_before() -> None:
    def answer(row: int) -> Exception | None:
        return EngineError("500: gone away") if row < SOME_DONE else EngineDown("nobody is there")

    progress, kept, _ = await run(answer, count=5)
    assert (progress.quarantined, progress.stopped) == (5, "")
    progress, kept, _ = await run(lambda row: EngineDown("nobody is there") if row else EngineError("500: gone away"))
    assert (progress.stopped, kept.rows) == ("nobody is there", {})


def test_the_commonest_reasons_come_with_their_counts_and_a_place_each() -> None:
    causes = Causes()
    told = [("engine_error", "400: no 'a' at 3")] * 2 + [("too_long", "9,000 characters")] * 5
    told += [("engine_error", "400: no 'b' at 8"), ("broken_line", "not JSON"), ("bad_rows", "x"), ("bad_rows", "x")]
    for row, (reason, detail) in enumerate(told):
        causes.add(Quarantined(row=row, where=f"p:{row + 1}", reason=reason, detail=detail))
    assert [str(cause) for cause in causes.commonest()] == [
        "5 x too_long, first at p:3: 9,000 characters",
        "3 x engine_error, first at p:1: 400: no 'a' at 3",
        "2 x bad_rows, first at p:10: x",
    ]
