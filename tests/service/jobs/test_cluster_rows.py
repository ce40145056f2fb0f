"""Jobs on a Ray cluster: what the child is told, and jobs on a real one that lose their worker or are cancelled."""

import asyncio
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import typer
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st
from typer.testing import CliRunner

from base.option import as_file
from constitution.library import shipped
from critic.run.config import RunSettings
from critic.run.folder.store import lock_directory
from critic.run.request import RunRequest
from critic.settings.run import RunLimits
from service.cli.commands.runs import generate, judge
from service.cli.given.config import Command
from service.jobs.running.cluster_rows import _wait_for, settings_of
from service.jobs.work.child import _written
from service.jobs.work.ledger import Moved
from service.settings import Settings
from tests import warm
from tests.service.calls import running
from tests.service.jobs import processes
from tests.service.jobs.processes import EXPORTS, artifact, kill, request, start, submit, until

ROWS = 30
HELPFULNESS = shipped() / "helpfulness" / "1.0.0.yaml"

settings_of_a_run = st.fixed_dictionaries(
    {
        "strategy": st.sampled_from(["samples", "best-of-n"]),
        "samples": st.integers(2, 9),
        "judge_principles": st.none() | st.integers(1, 9),
        "tie_band": st.floats(0, 0.5, exclude_max=True),
        "aggregation": st.sampled_from(["log-odds", "majority"]),
        "ranking": st.booleans(),
        "seed": st.integers(-(2**53), 2**53),
        "temperature": st.floats(0, 100),
        "judge_max_tokens": st.integers(1, 999),
    }
)
REQUESTS = st.builds(
    RunRequest,
    principles=st.just(str(HELPFULNESS)),
    source=st.just("input.jsonl"),
    judges=st.just(("scripted:a.yaml", "verify:contains=is it = a?")),
    policy=st.none() | st.just("scripted:a.yaml"),
    modes=st.just(("logprob", "rm")),
    settings=settings_of_a_run,
    columns=st.none() | st.just("prompt=question"),
)
LIMITS = st.builds(
    RunLimits,
    format=st.sampled_from(["jsonl", "parquet"]),
    with_reasoning=st.booleans(),
    retest=st.floats(0, 1),
    max_cost=st.none() | st.floats(0, 9),
)


@settings_of_hypothesis(max_examples=25)  # a whole command line each
@given(asked=REQUESTS, limits=LIMITS)
def test_the_child_is_told_all_that_was_asked_for(asked: RunRequest, limits: RunLimits) -> None:
    told: list[Any] = []
    app = typer.Typer()
    for command in (generate.generate, judge.judge):
        app.command(cls=Command)(command)
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        for module in (generate, judge):
            patch.setattr(module, "start", lambda *given: told.extend(given))
        settings = settings_of(asked, HELPFULNESS, Path("out"), "ray?shard=8", limits)
        line = [asked.kind, "--config", str(_written(Path(folder), as_file(settings)))]
        assert CliRunner().invoke(app, line, catch_exceptions=False).exit_code == 0
    understood, how, _ = told
    assert how == settings, "what was written is what was read"
    wanted = RunSettings.read(asked.settings).model_dump(include=set(type(settings).model_fields))
    assert understood == replace(asked, settings=wanted)
    assert {name: getattr(how, name) for name in RunLimits.model_fields} == limits.model_dump()
    assert (how.out, how.on, how.extend) == (Path("out"), "ray?shard=8", False)


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """A service with a cluster of this machine alone. Whatever of Ray a test leaves behind is killed."""
    warm.begin()
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("CAI_TEST", str(tmp_path))
    made = processes.settings(tmp_path, f"sqlite:///{tmp_path / 'data' / 'cai.db'}", latency=0.2)
    yield made.model_copy(update={"clusters": {"here": "ray?actors=1&shard=8", "gone": "ray://127.0.0.1:9"}})
    for process in started(tmp_path):
        process.kill()


def started(folder: Path) -> list[psutil.Process]:
    """What a worker started, as its environment tells. Ray's workers hide theirs, and end with it.

    The worker itself is not among them: a fork shows the environment of the server that it is a fork of.
    """
    processes = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("CAI_TEST") == str(folder):
                processes.append(process)
    return processes


async def until_true(done: Callable[[], Any], seconds: float = 600) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)


def test_a_folder_that_a_command_still_has_is_waited_for_until_the_job_moves_on(tmp_path: Path) -> None:
    """The command of a worker that was taken for dead ends when it notices; until then the folder is its own."""
    work: Any = SimpleNamespace(moved=threading.Event(), id="7")
    (tmp_path / "run").mkdir()
    theirs = lock_directory(tmp_path / "run")
    waiting = threading.Thread(target=_wait_for, args=(work, tmp_path / "run"))
    waiting.start()
    waiting.join(0.7)
    assert waiting.is_alive()
    os.close(theirs)
    waiting.join(600)
    assert not waiting.is_alive()
    again = lock_directory(tmp_path / "run")
    work.moved.set()
    with pytest.raises(Moved):
        _wait_for(work, tmp_path / "run")
    os.close(again)


@pytest.mark.slow
async def test_a_job_on_a_cluster_gives_what_one_here_gives_though_its_worker_is_killed(
    tmp_path: Path, service: Settings
) -> None:
    async with running(service) as api:
        first = start(tmp_path, service, "first")
        try:
            plain = await submit(api.admin, request(ROWS))
            await until(api.admin, plain, "done")
            id = await submit(api.admin, request(ROWS, cluster="here"))
            shards = tmp_path / "data" / "runs" / id / "shards"
            await until_true(lambda: list(shards.glob("*.parquet")))
        finally:
            kill(first)
        await until_true(lambda: not started(tmp_path))
        done_before = {path: path.stat().st_mtime_ns for path in shards.glob("*.parquet")}
        assert len(done_before) < 4, "the worker was killed after the run's end"
        with processes.worker(tmp_path, service):
            job = await until(api.admin, id, "done")
            stored = (await api.admin.get("/v1/feedback", params={"limit": 1})).json()
        assert {path: path.stat().st_mtime_ns for path in done_before} == done_before, "a finished shard was done again"
        for name in EXPORTS:
            assert await artifact(api.admin, id, name) == await artifact(api.admin, plain, name), name
        other = (await api.admin.get(f"/v1/jobs/{plain}")).json()
        assert job["result"]["files"] == other["result"]["files"]
        assert job["result"]["feedback"] == other["result"]["feedback"] and stored["items"]
        assert job["progress"] == other["progress"] | {"seconds_left": None}
        names = [file["name"] for file in (await api.admin.get(f"/v1/jobs/{id}/artifacts")).json()["items"]]
        assert {"README.md", "manifest.json", "report.html"} <= set(names) and "run.json" not in names
        assert str(tmp_path) not in json.dumps(job) + (await api.admin.get(f"/v1/jobs/{id}/logs")).text


@pytest.mark.slow
async def test_a_cancelled_job_leaves_no_process_and_goes_on_when_it_is_tried_again(
    tmp_path: Path, service: Settings
) -> None:
    async with running(service) as api:
        with processes.worker(tmp_path, service) as worker:
            id = await submit(api.admin, request(ROWS, cluster="here"))
            shards = tmp_path / "data" / "runs" / id / "shards"
            await until_true(lambda: list(shards.glob("*.parquet")))
            await api.admin.post(f"/v1/jobs/{id}/cancel")
            await until_true(lambda: not started(tmp_path))
            assert worker.poll() is None
            before = {path: path.stat().st_mtime_ns for path in shards.glob("*.parquet")}
            await api.admin.post(f"/v1/jobs/{id}/retry")
            job = await until(api.admin, id, "done")
            assert job["progress"]["rows"] == ROWS
            assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.slow
async def test_a_cluster_that_does_not_answer_fails_the_job_and_keeps_its_address(
    tmp_path: Path, service: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_CLIENT_INITIAL_CONNECTION_TIMEOUT_S", "1")  # of each of three tries; else 5, 10 and 20
    monkeypatch.setenv("RAY_CLIENT_MAX_CONNECTION_TIMEOUT_S", "1")
    async with processes.working(tmp_path, service) as api:
        id = await submit(api.admin, request(1, cluster="gone"))
        job = await until(api.admin, id, "failed")
        log = (await api.admin.get(f"/v1/jobs/{id}/logs")).text
    assert "no Ray cluster that can be used answers" in job["error"] and "127.0.0.1" not in json.dumps(job) + log
