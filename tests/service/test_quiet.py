"""A log that clients can't fill."""

import io
import logging

import pytest

from service.bounds import quiet
from service.bounds.quiet import KEPT, Quiet


@pytest.fixture
def log() -> tuple[logging.Logger, io.StringIO]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(Quiet())
    logger = logging.Logger("a test's")
    logger.addHandler(handler)
    return logger, stream


def test_one_message_is_kept_so_often_and_how_often_it_was_not_is_said(
    log: tuple[logging.Logger, io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    logger, stream = log
    clock = [100.0]
    monkeypatch.setattr("service.bounds.quiet.time.monotonic", lambda: clock[0])

    def say(number: int) -> None:
        logger.warning("bad request %d", number)

    for number in range(KEPT + 7):
        say(number)
    logger.warning("something else")
    assert stream.getvalue().splitlines() == [f"bad request {n}" for n in range(KEPT)] + ["something else"]
    clock[0] += quiet.WINDOW_SECONDS + 1
    say(99)
    say(100)
    assert stream.getvalue().splitlines()[-2:] == ["bad request 99 (and 7 more like it before)", "bad request 100"]


def test_a_line_has_an_end(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, stream = log
    logger.warning("refused: %s", "x" * 10**6)
    assert len(stream.getvalue()) <= quiet.CHARACTERS + 1
