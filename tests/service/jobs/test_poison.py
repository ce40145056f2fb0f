"""A row that kills its worker every time is quarantined; the others are done."""

import asyncio
import json
import time
from pathlib import Path

import pytest

from service.jobs.running.poison import LIVES
from tests.service.calls import running
from tests.service.jobs import processes
from tests.service.jobs.poisoned_worker import FATAL
from tests.service.jobs.processes import artifact, request, settings, submit
from tests.warm import Warm


@pytest.mark.slow
async def test_a_row_that_kills_its_worker_is_quarantined(tmp_path: Path) -> None:
    service = settings(tmp_path, f"sqlite:///{tmp_path / 'data' / 'cai.db'}")
    (tmp_path / "worker.json").write_text(json.dumps(service.model_dump(mode="json")))
    log = tmp_path / "worker.log"

    def started() -> Warm:
        return Warm(["tests.service.jobs.poisoned_worker", str(tmp_path / "worker.json")], tmp_path, None, log, log)

    async with running(service) as api:
        id = await submit(api.admin, request(12))
        deaths, deadline = 0, time.monotonic() + 600
        process = started()
        while (job := (await api.admin.get(f"/v1/jobs/{id}")).json())["state"] in ("queued", "running"):
            assert time.monotonic() < deadline, job
            if process.poll() is not None:
                deaths += 1
                process = started()
            await asyncio.sleep(0.1)
        processes.kill(process)
        assert job["state"] == "done" and (job["progress"]["rows"], job["progress"]["quarantined"]) == (11, 1), job
        [refused] = [json.loads(line) for line in (await artifact(api.admin, id, "quarantine.jsonl")).splitlines()]
        assert refused["reason"] == "poisoned" and f"question {refused['row']}" == FATAL
        assert 2 * LIVES <= deaths <= 5 * LIVES
