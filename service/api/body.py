"""How request bodies are read: strict JSON, with what no database can store refused at the door."""

from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic_core import from_json

from service.bounds.limits import SHORT_BYTES
from service.bounds.text_bounds import values
from service.context import entered
from service.refusals import Malformed, TooLarge

MOST_VALUES = 1_000_000
"""Of one body: a value of two bytes becomes a hundred here."""

MOST_ENTRIES, MOST_KEYS = 20_000, 2000
"""Of one list, and of one object: each that is wrong is an error of a kilobyte."""


class StrictRequest(Request):
    """A request whose JSON is valid UTF-8, holds no NaN, no half surrogate pairs, no NUL, and is not nested deeply."""

    stored = True

    async def json(self) -> Any:
        """The parsed body. Raises `Malformed`."""
        if not hasattr(self, "_json"):
            self._json = parse(await self.body(), stored=self.stored)
        return self._json


class PassingRequest(StrictRequest):
    """A request of which nothing is stored: its texts may hold NUL, which no database takes."""

    stored = False


class StrictRoute(APIRoute):
    """A route for callers with a key, who are known before the body is read as `StrictRequest` does."""

    request: type[StrictRequest] = StrictRequest

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See `APIRoute`."""
        handler = super().get_route_handler()

        async def strict(request: Request) -> Response:
            async with entered(request):
                return await handler(self.request(request.scope, request.receive))

        return strict


def parse(body: bytes, *, stored: bool = True) -> Any:
    """Parse JSON. Raises `Malformed` where it is none, or holds what can't be ``stored``, 413 for too many values."""
    if len(body) > MOST_VALUES and values(body) > MOST_VALUES:
        fix = "Send fewer rows a request."
        raise TooLarge(f"the body holds more than {MOST_VALUES:,} values", fix)
    try:
        value = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise _malformed(f"the body is no JSON that can be used: {error}") from None
    if len(body) > SHORT_BYTES:
        _must_be_narrow(value)
    if stored and b"\\u0000" in body and _has_nul(value):
        raise _malformed("the body holds a NUL character (\\u0000), which no text can have here")
    return value


def _must_be_narrow(body: Any) -> None:
    """Raise `TooLarge` for a list or object of so many entries that the errors of all would fill the memory.

    Rows of a job are plain values, of which none is an error: see `service.jobs.requests.Source`.
    """
    waiting: list[Any] = [body] if isinstance(body, dict | list) else []
    for value in waiting:  # which grows meanwhile
        if type(value) is dict:
            most, inside = MOST_KEYS, _but_rows(value)
        else:
            most, inside = MOST_ENTRIES, value
        if len(value) > most:
            raise TooLarge(f"a list or object has more than {most:,} entries", "Send fewer.")
        for inner in inside:
            if type(inner) is dict or type(inner) is list:
                waiting.append(inner)


def _but_rows(value: dict[str, Any]) -> Iterable[Any]:
    return value.values() if "rows" not in value else [inner for key, inner in value.items() if key != "rows"]


def _has_nul(value: Any) -> bool:
    match value:
        case str():
            return "\0" in value
        case dict():
            return any("\0" in key or _has_nul(inner) for key, inner in value.items())
        case list():
            return any(_has_nul(inner) for inner in value)
    return False


def _malformed(detail: str) -> Malformed:
    return Malformed(detail, "Send UTF-8 JSON, as `curl --json` does; see /docs for its form.")
