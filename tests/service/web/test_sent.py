"""Forms as browsers and others send them: read to the character, and in time that grows with their length."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from urllib.parse import urlencode

import pytest
from starlette.datastructures import UploadFile
from starlette.requests import Request

from service.refusals import Malformed, TooLarge
from service.web.sent import form_body
from service.web.sent.form_body import MOST_FIELDS, form_of

ESCAPED = "application/x-www-form-urlencoded"
PART = b'--b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'


async def read(body: bytes, kind: str = ESCAPED) -> list[tuple[str, str | UploadFile]]:
    """What is read of a form that comes in several pieces."""
    pieces = [body[: len(body) // 2], body[len(body) // 2 :]]

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"content-type", kind.encode())]}
    async with AsyncExitStack() as stack:
        form = await stack.enter_async_context(form_of(Request(scope, receive)))
        return form.multi_items()


TEXTS = ["", "a b+c&d=e%", "ř\r\n☃ 🦊", "\u202eabc", "%41%zz", "x" * 100]


@pytest.mark.parametrize("piece", [3, 4, 5, 7, 2**15])
async def test_what_was_written_is_read_wherever_it_is_cut(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(form_body, "PIECE", piece)
    fields = [(f"name {number}", text) for number, text in enumerate(TEXTS)]
    assert await read(urlencode(fields).encode()) == fields


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b"", []),
        (b"&&a&=b&c=", [("a", ""), ("", "b"), ("c", "")]),
        (b"a=%&b=%4&c=%zz&d=%ff&e=\xc5\x99", [("a", "%"), ("b", "%4"), ("c", "%zz"), ("d", "\ufffd"), ("e", "ř")]),
    ],
)
async def test_what_no_browser_sends_is_read_as_far_as_it_goes(body: bytes, fields: Sequence[tuple[str, str]]) -> None:
    assert await read(body) == fields


async def test_others_have_their_turn_while_a_long_form_is_read() -> None:
    """A million escapes took the event loop for two seconds."""
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(others())
    [(_, text)] = await read(b"a=" + b"%41" * 200_000)
    beside.cancel()
    assert text == "A" * 200_000
    assert turns >= 3 * 200_000 // form_body.PIECE


async def test_a_form_has_only_so_many_fields() -> None:
    assert len(await read(b"&".join([b"a=1"] * MOST_FIELDS))) == MOST_FIELDS
    with pytest.raises(TooLarge):
        await read(b"&".join([b"a=1"] * (MOST_FIELDS + 1)))
    parts = b"".join([PART % (b"a", b"1")] * (MOST_FIELDS + 1)) + b"--b--\r\n"
    with pytest.raises(Malformed, match="Too many fields"):
        await read(parts, "multipart/form-data; boundary=b")


@pytest.mark.parametrize("charset", ["punycode", "idna", "utf-7", "undefined", "unicode_escape"])
async def test_parts_are_utf_8_whatever_they_say(charset: str) -> None:
    """Some codecs take the square of a text's length: 16 MB of `punycode` would take the event loop for hours."""
    body = PART % (b"a", "ř".encode()) + b"--b--\r\n"
    with pytest.raises(Malformed, match="UTF-8"):
        await read(body, f"multipart/form-data; charset={charset}; boundary=b")
    for said in ("", "; charset=utf-8", "; charset=UTF-8"):
        assert await read(body, f"multipart/form-data{said}; boundary=b") == [("a", "ř")]


async def test_a_body_that_is_no_form_holds_nothing() -> None:
    assert await read(b'{"a": 1}', "application/json") == []
    for broken in (b"", b"--c\r\n", b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n"):
        with pytest.raises(Malformed):
            await read(broken + b"x", "multipart/form-data; boundary=b")
    with pytest.raises(Malformed, match="boundary"):
        await read(b"x", "multipart/form-data")
