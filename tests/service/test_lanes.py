"""Long work: it ends with its client and with its time, and what would wait too long is refused."""

import asyncio
import sys
import threading
import time
from collections.abc import AsyncIterator

import pytest
from starlette.requests import Request
from starlette.types import Message

from service.bounds.behind import Behind
from service.bounds.lanes import PAUSES, SLICE_SECONDS, SWITCH_SECONDS, Lane, Stop, Stopped
from service.problems import STATUS
from service.refusals import Refusal


class Client:
    """Somebody who waits, until ``leave`` is called."""

    def __init__(self) -> None:
        self._gone = asyncio.Event()
        self.request = Request({"type": "http", "headers": []}, self._receive)

    def leave(self) -> None:
        self._gone.set()

    async def _receive(self) -> Message:
        await self._gone.wait()
        return {"type": "http.disconnect"}


class Work:
    """Long work that looks whether it is to stop; it goes on until it is let go."""

    def __init__(self) -> None:
        self.begun, self.ended, self.let_go = threading.Event(), threading.Event(), threading.Event()

    def __call__(self, stop: Stop) -> str:
        self.begun.set()
        try:
            while not self.let_go.wait(0.001):
                stop.check()
            return "done"
        finally:
            self.ended.set()


@pytest.fixture
async def lane() -> AsyncIterator[Lane]:
    async with Lane("figures", at_once=1, waiting=1, seconds=3600) as opened:
        yield opened


async def happened(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, 30)


async def test_work_ends_where_its_client_goes_away_and_the_next_has_its_place(lane: Lane) -> None:
    client, endless, next_one = Client(), Work(), Work()
    first = asyncio.create_task(lane.run(client.request, endless))
    await happened(endless.begun)
    second = asyncio.create_task(lane.run(Client().request, next_one))
    client.leave()
    with pytest.raises(Refusal) as gone:
        await first
    assert gone.value.slug == "client_gone" and endless.ended.is_set()
    next_one.let_go.set()
    assert await second == "done"


async def test_work_that_has_not_begun_never_does_where_its_client_is_gone(lane: Lane) -> None:
    client, under_way, waiting = Client(), Work(), Work()
    first = asyncio.create_task(lane.run(Client().request, under_way))
    await happened(under_way.begun)
    second = asyncio.create_task(lane.run(client.request, waiting))
    await asyncio.sleep(0)
    client.leave()
    with pytest.raises(Refusal):
        await second
    under_way.let_go.set()
    assert await first == "done"
    assert not waiting.begun.is_set()


async def test_what_would_wait_behind_too_many_is_refused_at_once(lane: Lane) -> None:
    works = [Work(), Work()]
    tasks = [asyncio.create_task(lane.run(Client().request, work)) for work in works]
    await happened(works[0].begun)
    with pytest.raises(Refusal) as refused:
        await lane.run(Client().request, Work())
    assert (STATUS[type(refused.value)], refused.value.slug) == (503, "busy")
    assert refused.value.retry_after == 5
    for work in works:
        work.let_go.set()
    assert await asyncio.gather(*tasks) == ["done", "done"]
    last = Work()
    last.let_go.set()
    assert await lane.run(None, last) == "done"


async def test_work_has_an_end_that_is_counted_from_its_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("service.bounds.lanes.time.monotonic", lambda: clock[0])
    stop = Stop(10)
    clock[0] += 100  # it waits for its turn
    stop.check()
    stop.begin()
    clock[0] += 10
    assert list(stop.watched("ab")) == ["a", "b"]
    clock[0] += 0.1
    with pytest.raises(Refusal) as late:
        next(stop.watched("a"))
    assert (STATUS[type(late.value)], late.value.slug) == (503, "took_too_long")
    stop.set()
    with pytest.raises(Stopped):
        stop.check()


async def test_a_server_that_ends_does_not_wait_for_long_work() -> None:
    work = Work()
    async with Lane("figures", 1, 0, 3600) as lane:
        task = asyncio.create_task(lane.run(None, work))
        await happened(work.begun)
    await happened(work.ended)
    with pytest.raises(Stopped):
        await task


async def test_what_work_raises_is_raised(lane: Lane) -> None:
    def fails(stop: Stop) -> str:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await lane.run(Client().request, fails)


async def test_threads_give_way_sooner_while_anything_long_is_under_way() -> None:
    usual = sys.getswitchinterval()
    seen: list[float] = []
    async with Lane("figures", at_once=2, waiting=0, seconds=60) as lane:
        both = threading.Barrier(2)

        def work(stop: Stop) -> None:
            both.wait(60)
            seen.append(sys.getswitchinterval())
            both.wait(60)

        await asyncio.gather(lane.run(None, work), lane.run(None, work))
    assert seen == [pytest.approx(SWITCH_SECONDS)] * 2 and sys.getswitchinterval() == pytest.approx(usual)


class Late(Behind):
    """An event loop that is as far behind as the test says."""

    seconds = 0.0


async def test_work_pauses_while_the_event_loop_is_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    behind, worked, paused = Late(), [0.0], list[float]()
    monkeypatch.setattr("service.bounds.lanes.time.thread_time", lambda: worked[0])
    stop = Stop(60, behind)
    monkeypatch.setattr(stop._set, "wait", paused.append)
    stop.check()
    worked[0] += 1  # nobody was kept waiting
    stop.check()
    behind.seconds = 1.0
    stop.check()
    worked[0] += 0.9 * SLICE_SECONDS
    stop.check()
    assert paused == []
    worked[0] += 0.9 * SLICE_SECONDS
    stop.check()
    assert paused == [pytest.approx(PAUSES * 1.8 * SLICE_SECONDS)]
    stop.check()
    assert len(paused) == 1


async def test_a_loop_that_is_kept_busy_is_behind_while_somebody_looks() -> None:
    behind = Behind()
    time.sleep(0.05)
    assert behind.seconds == 0
    with behind:
        time.sleep(0.05)  # a turn of the loop that takes so long
        assert behind.seconds > 0.04
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert behind.seconds > 0.04  # it has come by now, so late
    assert behind.seconds == 0
