"""The patience of the hub's client, on its own clock: how long each request may take, and when it is given up."""

from types import SimpleNamespace
from typing import Any

import httpx2
import pytest

from base.hub_client import LONGEST_WAIT, PATIENCE, READING_SECONDS, SENDING_SECONDS, HubSilent, _Patience

PLACE = "https://hub.example/datasets/me/rivers"


def request(method: str = "GET", place: str = PLACE, **limits: float | None) -> httpx2.Request:
    return httpx2.Request(method, place, extensions={"timeout": limits} if limits else {})


def answer(asked: httpx2.Request, status: int = 200, **headers: str) -> httpx2.Response:
    return httpx2.Response(status, request=asked, headers={name.replace("_", "-"): v for name, v in headers.items()})


@pytest.fixture
def clock() -> SimpleNamespace:
    return SimpleNamespace(now=0.0)


@pytest.fixture
def patience(clock: SimpleNamespace) -> Any:
    made = _Patience(lambda: clock.now)
    yield made
    for said in made._asked.values():
        said.cancel()


def test_each_request_has_a_limit_and_a_shorter_one_stays(patience: _Patience) -> None:
    for asked, expected in (
        (request(), READING_SECONDS),
        (request(connect=None, read=None, write=None, pool=None), READING_SECONDS),
        (request(connect=600.0, read=600.0, write=600.0, pool=600.0), READING_SECONDS),
        (request(connect=1.0, read=1.0, write=1.0, pool=1.0), 1.0),
        (request("POST"), SENDING_SECONDS),
    ):
        patience.asks(asked)
        patience.answers(answer(asked))
        assert asked.extensions["timeout"] == dict.fromkeys(("connect", "read", "write", "pool"), expected)


def test_what_fails_for_long_enough_is_given_up(patience: _Patience, clock: SimpleNamespace) -> None:
    asked = request()
    patience.asks(asked)
    patience.answers(answer(asked, 503))
    clock.now = PATIENCE - 1
    patience.asks(asked)  # no answer to it
    clock.now = PATIENCE
    with pytest.raises(HubSilent, match="no answer to GET https://hub"):
        patience.asks(asked)
    patience.asks(asked)  # whoever begins anew has the whole patience again


def test_a_long_transfer_is_no_silence_and_an_answer_ends_one(patience: _Patience, clock: SimpleNamespace) -> None:
    sent, other = request("PUT"), request("PUT", PLACE + "/2")
    patience.asks(sent)
    clock.now = 20 * PATIENCE
    patience.asks(other)
    patience.answers(answer(other, 500))
    patience.answers(answer(sent, 500))
    clock.now += PATIENCE - 1
    patience.asks(sent)
    patience.answers(answer(sent, 404))
    clock.now += PATIENCE
    patience.asks(sent)
    with pytest.raises(HubSilent):
        patience.asks(other)


@pytest.mark.parametrize(
    ("status", "headers", "is_long"),
    [
        (429, {"retry_after": f"{LONGEST_WAIT:.0f}"}, False),
        (429, {"retry_after": "3600"}, True),
        (503, {"retry_after": "Fri, 31 Dec 9999 23:59:59 GMT"}, True),
        (503, {"retry_after": "soon"}, False),
        (429, {"ratelimit": '"api";r=0;t=299'}, True),
        (429, {"ratelimit": '"api";r=3;t=299'}, False),
        (200, {"retry_after": "3600"}, False),
    ],
)
def test_a_hub_that_asks_for_a_long_wait_is_given_up_at_once(
    status: int, headers: dict[str, str], is_long: bool, patience: _Patience
) -> None:
    asked = request()
    patience.asks(asked)
    if is_long:
        with pytest.raises(HubSilent, match="asks to come back in"):
            patience.answers(answer(asked, status, **headers))
    else:
        patience.answers(answer(asked, status, **headers))
