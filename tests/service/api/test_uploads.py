"""Uploads: a quota for each key and for all, and nothing is left of what is refused. On both databases."""

import hashlib
from pathlib import Path
from typing import Any

import httpx2
import pytest

from service.settings import Settings
from tests.service.calls import Api, problem


@pytest.fixture
def settings(migrated_url: str, tmp_path: Path) -> Settings:
    return Settings(
        database=migrated_url, data=tmp_path / "data", worker=False, upload_bytes=1000, upload_bytes_per_key=600
    )


async def upload(client: httpx2.AsyncClient, content: bytes, **more: Any) -> httpx2.Response:
    return await client.post("/v1/uploads", content=content, **more)


async def stored(client: httpx2.AsyncClient, content: bytes) -> str:
    response = await upload(client, content)
    assert response.status_code == 201, response.text
    return str(response.json()["id"])


def files(api: Api) -> set[str]:
    place = api.service.settings.data / "artifacts" / "uploads"
    return {path.name for path in place.iterdir()} if place.is_dir() else set()


def named(*contents: bytes) -> set[str]:
    return {f"{hashlib.sha256(content).hexdigest()}.jsonl" for content in contents}


A, B, C = b"a" * 400, b"b" * 400, b"c" * 400


async def test_a_key_has_a_quota_and_what_is_over_it_leaves_nothing(api: Api) -> None:
    ada = await api.client("jobs")
    first = await stored(ada, A)
    refused = problem(await upload(ada, B), 413, "quota")
    assert "your uploads have 400 bytes, and this has 400; the limit is 600 (upload_bytes_per_key)" in refused["detail"]
    assert files(api) == named(A)
    assert await stored(ada, A) == first  # the same again is no more
    assert (await ada.delete(f"/v1/uploads/{first}")).status_code == 204
    assert files(api) == set()
    await stored(ada, B)


async def test_all_keys_together_have_a_quota(api: Api) -> None:
    ada, grace, mary = [await api.client("jobs") for _ in range(3)]
    await stored(ada, A)
    await stored(grace, B)
    refused = problem(await upload(mary, C), 507, "quota")
    assert "all uploads have 800 bytes" in refused["detail"] and "1,000 (upload_bytes)" in refused["detail"]
    assert files(api) == named(A, B)
    await stored(mary, B)  # which is there already
    listed = (await mary.get("/v1/uploads")).json()
    assert (listed["used"], listed["used_by_all"]) == (400, 800)


async def test_a_file_goes_with_the_last_key_that_uploaded_it(api: Api) -> None:
    ada, grace = await api.client("jobs"), await api.client("jobs")
    id = await stored(ada, A)
    await stored(grace, A)
    assert (await ada.delete(f"/v1/uploads/{id}")).status_code == 204
    assert files(api) == named(A)
    problem(await ada.delete(f"/v1/uploads/{id}"), 404, "not_found")  # it is hers no more
    assert (await ada.get("/v1/uploads")).json()["items"] == []
    assert [one["id"] for one in (await grace.get("/v1/uploads")).json()["items"]] == [id]
    assert (await grace.delete(f"/v1/uploads/{id}")).status_code == 204
    assert files(api) == set()


async def test_an_administrator_sees_and_deletes_everybodys(api: Api) -> None:
    ids = sorted([await stored(await api.client("jobs"), content) for content in (A, B)])
    page = (await api.admin.get("/v1/uploads", params={"limit": 1})).json()
    rest = (await api.admin.get("/v1/uploads", params={"limit": 1, "cursor": page["next"]})).json()
    assert [one["id"] for one in page["items"] + rest["items"]] == ids and rest["next"] is None
    assert (await api.admin.delete(f"/v1/uploads/{ids[0]}")).status_code == 204
    actions = [entry["action"] for entry in (await api.admin.get("/v1/audit")).json()["items"]]
    assert [action for action in actions if action.startswith("upload.")] == ["upload.stored"] * 2 + ["upload.deleted"]


async def test_what_an_earlier_version_stored_counts_and_can_be_deleted(api: Api) -> None:
    store = api.service.jobs.artifacts
    old = hashlib.sha256(A).hexdigest()
    with (api.service.settings.data / "old").open("w+b") as file:
        file.write(A * 2)
        file.seek(0)
        store.write(file, "uploads", f"{old}.jsonl")
    problem(await upload(api.admin, B), 507, "quota")
    problem(await (await api.client("jobs")).delete(f"/v1/uploads/{old}"), 404, "not_found")
    assert (await api.admin.delete(f"/v1/uploads/{old}")).status_code == 204
    await stored(api.admin, B)


async def test_what_the_database_refuses_leaves_no_file(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("service.jobs.inputs.uploads.Uploads._insert", fails)
    problem(await upload(api.admin, A), 507, "disk_full")
    assert files(api) == set()
    monkeypatch.undo()
    await stored(api.admin, A)
    monkeypatch.setattr("service.jobs.inputs.uploads.Uploads._insert", fails)
    problem(await upload(api.admin, A), 507, "disk_full")
    assert files(api) == named(A)  # it was there before


async def test_a_disk_that_has_too_little_left_takes_no_files(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 10**6

    monkeypatch.setattr("base.disk.shutil.disk_usage", lambda place: Usage)
    assert "1,000,000 bytes left" in problem(await upload(api.admin, A), 507, "disk_full")["detail"]
    rows = [{"prompt": "a", "chosen": "b", "rejected": "c"}]
    asked = {"kind": "export", "format": "trl", "input": {"rows": rows}}
    problem(await api.admin.post("/v1/jobs", json=asked), 507, "disk_full")
    left = api.service.settings.data / "artifacts"
    assert [path for path in left.rglob("*") if path.is_file() and path.name != ".lock"] == []


async def test_the_same_request_twice_is_one_upload(api: Api) -> None:
    headers = {"Idempotency-Key": "k"}
    first = await upload(api.admin, A, headers=headers)
    again = await upload(api.admin, A, headers=headers)
    assert again.json() == first.json() and again.headers["idempotency-replayed"] == "true"


async def test_jobs_keep_what_they_read_and_a_thousand_of_them_take_no_more_room(api: Api) -> None:
    content = b'{"prompt": "a", "chosen": "b", "rejected": "c"}\n'
    id = await stored(api.admin, content)
    asked = {"kind": "export", "format": "trl", "input": {"upload": id}}
    jobs = [(await api.admin.post("/v1/jobs", json=asked)).json()["id"] for _ in range(2)]
    store = api.service.jobs.artifacts
    inputs = [store.root / "jobs" / job / "input" / "input.jsonl" for job in jobs]
    assert len({path.stat().st_ino for path in inputs}) == 1
    await api.admin.delete(f"/v1/uploads/{id}")
    assert [path.read_bytes() for path in inputs] == [content] * 2
    problem(await api.admin.post("/v1/jobs", json=asked), 422, "invalid")


async def test_a_key_has_only_so_many_jobs_that_have_not_ended(api: Api) -> None:
    object.__setattr__(api.service.settings, "open_jobs_per_key", 1)
    rows = [{"prompt": "a", "chosen": "b", "rejected": "c"}]
    asked = {"kind": "export", "format": "trl", "input": {"rows": rows}}
    job = (await api.admin.post("/v1/jobs", json=asked)).json()["id"]
    assert "1 jobs" in problem(await api.admin.post("/v1/jobs", json=asked), 429, "too_many_jobs")["detail"]
    await api.admin.post(f"/v1/jobs/{job}/cancel")
    assert (await api.admin.post("/v1/jobs", json=asked)).status_code == 201
