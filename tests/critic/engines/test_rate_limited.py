"""Requests and tokens a minute, in virtual time: when each request is sent."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from critic.calls.wrappers import RateLimited, Retrying
from critic.engine import (
    Unavailable,
)
from tests.critic.engines.timed_server import Server, request, tree
from tests.critic.engines.virtual_time import VirtualTime


@pytest.fixture
def time() -> VirtualTime:
    return VirtualTime()


def limited(time: VirtualTime, server: Server, rpm: int | None = None, tpm: int | None = None) -> RateLimited:
    return RateLimited(server, rpm, tpm, clock=time.clock, sleep=time.sleep)


async def test_requests_are_spread_over_the_minute(time: VirtualTime) -> None:
    server = Server(time)
    engine = limited(time, server, rpm=30)
    await time.run(*(engine.complete(request()) for _ in range(4)))
    assert server.times == [0, 2, 4, 6]


async def test_what_was_not_used_before_makes_no_burst(time: VirtualTime) -> None:
    server = Server(time)
    engine = limited(time, server, rpm=120)
    await time.run(time.sleep(600))
    await time.run(*(engine.complete(request()) for _ in range(5)))
    assert server.times == [600, 600, 600.5, 601, 601.5]


# 24 characters are 6 tokens, a message is 4 more, and 40 may be written: 50 tokens, as far as is known before.
ABOUT_50_TOKENS = request("a" * 24, max_tokens=40)


@pytest.mark.parametrize(
    ("used", "times"),
    [
        (50, [0, 5, 10]),  # 10 tokens a second
        (10, [0, 1, 2]),  # it took fewer than were set aside
        (110, [0, 11, 22]),  # it took more
    ],
)
async def test_tokens_are_estimated_before_and_corrected_after(
    time: VirtualTime, used: int, times: list[float]
) -> None:
    server = Server(time, used=used)
    engine = limited(time, server, tpm=600)
    await time.run(*(engine.complete(ABOUT_50_TOKENS) for _ in range(3)))
    assert server.times == times


async def test_room_for_thoughts_is_reserved(time: VirtualTime) -> None:
    server = Server(time, seconds=60, used=50)
    server.usage.room = 550
    engine = limited(time, server, tpm=600)
    await time.run(*(engine.complete(ABOUT_50_TOKENS) for _ in range(2)))
    assert server.times == [0, 60]  # 600 tokens may be under way, and no other


async def test_what_failed_used_nothing(time: VirtualTime) -> None:
    server = Server(time, Unavailable("later"), used=50)
    engine = limited(time, server, tpm=600)
    await time.run(*(engine.complete(ABOUT_50_TOKENS) for _ in range(3)))
    assert server.times == [0, 0, 5]


async def test_each_attempt_and_each_read_counts_as_a_request(time: VirtualTime) -> None:
    server = Server(time, Unavailable("later"))
    engine = Retrying(limited(time, server, rpm=6), 3, sleep=time.sleep, chance=lambda: 1.0)
    await time.run(engine.complete(request()), engine.complete(request()))
    assert server.times == [0, 10, 20]
    server.asked.clear()
    server.whole_trees = True
    await time.run(engine.score(tree("a", "b", "c")), engine.complete(request()))
    assert server.times == [30, 60]


async def test_the_interactive_lane_goes_first(time: VirtualTime) -> None:
    server = Server(time)
    engine = limited(time, server, rpm=60)

    async def later() -> None:
        await time.sleep(1.5)
        await engine.complete(request("now"), "interactive")

    await time.run(*(engine.complete(request("batch")) for _ in range(5)), later())
    assert [text for _, text in server.asked] == ["batch", "batch", "now", "batch", "batch", "batch"]
    assert server.times == [0, 1, 2, 3, 4, 5]


PAUSES = st.lists(st.sampled_from([0.0, 0.1, 1.0, 7.0, 90.0]), min_size=1, max_size=30)


@settings(max_examples=50)
@given(pauses=PAUSES, rpm=st.integers(1, 600), tpm=st.integers(60, 60_000), used=st.integers(0, 5000))
def test_no_stretch_of_time_holds_more_than_its_share(pauses: list[float], rpm: int, tpm: int, used: int) -> None:
    time = VirtualTime()
    server = Server(time, used=used)
    engine = limited(time, server, rpm, tpm)

    async def ask_after_each_pause() -> None:
        for pause in pauses:
            await time.sleep(pause)
            await engine.complete(ABOUT_50_TOKENS)

    asyncio.run(time.run(ask_after_each_pause()))
    times = [when for when, _ in server.asked]
    assert len(times) == len(pauses)
    for i, begin in enumerate(times):
        for j, end in enumerate(times[i:]):
            # Before request j went there was room for it, and j requests had gone since the stretch began.
            assert j + min(1, rpm / 60) <= rpm / 60 * (1 + end - begin) + 1e-3
            assert j * used + min(50, tpm / 60) <= tpm / 60 * (1 + end - begin) + 1e-1
    # And nobody waits without need: a request's share of the minute, and the debt of those before it.
    assert times[-1] <= sum(pauses) + len(times) * (60 / rpm + (50 + used) * 60 / tpm) + 1e-3
