"""Forms as they are sent: escaped in one text, or in parts with files.

Long escaped texts are read a piece at a time, because a million escapes take seconds, in which nobody else would be
answered. Parts are UTF-8, as browsers send them: some of Python's other codecs take the square of a text's length.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import unquote_to_bytes

from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from service.refusals import Malformed, TooLarge

MOST_FIELDS, MOST_FILES = 5000, 20
LONGEST_FIELD = 16 * 2**20  # bytes; `max_body_bytes` comes first
PIECE = 2**15  # bytes of a text that are read before others have their turn: some milliseconds
ESCAPE = b"%"

_UTF_8 = (b"utf-8", b"utf8")


@asynccontextmanager
async def form_of(request: Request) -> AsyncIterator[FormData]:
    """The form in a request's body, and its files until the end of the ``async with``; empty where it holds none.

    Raises `Malformed` and `TooLarge`.
    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind == b"multipart/form-data":
        form = await _in_parts(request, options)
    elif kind == b"application/x-www-form-urlencoded":
        form = FormData(await _escaped(await request.body()))
    else:
        form = FormData()
    try:
        yield form
    finally:
        await form.close()


async def _in_parts(request: Request, options: dict[bytes, bytes]) -> FormData:
    if options.get(b"charset", b"utf-8").lower() not in _UTF_8:
        raise Malformed("a form's texts are UTF-8", "Send them as browsers do.")
    parser = MultiPartParser(
        request.headers,
        request.stream(),
        max_files=MOST_FILES,
        max_fields=MOST_FIELDS,
        max_part_size=LONGEST_FIELD,
    )
    try:
        return await parser.parse()
    except MultiPartException as error:
        raise Malformed(f"the form can't be read: {error.message}", "Send it as browsers do.") from None


async def _escaped(body: bytes) -> list[tuple[str, str | UploadFile]]:
    if body.count(b"&") >= MOST_FIELDS:
        raise TooLarge(f"the form has more than {MOST_FIELDS:,} fields", "Send fewer.")
    fields: list[tuple[str, str | UploadFile]] = []
    for pair in body.split(b"&"):
        if pair:
            name, _, value = pair.partition(b"=")
            fields.append((await _text(name), await _text(value)))
    return fields


async def _text(escaped: bytes) -> str:
    escaped = escaped.replace(b"+", b" ")
    text, at = bytearray(), 0
    while at < len(escaped):
        end = at + PIECE
        # No escape (%C3) is cut in two.
        while at < end < len(escaped) and ESCAPE in escaped[end - 2 : end]:
            end -= 1
        text += unquote_to_bytes(escaped[at:end])
        at = end
        if at < len(escaped):
            await asyncio.sleep(0)
    return text.decode("utf-8", "replace")
