"""What one client may cost the others, at the ASGI boundary."""

import asyncio
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from service.bounds import limits
from service.bounds.limits import SHORT_BYTES, Limits, Room, TokenBuckets
from service.problems import STATUS
from service.refusals import Refusal


async def answer(body: list[bytes], headers: dict[str, str] | None = None, most: int = 10, **scope: Any) -> int:
    """The status that a request gets from an application that reads all of its body and answers 200."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    parts = iter(body)
    sent: list[Message] = []

    async def receive() -> Message:
        part = next(parts)
        return {"type": "http.request", "body": part, "more_body": part is not body[-1]}

    async def send(message: Message) -> None:
        sent.append(message)

    raw = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    whole = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": raw} | scope
    await Limits(application, most, bodies_bytes=1000, body_seconds=60)(whole, receive, send)
    return int(sent[0]["status"])


async def test_a_body_may_be_as_long_as_the_limit() -> None:
    assert await answer([b"12345", b"67890"]) == 200
    assert await answer([b"1234567890"], {"content-length": "10"}) == 200


async def test_a_longer_body_is_refused_by_what_it_says_and_by_what_comes() -> None:
    assert await answer([b""], {"content-length": "11"}) == 413
    assert await answer([b"12345", b"67890", b"!"]) == 413
    assert await answer([b"12345", b"67890!"], {"content-length": "1"}) == 413
    assert await answer([b""], {"content-length": "many"}) == 413


async def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    sent: list[Message] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    limited = Limits(application, 10, bodies_bytes=1000, body_seconds=0.01)
    await limited({"type": "http", "method": "POST", "path": "/", "headers": []}, receive, send)
    assert sent[0]["status"] == 408


async def test_a_nul_in_the_address_is_refused() -> None:
    assert await answer([b""], query_string=b"kind=%00") == 400
    assert await answer([b""], path="/v1/keys/\0") == 400


def test_a_caller_who_asks_too_often_is_told_how_long_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("service.bounds.limits.time.monotonic", lambda: clock[0])
    pace = TokenBuckets(per_minute=60, at_once=10)
    for _ in range(10):  # a sixth of a minute's requests at once
        pace.take("ada")
    with pytest.raises(Refusal) as refused:
        pace.take("ada")
    assert STATUS[type(refused.value)] == 429
    assert refused.value.retry_after == 1
    pace.take("grace")
    clock[0] += 1.0
    pace.take("ada")
    with pytest.raises(Refusal):
        pace.take("ada")


def test_a_caller_has_only_so_many_requests_under_way() -> None:
    pace = TokenBuckets(per_minute=60, at_once=2)
    with pace.under_way("ada"):
        with pace.under_way("ada"):
            with pytest.raises(Refusal) as refused, pace.under_way("ada"):
                pass
            assert STATUS[type(refused.value)] == 429 and "2 requests at once" in refused.value.detail
            with pace.under_way("grace"):
                pass
        with pace.under_way("ada"):
            pass
    assert not pace._under_way  # nothing is kept of callers that have nothing under way


async def test_room_is_given_in_the_order_of_asking_and_comes_back() -> None:
    room = Room(100)
    await room.take(60)
    order: list[str] = []

    async def take(name: str, size: int) -> None:
        await room.take(size)
        order.append(name)

    large = asyncio.create_task(take("large", 1000))  # more than there is: all of it
    await asyncio.sleep(0)
    small = asyncio.create_task(take("small", 10))
    await asyncio.sleep(0)
    assert order == []  # the small one fits, and doesn't go first: the large one would never come
    room.give_back(60)
    await large
    assert order == ["large"]
    room.give_back(1000)
    await small
    assert order == ["large", "small"]


async def test_who_waits_too_long_or_goes_away_leaves_the_room_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TURN_SECONDS", 0.01)
    room = Room(100)
    await room.take(60)
    with pytest.raises(Refusal) as refused:
        await room.take(60)
    assert (STATUS[type(refused.value)], refused.value.slug) == (503, "busy")
    assert refused.value.retry_after == 5
    monkeypatch.setattr(limits, "TURN_SECONDS", 60)
    gone = asyncio.create_task(room.take(60))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    await room.take(40)
    room.give_back(60)
    room.give_back(40)
    await room.take(100)


async def test_long_bodies_share_their_memory_and_short_ones_wait_for_nobody() -> None:
    inside, go = asyncio.Semaphore(0), asyncio.Event()
    at_once = most_at_once = 0

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal at_once, most_at_once
        await receive()
        at_once += 1
        most_at_once = max(at_once, most_at_once)
        inside.release()
        await go.wait()
        at_once -= 1

    limited = Limits(application, 10 * SHORT_BYTES, bodies_bytes=4 * SHORT_BYTES, body_seconds=60)

    async def send(message: Message) -> None:
        raise AssertionError("nothing is answered")

    async def asked(size: int) -> None:
        async def receive() -> Message:
            return {"type": "http.request", "body": b"x", "more_body": False}

        headers = [(b"content-length", str(size).encode())]
        await limited({"type": "http", "method": "POST", "path": "/", "headers": headers}, receive, send)

    async with asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(asked(2 * SHORT_BYTES))
        group.create_task(asked(SHORT_BYTES))
        for _ in range(3):
            await inside.acquire()
        assert at_once == 3  # two long ones, and the short one
        go.set()
    assert most_at_once == 3


async def cookies_seen(cookie: bytes) -> list[bytes]:
    """The cookies that an application sees of those that came."""
    seen: list[bytes] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend(value for name, value in scope["headers"] if name == b"cookie")

    async def nothing(*_: Any) -> Any:
        raise AssertionError("nothing is received or sent")

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"host", b"a"), (b"cookie", cookie)]}
    await Limits(application, 10, bodies_bytes=1000, body_seconds=60)(scope, nothing, nothing)
    return seen


async def test_no_cookie_comes_in_whose_reading_takes_the_square_of_its_length() -> None:
    """60 KB of escaped quotes, without any key, took the event loop for 12 s before anybody had asked for a cookie."""
    assert await cookies_seen(b"cai_session=a-_b; cai_zone=Europe/Berlin") == [
        b"cai_session=a-_b; cai_zone=Europe/Berlin"
    ]
    bomb = b'x="' + b'\\"' * 10_000 + b'"'
    assert await cookies_seen(b"cai_session=a; " + bomb + b"; cai_zone=UTC") == [b"cai_session=a; cai_zone=UTC"]
    assert await cookies_seen(b'"quoted"="also"') == [b""]


async def test_address_and_headers_have_only_so_many_bytes() -> None:
    assert await answer([b""], {"x-long": "x" * (limits.HEAD_BYTES - 100)}) == 200
    assert await answer([b""], {"x-long": "x" * limits.HEAD_BYTES}) == 413
    assert await answer([b""], {f"x-{number}": "x" * 100 for number in range(limits.HEAD_BYTES // 100)}) == 413
    assert await answer([b""], path="/" + "x" * limits.HEAD_BYTES) == 413
    assert await answer([b""], query_string=b"a=" + b"x" * limits.HEAD_BYTES) == 413
