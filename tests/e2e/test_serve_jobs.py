"""`cai serve` alone: its own worker does jobs with the server's engines, and interactive requests go first."""

import json
import os
import signal
import statistics
import time
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from benchmarks.serving import Served
from benchmarks.serving import start as serve
from tests import warm
from tests.service.jobs import processes

pytestmark = pytest.mark.slow


def start(folder: Path, key: str = "", **scripts: Any) -> Served:
    shown = processes.settings(folder, "", **scripts).model_dump(mode="json", exclude={"worker"})
    return serve(folder / "data", "", shown, key, begin=warm.forked)


def client(served: Served) -> httpx2.Client:
    headers = {"Authorization": f"Bearer {served.key}"}
    return httpx2.Client(base_url=f"http://127.0.0.1:{served.port}", headers=headers, timeout=600)


def until(api: httpx2.Client, id: str, state: str, seconds: float = 600) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while True:
        job: dict[str, Any] = api.get(f"/v1/jobs/{id}").json()
        if job["state"] == state:
            return job
        assert job["state"] in ("queued", "running") and time.monotonic() < deadline, job
        time.sleep(0.05)


def workers_of(served: Served) -> list[psutil.Process]:
    return [child for child in psutil.Process(served.process.pid).children(recursive=True) if is_worker(child)]


def is_worker(process: psutil.Process) -> bool:
    try:
        return "service.jobs.worker.beside" in process.cmdline()
    except psutil.Error:  # it has ended, or is about to
        return False


def test_a_job_goes_on_through_the_deaths_of_the_server_and_of_its_worker(tmp_path: Path) -> None:
    log = tmp_path / "calls.log"
    served = start(tmp_path, latency=0.02, log=str(log))
    try:
        with client(served) as api:
            id = api.post("/v1/jobs", json=processes.request(200)).json()["id"]
            until(api, id, "running")
            [worker] = workers_of(served)
            worker.kill()  # the server starts another
            while not (others := workers_of(served)) or others[0].pid == worker.pid:
                time.sleep(0.05)
            made = log.read_bytes().count(b"\n") if log.exists() else 0
            while log.exists() and log.read_bytes().count(b"\n") <= made:
                time.sleep(0.05)
        [worker] = workers_of(served)
        os.kill(served.process.pid, signal.SIGKILL)
        served.process.wait()
        psutil.wait_procs([worker], timeout=600)
        assert not worker.is_running(), "the worker outlived its server"
        served = start(tmp_path, served.key, latency=0.02, log=str(log))
        with client(served) as api:
            job = until(api, id, "done")
            assert job["progress"]["rows"] == 200 and job["progress"]["calls"] == 2000
            assert log.read_bytes().count(b"\n") < 2000 + 3 * 64 * 10
    finally:
        served.kill()


def test_a_server_that_is_asked_to_end_leaves_no_worker_behind(tmp_path: Path) -> None:
    served = start(tmp_path)
    deadline = time.monotonic() + 600
    while not workers_of(served):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    workers = workers_of(served)
    os.kill(served.process.pid, signal.SIGTERM)
    assert served.process.wait(600) in (0, -signal.SIGTERM)
    assert not [worker for worker in workers if worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE]


def test_interactive_requests_are_answered_while_a_job_runs(tmp_path: Path) -> None:
    served = start(tmp_path)
    asked = {"prompt": "Name a river.", "responses": ["The Po.", "Paris."], "constitution": processes.CONSTITUTION}
    try:
        with client(served) as api:
            id = api.post("/v1/jobs", json=processes.request(5000)).json()["id"]
            until(api, id, "running")
            while not api.get(f"/v1/jobs/{id}").json()["progress"]["calls"]:
                time.sleep(0.05)
            seconds = []
            for number in range(60):
                began = time.perf_counter()
                answer = api.post("/v1/comparisons", json=asked | {"seed": number})
                seconds.append(time.perf_counter() - began)
                assert answer.status_code == 201, answer.text
            assert api.get(f"/v1/jobs/{id}").json()["state"] == "running"
            print(f"median {statistics.median(seconds) * 1e3:.0f} ms, longest {max(seconds) * 1e3:.0f} ms")
            assert statistics.median(seconds) < 5  # at the end of the job, it would be minutes
    finally:
        served.kill()


def test_the_command_line_drives_jobs(tmp_path: Path) -> None:
    served = start(tmp_path)
    request = tmp_path / "request.json"
    request.write_text(json.dumps(processes.request(5)))
    environment = os.environ | {"CAI_SERVER": f"http://127.0.0.1:{served.port}", "CAI_KEY": served.key}

    def cai(*arguments: str, code: int = 0) -> str:
        done = warm.run([warm.CAI, "jobs", *arguments], tmp_path, environment)
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    try:
        id = cai("submit", str(request)).strip()
        log = cai("logs", id, "--follow")
        assert [line.split()[1] for line in log.splitlines()][-1] == "done"
        assert json.loads(cai("status", id))["progress"]["rows"] == 5
        assert cai("list").startswith(f"{id}  generate done") and "5 of 5 rows" in cai("list", "--state", "done")
        assert cai("cancel", id).strip() == "done", "a job that is done stays done"
        assert cai("retry", id).strip() == "queued"
        assert "there is no job" in cai("status", "nothing", code=2)
        (tmp_path / "broken.json").write_text("{")
        assert "no request can be read" in cai("submit", str(tmp_path / "broken.json"), code=2)
    finally:
        served.kill()
