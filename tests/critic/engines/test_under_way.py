"""What a run shows of its engines: the time of their answers, without that which calls wait in this process."""

import asyncio

import pytest

from critic.calls.under_way import CallsUnderWay
from critic.calls.wrappers import Concurrent, RateLimited, Retrying
from critic.engine import Engine, Unavailable
from tests.critic.engines.timed_server import Server, request
from tests.critic.engines.virtual_time import VirtualTime


@pytest.fixture
def time() -> VirtualTime:
    return VirtualTime()


async def ask(calls: CallsUnderWay, engine: Engine, name: str = "openai:m") -> None:
    with calls.call(name):
        await engine.complete(request())


async def test_a_wait_for_a_place_is_no_time_of_the_server(time: VirtualTime) -> None:
    calls = CallsUnderWay(time.clock)
    engine = Concurrent(Server(time, seconds=4.0), 3, clock=time.clock, sleep=time.sleep)
    told: list[str] = []

    async def watch() -> None:
        await time.sleep(2.0)
        told.append(calls.told())
        await time.sleep(4.0)
        told.append(calls.told())

    await time.run(watch(), *(ask(calls, engine) for _ in range(12)))
    assert told == [
        "3 asked, the oldest of openai:m since 2 s; 9 queued",
        "slowest: openai:m, 4 s an answer; 3 asked, the oldest since 2 s; 6 queued",
    ]
    assert [seconds for _, seconds in calls.took["openai:m"]] == [4.0] * 12


async def test_nor_is_one_for_a_rate_or_for_the_next_try(time: VirtualTime) -> None:
    calls = CallsUnderWay(time.clock)
    server = Server(time, Unavailable("later"), seconds=3.0)
    limited = RateLimited(server, rpm=1, tpm=None, clock=time.clock, sleep=time.sleep)
    engine = Retrying(Concurrent(limited, 1, clock=time.clock, sleep=time.sleep), 2, sleep=time.sleep)
    queued: list[str] = []

    async def watch() -> None:
        await time.sleep(3.3)  # the first try has failed, and the next is not made yet
        queued.append(calls.told())

    await time.run(watch(), ask(calls, engine))
    assert queued == ["1 queued"]


async def test_a_call_that_fails_says_nothing_of_answers(time: VirtualTime) -> None:
    calls = CallsUnderWay(time.clock)
    await time.run(ask(calls, Server(time, Unavailable("no"), seconds=1.0)))
    assert calls.told() == "" and not calls.took and not calls.calls


async def test_calls_without_queues_are_asked_from_their_beginning() -> None:
    now = [0.0]
    calls = CallsUnderWay(lambda: now[0])
    with calls.call("hf:policy"):
        now[0] = 5.0
        assert calls.told() == "1 asked, the oldest of hf:policy since 5 s"
        await asyncio.gather(*(_end(calls, now) for _ in range(2)))
        assert calls.told() == "slowest: hf:judge, 2 s an answer; 1 asked, the oldest of hf:policy since 9 s"


async def _end(calls: CallsUnderWay, now: list[float]) -> None:
    with calls.call("hf:judge"):
        now[0] += 2.0


def test_the_slowest_is_the_one_whose_answers_took_longest_lately() -> None:
    now = [0.0]
    calls = CallsUnderWay(lambda: now[0])

    def answer(engine: str, began: float, ended: float) -> None:
        now[0] = began
        with calls.call(engine):
            now[0] = ended

    assert calls.told() == ""
    answer("openai:quick", 0.0, 1.0)
    answer("openai:judge", 0.0, 5.0)
    answer("openai:judge", 2.0, 5.0)
    assert calls.told() == "slowest: openai:judge, 4 s an answer"
    answer("openai:quick", 68.0, 70.0)
    assert calls.told() == "slowest: openai:quick, 2 s an answer"  # the other's are more than a minute ago
