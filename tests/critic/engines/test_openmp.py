"""Where models are opened, and how long OpenMP's threads wait awake."""

import _thread
import os
import signal
import subprocess
import sys
import threading
from typing import Any

import pytest

from critic.local import language_model, reward_model
from critic.local.openmp import on_thread_that_ends


def test_it_returns_and_raises_what_the_work_does_and_leaves_no_thread() -> None:
    threads = [on_thread_that_ends(threading.current_thread)]
    assert threads[0] is not threading.current_thread() and not threads[0].is_alive()
    with pytest.raises(ZeroDivisionError):
        on_thread_that_ends(lambda: 1 / 0)


def test_an_interrupt_does_not_wait_for_the_work() -> None:
    begun, ended = threading.Event(), threading.Event()

    def work() -> None:
        _thread.interrupt_main()
        begun.set()
        ended.wait()

    kept = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has what it puts aside ignore it
    try:
        with pytest.raises(KeyboardInterrupt):
            on_thread_that_ends(work)
    finally:
        signal.signal(signal.SIGINT, kept)
    assert begun.is_set() and not ended.is_set()
    ended.set()


@pytest.mark.parametrize(
    ("module", "loads"), [(language_model, "load"), (reward_model, "load_classifier")], ids=["hf", "rm"]
)
def test_models_are_opened_on_a_thread_that_ends(module: Any, loads: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Seen(Exception):
        pass

    def load(*args: object) -> None:
        raise Seen(threading.current_thread().name)

    monkeypatch.setattr(module, loads, load)
    with pytest.raises(Seen, match="opening"):
        module.open_engine("anything", {})


@pytest.mark.parametrize(
    ("given", "wanted"),
    [({}, "10000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "passive"}, "None")],
    ids=["nothing", "a count", "a policy"],
)
def test_threads_wait_awake_for_a_short_time_unless_told_otherwise(given: dict[str, str], wanted: str) -> None:
    plain = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    command = [sys.executable, "-c", "import base, os; print(os.environ.get('GOMP_SPINCOUNT'))"]
    done = subprocess.run(command, env=plain | given, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == wanted
