"""What processes print is kept; what this one prints before and after is not."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from critic.vllm.process_log import ProcessLog

NOISE = "import sys; print('loading'); sys.exit('a.b.LoadError: no weights\\nRuntimeError: it did not start')"


@pytest.fixture
def log() -> Iterator[ProcessLog]:
    opened = ProcessLog()
    yield opened
    opened.close()


def test_output_of_processes_is_kept_and_searched(log: ProcessLog, capfd: pytest.CaptureFixture[str]) -> None:
    os.write(1, b"before\n")
    with log.taking():
        os.write(1, b"within\n")
        subprocess.run([sys.executable, "-c", NOISE], check=False)
    os.write(1, b"after\n")
    os.write(2, b"after\n")
    assert capfd.readouterr() == ("before\nafter\n", "after\n")
    assert log.reason() == "no weights"  # the first error: the second is its consequence


def test_a_process_goes_on_writing_there(log: ProcessLog, capfd: pytest.CaptureFixture[str]) -> None:
    with log.taking():
        process = subprocess.Popen([sys.executable, "-c", f"input(); {NOISE}"], stdin=subprocess.PIPE)
    assert log.reason() == ""
    process.communicate(b"\n")
    assert log.reason() == "no weights"
    assert capfd.readouterr() == ("", "")


def test_output_is_given_back_after_an_error(log: ProcessLog, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="x"), log.taking():
        raise ValueError("x")
    os.write(1, b"after\n")
    assert capfd.readouterr().out == "after\n"


def test_where_output_is_wanted_it_is_shown(capfd: pytest.CaptureFixture[str]) -> None:
    log = ProcessLog(is_shown=True)
    with log.taking():
        subprocess.run([sys.executable, "-c", NOISE], check=False)
    assert "loading" in capfd.readouterr().out
    assert log.reason() == ""


def test_a_killed_process_is_the_reason(log: ProcessLog) -> None:
    said = (
        "ERROR [executor.py:315] Worker proc VllmWorker-0 died unexpectedly (exit code: -9).\\nRuntimeError: cancelled"
    )
    with log.taking():
        subprocess.run([sys.executable, "-c", f"print('{said}')"], check=True)
    assert log.reason() == "Worker proc VllmWorker-0 died unexpectedly (exit code: -9)."
