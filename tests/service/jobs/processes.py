"""Workers as processes, and the jobs that tests give them."""

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import yaml

from benchmarks.serving import Begin, Process
from service.settings import EngineSettings, Settings
from tests.service.calls import Api, running
from tests.warm import CAI, forked

BEAT = 0.5
CONSTITUTION = "helpfulness@1.0.0"
SETTINGS = {"judge_principles": 2, "max_tokens": 24, "judge_max_tokens": 24}
EXPORTS = ("pairs.jsonl", "sft.jsonl", "feedback.jsonl", "quarantine.jsonl")


def script(path: Path, **script: Any) -> str:
    """Write a script for the scripted engine; return its spec."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(script))
    return f"scripted:{path}"


def settings(folder: Path, database: str, **scripts: Any) -> Settings:
    """A service with one scripted engine, whose workers' hearts beat fast."""
    spec = script(folder / "script.yaml", **scripts)
    return Settings(
        database=database,
        data=folder / "data",
        engines={"scripted": EngineSettings(spec=spec)},
        worker=False,
        heartbeat_seconds=BEAT,
        log_level="warning",
    )


def start(folder: Path, settings: Settings, name: str = "worker", begin: Begin = forked) -> Process:
    """Start ``cai worker``. Its log is ``NAME.log`` in ``folder``."""
    config = folder / "worker.yaml"
    config.write_text(json.dumps(settings.model_dump(mode="json")))
    return begin([CAI, "worker", "--config", str(config)], folder / f"{name}.log")


def kill(process: Process) -> None:
    """End a process as a power cut would."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()  # one that has just begun has no group of its own yet
    process.wait()


@contextlib.contextmanager
def worker(folder: Path, settings: Settings, begin: Begin = forked) -> Iterator[Process]:
    """A worker for the length of a ``with``."""
    process = start(folder, settings, begin=begin)
    try:
        yield process
    finally:
        kill(process)


@contextlib.asynccontextmanager
async def working(folder: Path, settings: Settings, begin: Begin = forked) -> AsyncIterator[Api]:
    """The application, with a worker beside it."""
    async with running(settings) as api:
        with worker(folder, settings, begin):
            yield api


def rows(count: int) -> list[str]:
    """Prompts, each another one."""
    return [f"question {number}" for number in range(count)]


def request(count: int, **more: Any) -> dict[str, Any]:
    """A generate job of ``count`` prompts."""
    asked = {"kind": "generate", "constitution": CONSTITUTION, "settings": SETTINGS}
    return asked | {"input": {"rows": rows(count)}} | more


async def submit(client: httpx2.AsyncClient, asked: dict[str, Any]) -> str:
    """Submit a job; return its id."""
    answer = await client.post("/v1/jobs", json=asked)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def until(client: httpx2.AsyncClient, id: str, *states: str, seconds: float = 600) -> dict[str, Any]:
    """Wait for a job to come to one of ``states``; return it."""
    deadline = time.monotonic() + seconds
    while True:
        job: dict[str, Any] = (await client.get(f"/v1/jobs/{id}")).json()
        if job["state"] in states:
            return job
        ended = job["state"] in ("done", "failed", "cancelled") or time.monotonic() > deadline
        assert not ended, (job, (await client.get(f"/v1/jobs/{id}/logs")).text[-3000:])
        await asyncio.sleep(0.1)


async def artifact(client: httpx2.AsyncClient, id: str, name: str) -> bytes:
    """The content of a job's file."""
    answer = await client.get(f"/v1/jobs/{id}/artifacts/{name}")
    assert answer.status_code == 200, answer.text
    return answer.content
