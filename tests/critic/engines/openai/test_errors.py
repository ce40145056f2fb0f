"""What is asked again and what ends a call or the run; deadlines, closing, and the two lanes."""

import asyncio
from typing import Any

import pytest

from critic.engine import Engine, EngineDown, EngineError, RequestTooLong, Unavailable
from critic.server.chat_opening import open_engine
from tests.critic.engines.fake_server import NO_WAIT, FakeServer, Fault, chat

from .asking import request, user


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503, 529])
async def test_what_passes_is_asked_again(engine: Engine, server: FakeServer, status: int) -> None:
    server.queue.extend([(status, NO_WAIT, {"error": {"message": "later"}})] * 2)
    assert (await engine.complete(request())).text == "hello"
    assert len(server.asked) == 3


async def test_retry_after_is_honoured(engine: Engine, server: FakeServer) -> None:
    server.queue.append((429, {"retry-after": "1"}, {}))
    before = asyncio.get_running_loop().time()
    await engine.complete(request())
    assert asyncio.get_running_loop().time() - before >= 1


@pytest.mark.parametrize(
    "fault", [Fault.HALF, Fault.DROP, (200, {}, b"<html>busy</html>"), (200, {}, {"error": "busy"})]
)
async def test_an_answer_that_is_none_is_asked_for_again(engine: Engine, server: FakeServer, fault: Any) -> None:
    server.queue.extend([fault, fault])
    assert (await engine.complete(request())).text == "hello"
    assert len(server.asked) == 3


@pytest.mark.parametrize("status", [429, 500])
async def test_what_does_not_pass_is_told_after_all_retries(server: FakeServer, status: int) -> None:
    engine = open_engine(f"org/model@{server.url}", {"retries": "2"})
    server.standing = (status, NO_WAIT, {"error": {"message": "never"}})
    with pytest.raises(Unavailable, match=f"{status}: .*never"):
        await engine.complete(request())
    assert len(server.asked) == 3
    await engine.close()


@pytest.mark.parametrize("status", [401, 402, 403])
async def test_a_key_that_is_refused_ends_the_run(engine: Engine, server: FakeServer, status: int) -> None:
    server.standing = (status, {}, {"error": {"message": "revoked"}})
    with pytest.raises(EngineDown, match=f"{status}: revoked"):
        await engine.complete(request())
    assert len(server.asked) == 1


async def test_a_quota_that_is_used_up_ends_the_run(engine: Engine, server: FakeServer) -> None:
    server.standing = (429, {}, {"error": {"message": "You are out of credits", "code": "insufficient_quota"}})
    with pytest.raises(EngineDown, match="out of credits"):
        await engine.complete(request())
    assert len(server.asked) == 1


async def test_a_server_that_is_gone_ends_the_run_after_all_retries(engine: Engine, server: FakeServer) -> None:
    server.die()
    with pytest.raises(EngineDown, match=r"(?s)no connection to the server.*Start it"):
        await engine.complete(request())


async def test_a_wait_that_is_too_long_ends_the_run_and_nobody_asks_again(engine: Engine, server: FakeServer) -> None:
    server.standing = (429, {"retry-after": "86400"}, {"error": {"message": "tomorrow"}})
    with pytest.raises(EngineDown, match=r"tomorrow.*86400 s"):
        await engine.complete(request())
    with pytest.raises(EngineDown, match="86400 s"):
        await engine.complete(request(seed=6))
    assert len(server.asked) == 1


async def test_another_model_s_answer_is_refused(engine: Engine, server: FakeServer) -> None:
    server.queue.append((200, {}, chat() | {"model": "m-2"}))
    with pytest.raises(EngineError, match="another model answered: 'm-2', and 'org/model' before"):
        await engine.complete(request())


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, {"message": "This model's maximum context length is 2048 tokens. However, you requested 9000."}),
        (400, {"message": "too many", "code": "context_length_exceeded"}),
        (400, {"message": "the request exceeds the available context size, try increasing it", "type": "x"}),
        (413, {"message": "Payload Too Large"}),
    ],
)
async def test_a_chat_that_is_too_long(engine: Engine, server: FakeServer, status: int, error: object) -> None:
    server.standing = (status, {}, {"error": error})
    with pytest.raises(RequestTooLong):
        await engine.complete(request())
    assert len(server.asked) == 1


async def test_another_bad_request_is_not_too_long(engine: Engine, server: FakeServer) -> None:
    server.standing = (400, {}, {"error": {"message": "temperature must be 1"}})
    with pytest.raises(EngineError, match="temperature must be 1") as refused:
        await engine.complete(request())
    assert not isinstance(refused.value, RequestTooLong)


async def test_a_server_that_does_not_answer_in_time(server: FakeServer) -> None:
    engine = open_engine(f"org/model@{server.url}", {"timeout": "1", "retries": "0"})
    server.release.clear()
    with pytest.raises(EngineError, match="did not answer in time"):
        await engine.complete(request())
    server.release.set()
    await engine.close()


async def test_calls_under_way_end_when_the_engine_is_closed(engine: Engine, server: FakeServer) -> None:
    server.release.clear()
    call = asyncio.ensure_future(engine.complete(request()))
    while not server.asked:
        await asyncio.sleep(0.01)
    await engine.close()
    with pytest.raises(EngineError, match="closed"):
        await call
    with pytest.raises(EngineError, match="closed"):
        await engine.complete(request())


async def test_a_cancelled_call_is_cancelled(engine: Engine, server: FakeServer) -> None:
    server.release.clear()
    call = asyncio.ensure_future(engine.complete(request()))
    while not server.asked:
        await asyncio.sleep(0.01)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


@pytest.mark.parametrize("lane", ["batch", "interactive"])
async def test_at_most_so_many_requests_are_under_way(server: FakeServer, lane: Any) -> None:
    engine = open_engine(f"org/model@{server.url}", {"concurrency": "3"})
    server.release.clear()
    calls = asyncio.gather(*(engine.complete(request(seed=i), lane) for i in range(9)))
    while len(server.asked) < 3:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    server.release.set()
    await calls
    assert (server.most_at_once, len(server.asked)) == (3, 9)
    await engine.close()


async def test_the_interactive_lane_does_not_wait_for_the_batch_lane(server: FakeServer) -> None:
    engine = open_engine(f"org/model@{server.url}", {"concurrency": "1"})
    server.release.clear()
    batch = [asyncio.ensure_future(engine.complete(request(user("batch")))) for _ in range(3)]
    while not server.asked:
        await asyncio.sleep(0.01)
    urgent = asyncio.ensure_future(engine.complete(request(user("urgent")), "interactive"))
    while len(server.asked) < 2:
        await asyncio.sleep(0.01)
    assert [body["messages"][0]["content"] for body in server.asked] == ["batch", "urgent"]
    server.release.set()
    await asyncio.gather(urgent, *batch)
    await engine.close()
