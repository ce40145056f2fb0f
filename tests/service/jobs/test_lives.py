"""A job that takes its worker down three times in one step fails, whatever it is doing."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, insert, select

from service.jobs.work.ledger import JobStore, connect
from service.jobs.work.lives import LIVES, Lives, WorkerDied
from service.store.database import database_url as parsed
from service.store.tables import jobs, now
from tests.service.calls import running
from tests.service.jobs.processes import kill, settings, submit
from tests.warm import Warm


@pytest.fixture
def engine(migrated_url: str) -> Iterator[Engine]:
    made = connect(parsed(migrated_url))
    row = {"id": "j", "kind": "export", "request": {}, "state": "running", "attempt": 1, "epoch": 1, "progress": {}}
    with made.begin() as connection:
        connection.execute(insert(jobs), row | {"created_at": now()})
    yield made
    made.dispose()


def life(engine: Engine, *steps: str | None, attempt: int = 1, hands_back: bool = False) -> None:
    """One worker has the job: it ends each step but the last, in which it dies."""
    with engine.connect() as connection:
        before: dict[str, Any] | None = connection.execute(select(jobs.c.deaths)).scalar_one()
    with closing(JobStore(engine, "j", 1)) as store:
        lives = Lives(store, attempt)
        lives.begin(before)
        for number, step in enumerate(steps):
            lives.enter(step)
            if number < len(steps) - 1:
                lives.leave()
        if hands_back:
            lives.hand_back()


def test_the_fourth_life_of_a_step_is_refused(engine: Engine) -> None:
    for _ in range(LIVES):
        life(engine, "export")
    with pytest.raises(WorkerDied, match="3 times in the step 'export'"):
        life(engine, "export")
    life(engine, "export", attempt=2)  # tried again by its owner


def test_what_is_before_the_first_step_counts_too(engine: Engine) -> None:
    for _ in range(LIVES):
        life(engine)
    with pytest.raises(WorkerDied, match="'start'"):
        life(engine)


def test_progress_begins_anew(engine: Engine) -> None:
    for number in range(3 * LIVES):
        life(engine, f"step {number}", f"step {number + 1}")


def test_a_worker_that_hands_its_jobs_back_did_not_die(engine: Engine) -> None:
    for _ in range(3 * LIVES):
        life(engine, "train", hands_back=True)


def test_rows_look_after_themselves(engine: Engine) -> None:
    for _ in range(3 * LIVES):
        life(engine, None)


@pytest.mark.slow
async def test_a_job_that_kills_its_worker_again_and_again_fails(tmp_path: Path) -> None:
    service = settings(tmp_path, f"sqlite:///{tmp_path / 'data' / 'cai.db'}")
    (tmp_path / "worker.json").write_text(json.dumps(service.model_dump(mode="json")))
    log = tmp_path / "worker.log"

    def started() -> Warm:
        return Warm(["tests.service.jobs.dying_worker", str(tmp_path / "worker.json")], tmp_path, None, log, log)

    pair = {"prompt": "a", "chosen": "b", "rejected": "c"}
    async with running(service) as api:
        id = await submit(api.admin, {"kind": "export", "format": "trl", "input": {"rows": [pair]}})
        deaths, process = 0, started()
        try:
            while (job := (await api.admin.get(f"/v1/jobs/{id}")).json())["state"] in ("queued", "running"):
                if process.poll() is not None:
                    deaths += 1
                    process = started()
                await asyncio.sleep(0.1)
        finally:
            kill(process)
        assert job["state"] == "failed" and "died 3 times in the step 'export'" in job["error"], job
        assert deaths == LIVES
