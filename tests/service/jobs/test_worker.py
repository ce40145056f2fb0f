"""A real worker process on both databases: what comes out of a job, and how it is stopped and tried again."""

import asyncio
import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import func, select

from critic.run.request import RunRequest
from critic.run.retest import AT_LEAST
from critic.run.run import run
from service.settings import EngineSettings
from service.store.tables import calls, workers
from tests.service.calls import running
from tests.service.conftest import Postgres
from tests.service.jobs.processes import (
    BEAT,
    CONSTITUTION,
    EXPORTS,
    SETTINGS,
    artifact,
    request,
    script,
    settings,
    start,
    submit,
    until,
    worker,
    working,
)
from tests.trainers.tiny import write_model

pytestmark = pytest.mark.slow

LATENCY = 0.05  # of a call, in seconds
CALLS_A_ROW = 2 + 2 * 2 + 2 * 2  # two samples, a critique and a revision of each, two principles in both orders


async def test_a_share_of_a_job_s_votes_is_asked_twice(database_url: str, tmp_path: Path) -> None:
    service = settings(tmp_path, database_url, varies="the time of day")
    async with working(tmp_path, service) as api:
        job = await until(api.admin, await submit(api.admin, request(9)), "done")
        manifest = json.loads(await artifact(api.admin, job["id"], "manifest.json"))
        varies = {manifest["provenance"]["judge"]: "the time of day"}
        spread = {"spread": 0, "largest": 0, "turned": 0, "unread": 0}
        assert manifest["retest"] == {"votes": 2 * AT_LEAST, "varies": varies} | spread
        assert job["progress"]["calls"] == 9 * CALLS_A_ROW + 2 * AT_LEAST
        rest = request(9, retest=0, max_calls=1000) | {"settings": SETTINGS | {"seed": 1}}
        job = await until(api.admin, await submit(api.admin, rest), "done")
        assert json.loads(await artifact(api.admin, job["id"], "manifest.json"))["retest"] is None
        scarce = request(9, max_calls=9 * CALLS_A_ROW + 3) | {"settings": SETTINGS | {"seed": 2}}
        job = await until(api.admin, await submit(api.admin, scarce), "done")  # its labels are all there
        assert "retest" in (await api.admin.get(f"/v1/jobs/{job['id']}/logs")).text


async def test_a_job_leaves_what_the_command_leaves(database_url: str, tmp_path: Path) -> None:
    service = settings(tmp_path, database_url)
    async with working(tmp_path, service) as api:
        asked = request(130)
        asked["input"]["rows"] += ["question 7", {"prompt": 3}]  # the same again, and no prompt
        id = await submit(api.admin, asked)
        job = await until(api.admin, id, "done")
        standing = {"rows": 130, "quarantined": 2, "calls": 130 * CALLS_A_ROW, "total": 132}
        assert {name: job["progress"][name] for name in standing} == standing
        assert job["result"]["pairs"] == job["result"]["files"]["pairs"]["records"] == job["progress"]["pairs"] > 0

        source = tmp_path / "alone" / "input.jsonl"
        source.parent.mkdir()
        source.write_bytes(await artifact(api.admin, id, "input/input.jsonl"))
        spec = service.engines["scripted"].spec
        await run(RunRequest(CONSTITUTION, str(source), (spec,), spec, settings=SETTINGS), tmp_path / "alone" / "out")
        for name in EXPORTS:
            assert await artifact(api.admin, id, name) == (tmp_path / "alone" / "out" / name).read_bytes(), name
        assert {"manifest.json", "report.html", "README.md"} <= {
            file["name"] for file in (await api.admin.get(f"/v1/jobs/{id}/artifacts")).json()["items"]
        }

        # What the judge said is feedback, as people's labels are.
        kept = job["result"]["feedback"]
        assert kept == {"stored": job["result"]["files"]["feedback"]["records"], "refused": {}}
        assert len(await labels_of(api.admin, id)) == kept["stored"] > 130

        log = (await api.admin.get(f"/v1/jobs/{id}/logs")).text.splitlines()
        assert [line.split()[1] for line in log] == ["queued", "running", "chunk", "chunk", "done"]
        stream = (await api.admin.get(f"/v1/jobs/{id}/events", headers={"Accept": "text/event-stream"})).text
        assert [line[7:] for line in stream.splitlines() if line.startswith("event: ")][-1] == "done"
        second = [line[4:] for line in stream.splitlines() if line.startswith("id: ")][1]
        resumed = {"Accept": "text/event-stream", "Last-Event-ID": second}
        rest = await api.admin.get(f"/v1/jobs/{id}/events", headers=resumed)
        assert rest.text.count("event: ") == stream.count("event: ") - 2

        # The same again makes no call, and the same files.
        before = (await api.admin.get("/v1/jobs")).json()["items"][0]
        again = await submit(api.admin, asked)
        job = await until(api.admin, again, "done")
        assert before["id"] == id and job["progress"]["calls"] == 0
        assert await artifact(api.admin, again, "pairs.jsonl") == await artifact(api.admin, id, "pairs.jsonl")


async def called(log: Path, times: int = 200) -> None:
    """Wait until the scripted engine was asked so often."""
    while not log.exists() or log.read_bytes().count(b"\n") < times:
        await asyncio.sleep(0.05)


async def labels_of(client: httpx2.AsyncClient, job: str) -> set[str]:
    """The ids of a job's labels, by pages."""
    ids, cursor = set(), ""
    while True:
        page = (await client.get(f"/v1/feedback?job={job}&source=ai&limit=500{cursor}")).json()
        ids |= {label["id"] for label in page["items"] if label["constitution_hash"] is not None}
        if page["next"] is None:
            return ids
        cursor = f"&cursor={page['next']}"


async def test_a_job_judges_given_answers_in_parquet(tmp_path: Path) -> None:
    service = settings(tmp_path, f"sqlite:///{tmp_path / 'data' / 'cai.db'}")
    async with working(tmp_path, service) as api:
        pair = {"prompt": "Name a river.", "responses": ["The Nile.", "I would rather not say."]}
        asked = {"kind": "judge", "constitution": CONSTITUTION, "input": {"rows": [pair]}, "format": "parquet"}
        id = await submit(api.admin, asked | {"settings": {"judge_principles": 1}})
        job = await until(api.admin, id, "done")
        assert job["progress"]["rows"] == 1 and job["progress"]["calls"] == 2
        assert (await artifact(api.admin, id, "pairs.parquet")).startswith(b"PAR1")


async def test_a_cancelled_job_stops_within_seconds_and_goes_on_when_it_is_tried_again(
    database_url: str, tmp_path: Path
) -> None:
    log = tmp_path / "calls.log"
    service = settings(tmp_path, database_url, latency=LATENCY, log=str(log))
    async with working(tmp_path, service) as api:
        id = await submit(api.admin, request(150))
        await until(api.admin, id, "running")
        await called(log)
        assert (await api.admin.post(f"/v1/jobs/{id}/cancel")).json()["state"] == "cancelled"
        async with api.service.database.read() as connection:
            stored = (await connection.execute(select(func.count()).select_from(calls))).scalar_one()
        made = -1
        while made != (made := log.read_bytes().count(b"\n")):
            await asyncio.sleep(20 * LATENCY)
        assert made < 150 * CALLS_A_ROW, "calls go on after the job was cancelled"
        async with api.service.database.read() as connection:
            assert (await connection.execute(select(func.count()).select_from(calls))).scalar_one() == stored
        assert (await api.admin.get(f"/v1/jobs/{id}")).json()["state"] == "cancelled"

        assert (await api.admin.post(f"/v1/jobs/{id}/retry")).json()["attempt"] == 2
        job = await until(api.admin, id, "done")
        assert job["progress"]["rows"] == 150 and job["progress"]["calls"] == 150 * CALLS_A_ROW


async def test_a_poisoned_row_is_quarantined_and_another_engine_does_not_go_on(tmp_path: Path) -> None:
    poison = {
        "replies": [{"match": "question (?!3$)", "reply": "Answer {seed}"}, {"match": "(?s).{40}", "reply": "It"}]
    }
    service = settings(tmp_path, f"sqlite:///{tmp_path / 'data' / 'cai.db'}", **poison)
    async with running(service) as api:
        process = start(tmp_path, service)
        id = await submit(api.admin, request(6))
        job = await until(api.admin, id, "done")
        assert (job["progress"]["rows"], job["progress"]["quarantined"]) == (5, 1)
        [refused] = [json.loads(line) for line in (await artifact(api.admin, id, "quarantine.jsonl")).splitlines()]
        assert refused["row"] == 3 and refused["reason"] == "engine_error"
        process.send_signal(signal.SIGTERM)
        assert process.wait(600) == 0
        assert (await api.admin.post(f"/v1/jobs/{id}/retry")).status_code == 200

        # Another script is another engine: what was judged by the first one is not mixed with it.
        script(tmp_path / "script.yaml")
        with worker(tmp_path, service):
            job = await until(api.admin, id, "failed")
            assert "not the job any more" in job["error"]


async def test_quarantined_rows_are_tried_again(tmp_path: Path) -> None:
    service = settings(tmp_path, f"sqlite:///{tmp_path / 'data' / 'cai.db'}", fail={"every": 25, "how": "raise"})
    async with working(tmp_path, service) as api:
        id = await submit(api.admin, request(20))
        job = await until(api.admin, id, "done")
        lost = job["progress"]["quarantined"]
        assert lost > 0 and job["progress"]["rows"] == 20 - lost
        for _ in range(10):  # each start of an attempt loses some of the rest
            await api.admin.post(f"/v1/jobs/{id}/retry")
            job = await until(api.admin, id, "done")
            if not job["progress"]["quarantined"]:
                break
        assert job["progress"]["rows"] == 20 and not await artifact(api.admin, id, "quarantine.jsonl")


async def test_a_budget_ends_a_job_and_what_was_answered_stays(tmp_path: Path) -> None:
    service = settings(tmp_path, f"sqlite:///{tmp_path / 'data' / 'cai.db'}")
    async with working(tmp_path, service) as api:
        id = await submit(api.admin, request(30, max_calls=100))
        job = await until(api.admin, id, "failed")
        assert "100 calls" in job["error"]
        async with api.service.database.read() as connection:
            assert (await connection.execute(select(func.count()).select_from(calls))).scalar_one() == 100


async def test_a_worker_that_ends_hands_its_jobs_to_the_next(database_url: str, tmp_path: Path) -> None:
    log = tmp_path / "calls.log"
    service = settings(tmp_path, database_url, latency=LATENCY, log=str(log))
    async with running(service) as api:
        first = start(tmp_path, service, "first")
        id = await submit(api.admin, request(120))
        job = await until(api.admin, id, "running")
        await called(log)
        first.send_signal(signal.SIGTERM)
        assert first.wait(600) == 0
        async with api.service.database.read() as connection:
            assert not (await connection.execute(select(workers))).all()
        left = (await api.admin.get(f"/v1/jobs/{id}")).json()
        assert (left["state"], left["worker"]) == ("queued", None)
        with worker(tmp_path, service):
            done = await until(api.admin, id, "done")
        assert done["progress"]["rows"] == 120 and done["started_at"] >= job["started_at"]


async def test_a_worker_that_stands_still_loses_its_job_and_can_store_nothing(
    tmp_path: Path, postgres: Postgres
) -> None:
    """On PostgreSQL: SQLite has one machine, and a process that stands still there may hold the file's only lock."""
    database_url = postgres.url(postgres.create())
    log = tmp_path / "calls.log"
    service = settings(tmp_path, database_url, latency=LATENCY, log=str(log))
    async with running(service) as api:
        slow = start(tmp_path, service, "slow")
        id = await submit(api.admin, request(120))
        job = await until(api.admin, id, "running")
        await called(log)
        slow.send_signal(signal.SIGSTOP)  # a machine that hangs; it comes back when another has its job
        other = start(tmp_path, service, "other")
        try:
            while (await api.admin.get(f"/v1/jobs/{id}")).json()["worker"] == job["worker"]:
                await asyncio.sleep(BEAT)
            slow.send_signal(signal.SIGCONT)
            done = await until(api.admin, id, "done")
            assert done["progress"]["rows"] == 120 and done["progress"]["calls"] == 120 * CALLS_A_ROW
            events = (await api.admin.get(f"/v1/jobs/{id}/events?limit=500")).json()["items"]
            assert [event["kind"] for event in events].count("done") == 1
        finally:
            for process in (slow, other):
                process.kill()
                process.wait()


async def test_an_export_job_writes_a_table_in_another_format(tmp_path: Path) -> None:
    service = settings(tmp_path, f"sqlite:///{tmp_path / 'data' / 'cai.db'}")
    async with working(tmp_path, service) as api:
        made = await submit(api.admin, request(4))
        await until(api.admin, made, "done")
        asked = {"kind": "export", "input": {"job": made, "file": "pairs.jsonl"}, "format": "trl"}
        id = await submit(api.admin, asked)
        job = await until(api.admin, id, "done")
        written = (await artifact(api.admin, id, job["result"]["file"])).splitlines()
        assert len(written) == len((await artifact(api.admin, made, "pairs.jsonl")).splitlines()) > 0
        assert {"prompt", "chosen", "rejected"} <= json.loads(written[0]).keys()


def commands() -> list[str]:
    """The command lines of all processes."""
    return subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout.splitlines()


async def test_a_train_job_registers_a_model_and_dies_with_its_worker(tmp_path: Path) -> None:
    service = settings(tmp_path, f"sqlite:///{tmp_path / 'data' / 'cai.db'}")
    tiny = EngineSettings(spec=f"hf:{write_model(tmp_path / 'model')}")
    service = service.model_copy(update={"engines": {**service.engines, "tiny": tiny}})
    data = [{"prompt": f"Name river {number}.", "completion": "The Nile."} for number in range(8)]
    asked: dict[str, Any] = {
        "kind": "train",
        "method": "sft",
        "name": "rivers",
        "model": "tiny",
        "data": [{"rows": data}],
    }
    # So many steps, each saved, take much longer than it takes to see the first of them and to kill the worker.
    asked["settings"] = {"max_steps": 16, "per_device_train_batch_size": 1, "save_steps": 1, "max_length": 256}
    async with running(service) as api:
        process = start(tmp_path, service)
        id = await submit(api.admin, asked)
        while not list((tmp_path / "data" / "runs").glob("*/checkpoint-*")):
            await asyncio.sleep(0.1)
        process.kill()
        process.wait()
        assert not (tmp_path / "data" / "artifacts" / "models" / id).exists(), "the job was done before the kill"
        while any("service.cli.child" in line and str(tmp_path) in line for line in commands()):
            await asyncio.sleep(0.1)
        with worker(tmp_path, service):
            job = await until(api.admin, id, "done")
        assert job["result"] == {"model": "rivers"}
        names = {model["name"] for model in (await api.admin.get("/v1/models")).json()["items"]}
        assert "rivers" in str(names)
        assert (tmp_path / "data" / "artifacts" / "models" / id / "model.safetensors").is_file()
        assert not list((tmp_path / "data" / "artifacts" / "models" / id).glob("checkpoint-*"))
        assert (await api.admin.post("/v1/jobs", json=asked)).status_code == 409
