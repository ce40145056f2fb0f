"""Wrappers on a fake engine, in virtual time: when each request is sent, and what becomes of it."""

import asyncio
from typing import Any

import pytest

from critic.calls.wrappers import Concurrent, Retrying, ServerBusy, Unreachable
from critic.engine import (
    Engine,
    EngineDown,
    EngineError,
    Lane,
    RequestTooLong,
    Unavailable,
)
from tests.critic.engines.timed_server import Server, one, request, tree
from tests.critic.engines.virtual_time import VirtualTime


@pytest.fixture
def time() -> VirtualTime:
    return VirtualTime()


# Asking again


def retrying(time: VirtualTime, server: Server, retries: int = 3, chance: float = 1.0) -> Retrying:
    return Retrying(server, retries, sleep=time.sleep, chance=lambda: chance)


@pytest.mark.parametrize(("chance", "times"), [(1.0, [0, 1, 3, 7]), (0.0, [0, 0.5, 1.5, 3.5])])
async def test_waits_double_between_their_half_and_their_whole(
    time: VirtualTime, chance: float, times: list[float]
) -> None:
    server = Server(time, *[Unavailable("later")] * 3)
    assert (await one(time, retrying(time, server, chance=chance))).text == "done"
    assert server.times == times


async def test_waits_do_not_grow_for_ever(time: VirtualTime) -> None:
    server = Server(time, *[Unavailable("later")] * 8)
    await one(time, retrying(time, server, retries=8))
    waits = [after - before for before, after in zip(server.times, server.times[1:], strict=False)]
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]


@pytest.mark.parametrize(("asked", "waited"), [(10.0, 10.0), (300.0, 300.0), (0.25, 1.0), (0.0, 1.0)])
async def test_nothing_is_asked_earlier_than_the_server_says(time: VirtualTime, asked: float, waited: float) -> None:
    server = Server(time, Unavailable("later", retry_after=asked))
    await one(time, retrying(time, server))
    assert server.times == [0, waited]


async def test_a_wait_that_is_too_long_is_told(time: VirtualTime) -> None:
    server = Server(time, Unavailable("out of tokens", retry_after=301))
    result = await one(time, retrying(time, server))
    assert isinstance(result, EngineDown) and "out of tokens" in str(result) and "301 s" in str(result)
    assert server.times == [0]


@pytest.mark.parametrize("error", [EngineError("no"), RequestTooLong("no"), EngineDown("no"), ValueError("no")])
async def test_only_what_may_pass_is_asked_again(time: VirtualTime, error: Exception) -> None:
    server = Server(time, error)
    assert await one(time, retrying(time, server)) is error
    assert server.times == [0]


@pytest.mark.parametrize("retries", [0, 1, 3])
async def test_after_the_last_attempt_the_last_error_is_told(time: VirtualTime, retries: int) -> None:
    errors = [Unavailable(f"failure {i}") for i in range(5)]
    server = Server(time, *errors)
    assert await one(time, retrying(time, server, retries)) is errors[retries]
    assert len(server.asked) == retries + 1


async def test_a_server_that_is_gone_ends_the_run_and_one_that_fails_does_not(time: VirtualTime) -> None:
    gone = await one(time, retrying(time, Server(time, Unavailable("500"), Unreachable("nobody")), retries=1))
    assert isinstance(gone, EngineDown) and str(gone) == "nobody"
    there = await one(time, retrying(time, Server(time, Unreachable("nobody"), Unavailable("500")), retries=1))
    assert isinstance(there, Unavailable) and str(there) == "500"


async def test_a_read_that_fails_repeats_no_other(time: VirtualTime) -> None:
    server = Server(time, None, Unavailable("later"))
    [scores] = await time.run(retrying(time, server).score(tree("a", "bb", "ccc")))
    assert [score.values for score in scores] == [(-6.0,), (-7.0,), (-8.0,)]
    assert [text for _, text in server.asked] == ["root a", "root bb", "root ccc", "root bb"]


async def test_a_whole_tree_is_asked_as_one(time: VirtualTime) -> None:
    server = Server(time, Unavailable("later"))
    server.whole_trees = True
    await time.run(retrying(time, server).score(tree("a", "b")))
    assert [text for _, text in server.asked] == ["root a root b"] * 2


# What is under way


@pytest.mark.parametrize("lane", ["batch", "interactive"])
async def test_at_most_so_many_are_under_way(time: VirtualTime, lane: Lane) -> None:
    server = Server(time, seconds=5)
    engine = Concurrent(server, 2, clock=time.clock, sleep=time.sleep)
    await time.run(*(engine.complete(request(), lane) for _ in range(5)))
    assert server.times == [0, 0, 5, 5, 10]


async def test_interactive_requests_never_queue_behind_the_batch_lane(time: VirtualTime) -> None:
    server = Server(time, seconds=5)
    engine = Concurrent(server, 1, clock=time.clock, sleep=time.sleep)
    batch = [engine.complete(request("batch")) for _ in range(3)]
    await time.run(*batch, engine.complete(request("now"), "interactive"))
    assert server.asked == [(0, "batch"), (0, "now"), (5, "batch"), (10, "batch")]


@pytest.mark.parametrize(
    ("error", "second"),
    [
        (ServerBusy("too many", retry_after=10), 10),
        (Unavailable("restarting", retry_after=10), 10),
        (ServerBusy("too many"), 1),
        (Unavailable("this one fails"), 0),
    ],
)
@pytest.mark.parametrize("lane", ["batch", "interactive"])
async def test_while_the_server_is_busy_nobody_else_asks(
    time: VirtualTime, error: Exception, second: float, lane: Lane
) -> None:
    server = Server(time, error)
    engine = Concurrent(server, 1, clock=time.clock, sleep=time.sleep)
    first = asyncio.ensure_future(engine.complete(request("first")))
    await asyncio.wait([first])
    await time.run(engine.complete(request("second"), lane))
    assert server.times == [0, second]
    assert first.exception() is error


async def test_where_the_wait_is_too_long_for_anyone_nobody_waits(time: VirtualTime) -> None:
    server = Server(time, ServerBusy("tomorrow", retry_after=86_400))
    engine = Retrying(Concurrent(server, 1, clock=time.clock, sleep=time.sleep), 3, sleep=time.sleep)
    results = await time.run(*(engine.complete(request()) for _ in range(4)))
    assert all(isinstance(result, EngineDown) and "86400 s" in str(result) for result in results)
    assert (server.times, time.clock()) == ([0], 0)


# Nobody there


def connected(time: VirtualTime, server: Server, limit: int = 2, retries: int = 5) -> Engine:
    return Retrying(
        Concurrent(server, limit, retries, clock=time.clock, sleep=time.sleep), 5, sleep=time.sleep, clock=time.clock
    )


@pytest.mark.parametrize("limit", [1, 2, 16, 64])
async def test_where_nobody_is_there_one_call_tries_for_all_and_all_end_at_once(time: VirtualTime, limit: int) -> None:
    server = Server(time, *[Unreachable("nobody")] * 1000)
    results = await time.run(*_many(connected(time, server, limit), 216))
    assert all(isinstance(result, EngineDown) and str(result) == "nobody" for result in results)
    assert time.clock() == 20
    assert server.times == [0, 1, 3, 7, 15, 20]


async def test_a_server_that_comes_back_gets_every_call_once(time: VirtualTime) -> None:
    server = Server(time, *[Unreachable("nobody")] * 4)
    results = await time.run(*_many(connected(time, server, limit=1), 5))
    assert [result.text for result in results] == ["done"] * 5
    assert server.times == [0, 1, 3, 7, 15, 15, 15, 15, 15]


async def test_after_a_server_is_given_up_nobody_waits_for_it_again_until_it_answers(time: VirtualTime) -> None:
    server = Server(time, *[Unreachable("nobody")] * 7, None, Unreachable("again"))
    engine = connected(time, server)
    await time.run(engine.complete(request()))
    [down] = await time.run(engine.complete(request()))
    assert isinstance(down, EngineDown) and time.clock() == 20
    results = await time.run(engine.complete(request()))
    assert results[0].text == "done"
    [back] = await time.run(engine.complete(request()))
    assert back.text == "done" and time.clock() == 21


async def test_a_call_that_is_given_up_leaves_the_trying_to_the_next(time: VirtualTime) -> None:
    server = Server(time, *[Unreachable("nobody")] * 2)
    engine = connected(time, server)
    first = asyncio.ensure_future(engine.complete(request()))
    second = asyncio.ensure_future(engine.complete(request()))
    await asyncio.sleep(0.01)
    first.cancel()
    [result] = await time.run(_await(second))
    assert result.text == "done"


async def test_a_server_that_is_there_again_and_busy_is_not_gone(time: VirtualTime) -> None:
    server = Server(time, Unreachable("nobody"), ServerBusy("loading"))
    results = await time.run(*_many(connected(time, server, limit=1), 3))
    assert [result.text for result in results] == ["done"] * 3


async def test_a_server_that_is_too_busy_for_anyone_ends_the_run(time: VirtualTime) -> None:
    server = Server(time, *[ServerBusy("no quota")] * 5000)
    results = await time.run(*_many(connected(time, server, limit=1), 20))
    assert all(isinstance(result, EngineDown) and "nothing was answered" in str(result) for result in results)
    assert 90 < time.clock() < 110


async def test_one_answer_among_refusals_is_not_too_busy(time: VirtualTime) -> None:
    server = Server(time, *[ServerBusy("slow down")] * 60, None, *[ServerBusy("slow down")] * 60)
    results = await time.run(*_many(connected(time, server, limit=1), 20))
    assert not any(isinstance(result, EngineDown) for result in results)


def _many(engine: Engine, calls: int) -> list[Any]:
    return [engine.complete(request(str(number))) for number in range(calls)]


async def _await(call: "asyncio.Future[Any]") -> Any:
    return await call


async def test_waits_are_told_before_five_seconds_of_silence_and_no_more_often(
    time: VirtualTime, caplog: pytest.LogCaptureFixture
) -> None:
    server = Server(time, *[Unreachable("nobody")] * 1000)
    await time.run(*_many(connected(time, server, 16), 216))
    assert [record.getMessage() for record in caplog.records] == [
        "waiting: nobody; next try in 4 s",
        "waiting: nobody; next try in 8 s",
        "waiting: nobody; next try in 5 s",
    ]
