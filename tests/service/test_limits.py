"""What one client may cost the others, at the ASGI boundary."""

import asyncio
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from service import limits
from service.limits import Limits, Pace
from service.problems import Problem


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
    whole = {"type": "http", "path": "/", "query_string": b"", "headers": raw} | scope
    await Limits(application, most)(whole, receive, send)
    return int(sent[0]["status"])


async def test_a_body_may_be_as_long_as_the_limit() -> None:
    assert await answer([b"12345", b"67890"]) == 200
    assert await answer([b"1234567890"], {"content-length": "10"}) == 200


async def test_a_longer_body_is_refused_by_what_it_says_and_by_what_comes() -> None:
    assert await answer([b""], {"content-length": "11"}) == 413
    assert await answer([b"12345", b"67890", b"!"]) == 413
    assert await answer([b"12345", b"67890!"], {"content-length": "1"}) == 413
    assert await answer([b""], {"content-length": "many"}) == 413


async def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BODY_SECONDS", 0.01)
    sent: list[Message] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    await Limits(application, 10)({"type": "http", "path": "/", "headers": []}, receive, send)
    assert sent[0]["status"] == 408


async def test_a_nul_in_the_address_is_refused() -> None:
    assert await answer([b""], query_string=b"kind=%00") == 400
    assert await answer([b""], path="/v1/keys/\0") == 400


def test_a_caller_who_asks_too_often_is_told_how_long_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("service.limits.time.monotonic", lambda: clock[0])
    pace = Pace(per_minute=60)
    for _ in range(10):  # a sixth of a minute's requests at once
        pace.take("ada")
    with pytest.raises(Problem) as refused:
        pace.take("ada")
    assert refused.value.status_code == 429
    assert refused.value.headers == {"Retry-After": "1"}
    pace.take("grace")
    clock[0] += 1.0
    pace.take("ada")
    with pytest.raises(Problem):
        pace.take("ada")
