"""The worker beside the server: where its process is there and does nothing, another takes its place."""

import asyncio
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from service.jobs.worker import inside
from service.settings import EngineSettings, Settings
from tests.service.calls import running
from tests.service.jobs.processes import script


@pytest.mark.slow
async def test_a_worker_that_was_stopped_is_noticed_and_replaced(
    tmp_path: Path, sqlite_template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inside, "SILENT_SECONDS", 6.0)
    spec = script(tmp_path / "script.yaml")
    settings = Settings(
        data=tmp_path / "data", engines={"scripted": EngineSettings(spec=spec)}, worker=True, heartbeat_seconds=0.5
    )
    async with running(settings) as api:
        first = await _worker(set())
        while not (await api.with_key(None).get("/readyz")).json().get("workers"):
            await asyncio.sleep(0.1)
        os.kill(first, signal.SIGSTOP)
        second = await _worker({first})
        assert second != first and not Path(f"/proc/{first}").exists()


async def _worker(others: set[int], seconds: float = 60) -> int:
    """The process id of the worker beside this process, which is none of ``others``."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for child in _children() - others:
            with suppress(OSError):  # it ended meanwhile
                if b"service.jobs.worker.beside" in Path(f"/proc/{child}/cmdline").read_bytes():
                    return child
        await asyncio.sleep(0.05)
    raise AssertionError("no worker was started")


def _children() -> set[int]:
    numbers: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        numbers.update(map(int, (task / "children").read_text().split()))
    return numbers
