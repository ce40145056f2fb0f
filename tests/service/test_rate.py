"""How fast, how long still, and who is slowest; on a clock of the test's own."""

import io

import pytest
from rich.console import Console

from critic.run.execute import Progress
from service.cli.shown import progress
from service.cli.shown.rate import WINDOW, Rate, duration
from service.cli.shown.run_display import RunDisplay


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_rate_is_that_of_the_last_minute() -> None:
    clock = Clock()
    rate = Rate(clock)
    for second in range(1, 601):  # ten minutes at 10 a second
        clock.now += 1
        rate.mark(10 * second)
    assert rate.per_second() == pytest.approx(10)
    for second in range(1, 121):  # then two at 1 a second
        clock.now += 1
        rate.mark(6000 + second)
    assert rate.per_second() == pytest.approx(1)
    assert rate.left(90) == "about 90 s left" and rate.left(3600) == "about 60 min left"
    assert rate.left(0) == "about 0 s left" and rate.left(-1) == ""  # an input that grew


def test_a_rate_falls_while_nothing_is_done() -> None:
    clock = Clock()
    rate = Rate(clock)
    clock.now += 10
    rate.mark(100)
    assert rate.per_second() == 10
    clock.now += 40
    rate.mark(100)
    assert rate.per_second() == 2
    for _ in range(int(WINDOW) + 1):
        clock.now += 1
        rate.mark(100)
    assert rate.per_second() == 0 and rate.left(5) == ""


def test_marks_take_no_memory_however_many_there_are() -> None:
    clock = Clock()
    rate = Rate(clock)
    for done in range(200_000):
        clock.now += 0.001
        rate.mark(done)
    assert len(rate._marks) <= 2 * WINDOW + 2
    assert rate.per_second() == pytest.approx(1000, rel=0.02)


def test_durations_are_in_a_person_s_units() -> None:
    assert [duration(s) for s in (3.4, 119, 150, 7300)] == ["3 s", "119 s", "2 min", "2.0 h"]


def display(width: int, terminal: bool = True) -> tuple[RunDisplay, Console]:
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None)
    return RunDisplay(console), console


STANDING = Progress(
    rows=30, skipped=5, quarantined=2, pairs=41,
    engines="slowest: openai:judge, 4.1 s an answer; 12 asked, the oldest since 9 s",
)  # fmt: skip


@pytest.mark.parametrize("width", [80, 200])
def test_a_terminal_shows_all_of_it_at_any_width(width: int) -> None:
    shown, console = display(width)
    shown.update(STANDING, 1234, 120)
    console.print(shown._render())
    text = console.file.getvalue()  # type: ignore[attr-defined]  # it is a StringIO
    joined = " ".join(text.split())
    assert "37/120" in joined and "1,234 answers, 41 pairs, 2 quarantined, " in joined and "prompts/s" in joined
    assert "slowest: openai:judge, 4.1 s an answer; 12 asked, the oldest since 9 s" in joined
    assert max(map(len, text.splitlines())) <= width


def test_what_a_server_is_called_can_not_drive_the_terminal() -> None:
    shown, console = display(80)
    shown.update(Progress(engines="\x1b]0;evil\x07[red]m, 1 s an answer"), 1, None)
    console.print(shown._render())
    text = console.file.getvalue()  # type: ignore[attr-defined]  # it is a StringIO
    assert "\x1b]" not in text and "[red]" in text


def test_a_log_has_the_same_in_one_line_every_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    waits: list[float] = []
    shown, _ = display(80, terminal=False)
    shown.update(STANDING, 1234, 120)

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        return len(waits) > 3

    monkeypatch.setattr(shown._ended, "wait", wait)
    shown._write_lines()
    lines = capsys.readouterr().err.splitlines()
    assert waits == [progress.FIRST_PLAIN_LINE, 30.0, 30.0, 30.0] and len(lines) == 3
    assert lines[0].startswith("37 of 120 prompts, 1,234 answers, 41 pairs, 2 quarantined, ")
    assert lines[0].endswith("slowest: openai:judge, 4.1 s an answer; 12 asked, the oldest since 9 s")
