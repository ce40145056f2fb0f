"""Trying again: waits by hand, and the lines that tell of them."""

import logging
import time
from dataclasses import dataclass
from itertools import islice

import pytest

from base import backoff
from base.backoff import BackOff, Silence, told

log = logging.getLogger("cai.test")


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def test_waits_double_up_to_the_longest() -> None:
    assert list(BackOff(first=0.5, longest=3.0, tries=5).waits()) == [0.5, 1.0, 2.0, 3.0, 3.0]
    assert list(BackOff(first=1.0, tries=0).waits()) == []
    endless = BackOff(first=0.05, longest=2.0, tries=None)
    assert list(islice(endless.waits(), 7)) == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0]
    assert next(islice(endless.waits(), 5000, None)) == 2.0


def test_jitter_takes_up_to_half() -> None:
    policy = BackOff(first=1.0, longest=4.0, tries=4, jitter=True)
    assert list(policy.waits(chance=lambda: 0.0)) == [0.5, 1.0, 2.0, 2.0]
    assert list(policy.waits(chance=lambda: 0.5)) == [0.75, 1.5, 3.0, 3.0]
    assert list(policy.waits(chance=lambda: 1.0)) == [1.0, 2.0, 4.0, 4.0]


def test_all_waits_together_end_in_time() -> None:
    clock, waits = Clock(), []
    for wait in BackOff(first=1.0, tries=9, within=10.0).waits(clock=clock):
        waits.append(wait)
        clock.now += wait + 0.5  # the try itself takes a while
    assert waits == [1.0, 2.0, 4.0, 1.5] and clock.now >= 10


def test_a_line_for_each_five_seconds(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    silence = Silence(log, clock)
    for wait in (1.0, 2.0, 4.0, 8.0):
        silence.wait("it is away", wait)
        clock.now += wait
    assert [record.getMessage() for record in caplog.records] == [
        "waiting: it is away; next try in 4 s",  # until the seventh second nothing would have been said
        "waiting: it is away; next try in 8 s",
    ]
    silence.over()
    silence.wait("it is away", 4.9)
    assert len(caplog.records) == 2
    silence.wait("it is away", 5.0)
    assert len(caplog.records) == 3


def test_a_wait_that_blocks_is_told_once_where_it_is_long(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with told(log, "a lock"):
        pass
    monkeypatch.setattr(backoff, "SILENT_SECONDS", 0.0)
    with told(log, "a lock"):
        while not caplog.records:
            time.sleep(0.001)
    assert [record.getMessage() for record in caplog.records] == ["waiting: a lock"]
