"""What is said of servers that are waited for, on a clock of the test's own."""

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from critic.calls.waiting import Notices


@dataclass
class Clock:
    """A clock with one timer: it rings where the time that is let pass reaches it."""

    now: float = 0.0
    _due: float | None = None
    _ring: Callable[[], None] = field(default=lambda: None)

    def __call__(self) -> float:
        return self.now

    def timer(self, seconds: float, ring: Callable[[], None]) -> "Clock":
        self._due, self._ring = self.now + seconds, ring
        return self

    def cancel(self) -> None:
        self._due = None

    def passes(self, seconds: float) -> None:
        until = self.now + seconds
        while self._due is not None and self._due <= until:
            self.now, self._due = self._due, None
            self._ring()
        self.now = until


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.WARNING, "cai.engines")
    return lambda: [record.getMessage() for record in caplog.records]


def test_a_silent_server_is_named_every_five_seconds(clock: Clock, said: Callable[[], list[str]]) -> None:
    notices = Notices(clock, clock.timer)
    with notices.waiting("m at http://there has not answered"):
        clock.passes(4.9)
        assert said() == []
        clock.passes(0.2)
        assert said() == ["waiting: m at http://there has not answered; 5 s so far"]
        clock.passes(10)
    assert said()[1:] == [f"waiting: m at http://there has not answered; {s} s so far" for s in (10, 15)]
    clock.passes(60)
    assert len(said()) == 3


def test_a_server_that_answers_others_is_not_silent(clock: Clock, said: Callable[[], list[str]]) -> None:
    notices = Notices(clock, clock.timer)
    with notices.waiting("slow"):
        for _ in range(4):
            with notices.waiting("quick"):
                clock.passes(3)
        assert said() == []
        clock.passes(4.5)
        assert said() == []
        clock.passes(0.5)
        assert said() == ["waiting: slow; 17 s so far"]


def test_tries_that_come_to_nothing_are_one_silence(clock: Clock, said: Callable[[], list[str]]) -> None:
    notices = Notices(clock, clock.timer)
    for _ in range(3):
        with suppress(TimeoutError), notices.waiting("m"):
            clock.passes(4)
            raise TimeoutError
    assert said() == ["waiting: m; 5 s so far", "waiting: m; 10 s so far"]
    clock.passes(60)
    with notices.waiting("m"):  # much later it is another
        clock.passes(4.9)
    assert len(said()) == 2


def test_the_oldest_of_many_waits_speaks_for_all(clock: Clock, said: Callable[[], list[str]]) -> None:
    notices = Notices(clock, clock.timer)
    with notices.waiting("first"):
        clock.passes(2)
        with notices.waiting("second"), notices.waiting("third"):
            clock.passes(3)
            assert said() == ["waiting: first, with 2 more; 5 s so far"]
