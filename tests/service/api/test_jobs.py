"""Jobs through the API, without a worker: what is accepted, shown, cancelled and refused."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, insert, select, text

from critic.files.inputs import read_prompts
from critic.records import Line
from service.jobs.kinds import KINDS
from service.settings import EngineSettings, Settings
from service.store.tables import audit, jobs, models, now
from tests.factories import workbook
from tests.service.calls import Api, one_database, problem, running
from tests.service.jobs.processes import request, script, submit


@pytest.fixture
def settings(migrated_url: str, tmp_path: Path) -> Settings:
    spec = script(tmp_path / "script.yaml")
    engines = {"scripted": EngineSettings(spec=spec), "rule": EngineSettings(spec="verify:max-words=5")}
    clusters = {"big": "ray://127.0.0.1:10001?gpus=1"}
    return Settings(database=migrated_url, data=tmp_path / "data", engines=engines, clusters=clusters, worker=False)


async def workflows(api: Api) -> int:
    """How many jobs are in the queue."""
    table = "workflow_status" if api.service.database.is_sqlite else "dbos.workflow_status"
    async with api.service.database.read() as connection:
        return int((await connection.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one())


async def test_a_submitted_job_is_queued_with_its_rows_and_a_pinned_constitution(api: Api) -> None:
    id = await submit(api.admin, request(3, constitution="helpfulness"))
    job = (await api.admin.get(f"/v1/jobs/{id}")).json()
    assert (job["state"], job["kind"], job["attempt"], job["worker"]) == ("queued", "generate", 1, None)
    assert job["request"]["constitution"].startswith("helpfulness@")
    assert job["request"]["input"] == {"job": id, "file": "input/input.jsonl"}
    assert job["progress"] == {
        "rows": 0, "quarantined": 0, "pairs": 0, "calls": 0, "cost": 0.0, "total": None, "seconds_left": None,
    }  # fmt: skip
    files = (await api.admin.get(f"/v1/jobs/{id}/artifacts")).json()["items"]
    assert [file["name"] for file in files] == ["input/input.jsonl"]
    given = await api.admin.get(f"/v1/jobs/{id}/artifacts/input/input.jsonl")
    assert [json.loads(line) for line in given.text.splitlines()] == ["question 0", "question 1", "question 2"]
    assert given.headers["content-type"] == "application/octet-stream"
    events = (await api.admin.get(f"/v1/jobs/{id}/events")).json()
    assert [event["kind"] for event in events["items"]] == ["queued"]
    after = events["after"]
    assert (await api.admin.get(f"/v1/jobs/{id}/events?after={after}")).json() == {"items": [], "after": after}
    assert (await api.admin.get(f"/v1/jobs/{id}/logs")).text.split()[1:] == ["queued", "attempt=1"]
    assert await workflows(api) == 1
    async with api.service.database.read() as connection:
        actions = (await connection.execute(select(audit.c.action).where(audit.c.target == id))).scalars().all()
    assert actions == ["job.submitted"]


async def test_the_same_request_with_the_same_key_is_one_job(api: Api) -> None:
    headers = {"Idempotency-Key": "once"}
    first = await api.admin.post("/v1/jobs", json=request(2), headers=headers)
    second = await api.admin.post("/v1/jobs", json=request(2), headers=headers)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json() and second.headers["idempotency-replayed"] == "true"
    assert await workflows(api) == 1
    async with api.service.database.read() as connection:
        assert (await connection.execute(select(func.count()).select_from(jobs))).scalar_one() == 1
    assert (await api.admin.post("/v1/jobs", json=request(3), headers=headers)).status_code == 422


async def test_jobs_are_listed_in_pages_from_the_newest(api: Api) -> None:
    ids = [await submit(api.admin, request(1)) for _ in range(5)]
    await api.admin.post(f"/v1/jobs/{ids[2]}/cancel")
    first = (await api.admin.get("/v1/jobs?limit=2")).json()
    second = (await api.admin.get("/v1/jobs", params={"limit": 2, "cursor": first["next"]})).json()
    third = (await api.admin.get("/v1/jobs", params={"limit": 2, "cursor": second["next"]})).json()
    assert [job["id"] for page in (first, second, third) for job in page["items"]] == ids[::-1]
    assert third["next"] is None
    assert [job["id"] for job in (await api.admin.get("/v1/jobs?state=cancelled")).json()["items"]] == [ids[2]]
    assert not (await api.admin.get("/v1/jobs?kind=train")).json()["items"]


async def test_a_queued_job_is_cancelled_at_once_and_tried_again_as_another_attempt(api: Api) -> None:
    id = await submit(api.admin, request(1))
    told = problem(await api.admin.post(f"/v1/jobs/{id}/retry"), 409, "conflict")
    assert "queued" in told["detail"] and "cancel" in told["fix"]
    cancelled = (await api.admin.post(f"/v1/jobs/{id}/cancel")).json()
    assert cancelled["state"] == "cancelled" and cancelled["ended_at"]
    again = (await api.admin.post(f"/v1/jobs/{id}/cancel")).json()
    assert again == cancelled, "a job that has ended stays as it is"
    retried = (await api.admin.post(f"/v1/jobs/{id}/retry", headers={"Idempotency-Key": "r"})).json()
    assert (retried["state"], retried["attempt"], retried["ended_at"]) == ("queued", 2, None)
    replayed = await api.admin.post(f"/v1/jobs/{id}/retry", headers={"Idempotency-Key": "r"})
    assert replayed.json() == retried and await workflows(api) == 2
    kinds = [event["kind"] for event in (await api.admin.get(f"/v1/jobs/{id}/events")).json()["items"]]
    assert kinds == ["queued", "cancelled", "queued"]
    wanted = {"Accept": "text/event-stream"}
    stream = await api.admin.get(f"/v1/jobs/{await _ended(api)}/events", headers=wanted)
    assert stream.headers["content-type"].startswith("text/event-stream") and "event: cancelled" in stream.text


async def _ended(api: Api) -> str:
    id = await submit(api.admin, request(1))
    await api.admin.post(f"/v1/jobs/{id}/cancel")
    return id


async def test_uploads_and_files_of_other_jobs_are_read_by_name(api: Api) -> None:
    content = b'{"prompt": "Name a river."}\n'
    made = await api.admin.post("/v1/uploads?format=jsonl", content=content)
    assert made.status_code == 201, made.text
    upload = made.json()
    assert upload == {"id": upload["id"], "format": "jsonl", "bytes": len(content)} and len(upload["id"]) == 64
    id = await submit(api.admin, request(0, input={"upload": upload["id"]}))
    assert (await api.admin.get(f"/v1/jobs/{id}/artifacts/input/input.jsonl")).content == content
    other = await submit(api.admin, request(0, input={"job": id, "file": "input/input.jsonl"}))
    assert (await api.admin.get(f"/v1/jobs/{other}/artifacts/input/input.jsonl")).content == content


RIVERS = workbook(("id", "prompt"), (1, "Name a river."))


@pytest.mark.parametrize(
    ("format", "content"),
    [("xlsx", RIVERS), ("tsv.gz", gzip.compress(b"id\tprompt\n1\tName a river.\n"))],
    ids=["workbook", "packed"],  # contents hold the time: two workers would name a test differently
)
async def test_uploads_may_be_whatever_commands_read(format: str, content: bytes, api: Api, tmp_path: Path) -> None:
    made = await api.admin.post(f"/v1/uploads?format={format}", content=content)
    id = await submit(api.admin, request(0, input={"upload": made.json()["id"]}))
    place = tmp_path / f"input.{format}"
    place.write_bytes((await api.admin.get(f"/v1/jobs/{id}/artifacts/input/{place.name}")).content)
    [line] = read_prompts(str(place), max_chars=99, truncate=False)
    assert isinstance(line, Line)
    assert (line.item.prompt.id, line.item.prompt.messages[0].content) == ("1", "Name a river.")


async def test_a_workbook_that_becomes_too_much_is_refused_with_its_job(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.jobs.inputs.unpacked.MOST_OF_WORKBOOK", 1)
    for content, said in ((b"no archive", "not an XLSX file"), (RIVERS, "becomes more than")):
        upload = (await api.admin.post("/v1/uploads?format=xlsx", content=content)).json()["id"]
        answer = await api.admin.post("/v1/jobs", json=request(0, input={"upload": upload}))
        assert said in problem(answer, 422, "invalid")["detail"]


SOURCES: list[tuple[dict[str, Any], str]] = [
    ({}, "nothing given"),
    ({"rows": []}, "at least 1"),
    ({"rows": ["x"], "upload": "a"}, "rows and upload given"),
    ({"upload": "../../../etc/passwd"}, "no upload"),
    ({"upload": "0" * 64}, "no upload"),
    ({"job": "../x", "file": "y"}, "no job"),
    ({"job": "0" * 16, "file": "../../cai.db"}, "no file"),
    ({"job": "0" * 16}, "which file"),
    ({"rows": ["x"], "version": 1}, "version belongs to dataset"),
    ({"path": "/etc/passwd"}, "Extra inputs"),
]


@pytest.mark.parametrize("source, told", SOURCES)
async def test_input_that_is_not_there_is_refused(api: Api, source: dict[str, Any], told: str) -> None:
    assert told in problem(await api.admin.post("/v1/jobs", json=request(0, input=source)), 422, "invalid")["detail"]
    assert not list((api.service.settings.data / "artifacts").rglob("*.jsonl"))


BAD: list[tuple[dict[str, Any], str]] = [
    ({"kind": "sing"}, "kind"),
    ({"constitution": "helpfulness@9.9.9"}, "9.9.9"),
    ({"constitution": "../../secret"}, "constitution"),
    ({"constitution": "http://127.0.0.1/x.yaml"}, "constitution"),
    ({"judges": ["openai:model@http://169.254.169.254"]}, "no engine"),
    ({"policy": "hf:/etc"}, "no engine"),
    ({"policy": "rule"}, "answers nothing"),
    ({"judges": ["scripted", "scripted"], "modes": ["logprob", "cot", "cot"]}, "3 modes for 2 judges"),
    ({"modes": ["contrast?weights=/etc/passwd"]}, "weights"),
    ({"modes": ["rm"]}, "mode"),
    ({"settings": {"samples": 10**9}}, "samples"),
    ({"settings": {"strategy": "samples", "samples": 1}}, "samples 2"),
    ({"settings": {"max_tokens": 10**12}}, "max_tokens"),
    ({"settings": {"output": "/tmp"}}, "output"),
    ({"limit": 2**40}, "limit"),
    ({"max_cost": -1}, "max_cost"),
    ({"format": "pickle"}, "format"),
    ({"cluster": "ray://169.254.169.254:10001"}, "Configured: big"),
    ({"cluster": "big", "max_calls": 5}, "max_calls: engines on many machines"),
    ({"cluster": "big", "max_cost": 1.5}, "max_cost: engines on many machines"),
    ({"cluster": "big", "settings": {"priorities": False}}, "settings.priorities"),
    ({"cluster": "big", "judges": ["scripted", "models/rm-1"]}, "models/rm-1 lies in the data folder"),
]


@one_database
@pytest.mark.parametrize("change, told", BAD)
async def test_requests_that_can_not_be_done_are_refused(api: Api, change: dict[str, Any], told: str) -> None:
    document = problem(await api.admin.post("/v1/jobs", json=request(1, **change)), 422, "invalid")
    assert told in document["detail"] + document["fix"] + str(document["faults"])
    async with api.service.database.read() as connection:
        assert (await connection.execute(select(func.count()).select_from(jobs))).scalar_one() == 0


async def test_a_job_names_a_cluster(api: Api) -> None:
    id = await submit(api.admin, request(1, cluster="big"))
    assert (await api.admin.get(f"/v1/jobs/{id}")).json()["request"]["cluster"] == "big"


async def test_training_takes_no_paths_no_addresses_and_no_name_twice(api: Api) -> None:
    asked = {"kind": "train", "method": "sft", "name": "m", "data": [{"rows": [{"prompt": "a", "completion": "b"}]}]}
    for key, value in (("output_dir", "/tmp/x"), ("push_to_hub", True), ("deepspeed", "/etc/passwd"), ("data", ["/x"])):
        told = problem(await api.admin.post("/v1/jobs", json=asked | {"settings": {key: value}}), 422, "invalid")
        assert key in str(told["faults"])
    ppo = asked | {"method": "ppo", "reward": "http://169.254.169.254/"}
    problem(await api.admin.post("/v1/jobs", json=asked | {"reward": "x"}), 422, "invalid")
    problem(await api.admin.post("/v1/jobs", json=asked | {"method": "ppo"}), 422, "invalid")
    problem(await api.admin.post("/v1/jobs", json=ppo), 422, "invalid")
    problem(await api.admin.post("/v1/jobs", json=asked | {"model": "/etc"}), 422, "invalid")
    id = await submit(api.admin, asked)
    assert (await api.admin.get(f"/v1/jobs/{id}/artifacts")).json()["items"][0]["name"] == "input/data-0.jsonl"
    row = {"id": "x", "name": "m", "trainer": "sft", "folder": "f", "lineage": {}, "created_at": now()}
    async with api.service.database.transaction() as connection:
        await connection.execute(insert(models), row)
    problem(await api.admin.post("/v1/jobs", json=asked), 409, "conflict")


async def test_artifact_names_are_looked_up_and_never_followed(api: Api) -> None:
    id, other = await submit(api.admin, request(1)), await submit(api.admin, request(1))
    (api.service.settings.data / "secret.txt").write_text("s")
    for name in (
        f"../{other}/input/input.jsonl", "..%2f..%2f..%2fsecret.txt", "%2e%2e/%2e%2e/secret.txt", "/etc/passwd",
        "input/../../../../secret.txt", "input", "input/", "a" * 5000, "%ff", "\u202e", "C:\\x",
    ):  # fmt: skip
        answer = await api.admin.get(f"/v1/jobs/{id}/artifacts/{name}")
        assert answer.status_code in (404, 400), (name, answer.text)
    problem(await api.admin.get("/v1/jobs/..%2f/artifacts"), 404, "not_found")
    problem(await api.admin.get("/v1/jobs/nothing/artifacts/x"), 404, "not_found")


async def test_scopes(api: Api) -> None:
    id = await submit(await api.client("jobs"), request(1))
    reader, labeller = await api.client("read"), await api.client("label")
    for path in (
        "",
        f"/{id}",
        f"/{id}/events",
        f"/{id}/logs",
        f"/{id}/artifacts",
        f"/{id}/artifacts/input/input.jsonl",
    ):
        assert (await reader.get(f"/v1/jobs{path}")).status_code == 200
        problem(await labeller.get(f"/v1/jobs{path}"), 403, "forbidden")
    for client in (reader, labeller):
        problem(await client.post("/v1/jobs", json=request(1)), 403, "forbidden")
        problem(await client.post(f"/v1/jobs/{id}/cancel"), 403, "forbidden")
        problem(await client.post(f"/v1/jobs/{id}/retry"), 403, "forbidden")
        problem(await client.post("/v1/uploads", content=b"x"), 403, "forbidden")


@pytest.mark.parametrize("path", ["", "/events", "/logs", "/artifacts"])
async def test_a_job_that_is_not_there(api: Api, path: str) -> None:
    problem(await api.admin.get(f"/v1/jobs/nothing{path}"), 404, "not_found")


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"export"}))  # its example names a job that isn't there
async def test_the_examples_of_the_documentation_can_be_submitted(api: Api, kind: str) -> None:
    for example in KINDS[kind].request.model_json_schema()["examples"]:
        await submit(api.admin, example)


async def test_jobs_are_counted_for_prometheus(settings: Settings) -> None:
    async with running(settings) as api:
        await submit(api.admin, request(1))
        await api.service.jobs._count()
        assert 'cai_jobs{kind="generate",state="queued"} 1.0' in (await api.admin.get("/metrics")).text


async def test_a_name_that_leads_elsewhere_is_no_model_s(api: Api) -> None:
    rows = [{"rows": [{"prompt": "a", "completion": "b"}]}]
    train = {"kind": "train", "method": "sft", "data": rows}
    align = {"kind": "align", "constitution": "helpfulness@1.0.0", "input": rows[0]}
    elsewhere = ("../../x", "/x", "a/../b", ".hidden", "a/.b", "a//b", "a/", "a\\b", "a b", "a\nb", "..", "a\u202eb")
    for name in (*elsewhere, "x" * 201):
        for asked in (train, align):
            told = problem(await api.admin.post("/v1/jobs", json=asked | {"name": name}), 422, "invalid")
            assert "name" in told["faults"][0]["where"], name
    assert not (await api.admin.get("/v1/jobs")).json()["items"]
    await submit(api.admin, train | {"name": "team/kinder-1.2_b"})
