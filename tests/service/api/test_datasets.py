"""Data sets: built, versioned, never changed, downloaded. On both databases."""

import asyncio
import errno
import hashlib
import json
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest

from constitution import load
from service.exports.datasets import DatasetRequest
from service.formats import FORMATS
from service.labels import snapshot
from tests.service.calls import Api, comparison, problem
from trainers.batches.data import read
from trainers.batches.examples import Pair


async def build(api: Api, **asked: Any) -> dict[str, Any]:
    response = await api.admin.post("/v1/datasets", json={"name": "rivers", "aggregation": "each", **asked})
    assert response.status_code == 201, response.text
    made: dict[str, Any] = response.json()
    return made


async def download(api: Api, made: dict[str, Any], table: str = "pairs", **params: str) -> httpx2.Response:
    path = f"/v1/datasets/{made['name']}/{made['version']}/download"
    return await api.admin.get(path, params={"table": table, **params})


async def rows(api: Api, made: dict[str, Any], table: str = "pairs") -> list[dict[str, Any]]:
    response = await download(api, made, table)
    assert response.status_code == 200, response.text
    return [json.loads(line) for line in response.text.splitlines()]


async def given(api: Api, *labels: dict[str, Any]) -> list[str]:
    response = await api.admin.post("/v1/feedback", json=list(labels))
    assert response.status_code == 201, response.text
    ids: list[str] = response.json()["ids"]
    return ids


async def test_the_majority_of_the_labels_makes_a_pair_bound_to_its_constitution(api: Api) -> None:
    published = load("harmlessness")
    bound = {"constitution": published.ref}
    await given(
        api,
        comparison("A?", "first", **bound),
        comparison("A?", "first", **bound, responses=["Paris.", "The Po."]),  # for Paris
        comparison("A?", "second", **bound),  # for Paris
        comparison("B?", "tie"),
    )
    made = await build(api, aggregation="majority")
    assert (made["version"], made["counts"]["labels"], made["counts"]["dropped"]) == (1, 4, {"tie": 1})
    [row] = await rows(api, made)
    assert (row["chosen"][-1]["content"], row["rejected"][-1]["content"]) == ("Paris.", "The Po.")
    assert row["labels"] == 3 and row["constitution_hashes"] == [published.digest]
    soft = await build(api, aggregation="soft")
    [row] = await rows(api, soft)
    assert soft["version"] == 2 and row["probability"] == pytest.approx(2 / 3)
    each = await build(api, name="every")
    assert len(await rows(api, each)) == 3 and each["version"] == 1


async def test_groups_are_never_averaged_unless_that_is_asked_for(api: Api) -> None:
    await given(api, comparison(group="a"), comparison(group="a"), comparison(label="second", group="b"))
    apart = await rows(api, await build(api, aggregation="soft"))
    assert sorted((row["group"], row["chosen"][-1]["content"], row["probability"]) for row in apart) == [
        ("a", "The Po.", 1.0),
        ("b", "Paris.", 1.0),
    ]
    [row] = await rows(api, await build(api, aggregation="soft", pool_groups=True))
    assert row["group"] is None and row["probability"] == pytest.approx(2 / 3)


async def test_every_kind_has_its_table_and_what_gives_no_row_is_counted(api: Api) -> None:
    ids = await given(
        api,
        comparison("A?"),
        comparison("B?", [2, 1]) | {"kind": "ranking"},
        comparison("C?", "up") | {"kind": "thumbs"},
        comparison("D?", "The Danube.") | {"kind": "demonstration"},
        comparison("E?", "Too short.") | {"kind": "critique"},
        comparison("F?"),
    )
    await api.admin.post(f"/v1/feedback/{ids[-1]}/retract", json={"reason": "no"})
    made = await build(api)
    assert {table: entry["rows"] for table, entry in made["counts"]["tables"].items()} == {
        "pairs": 1,
        "rankings": 1,
        "ratings": 1,
        "sft": 1,
    }
    assert made["counts"]["labels"] == 5
    assert made["counts"]["dropped"] == {"critique": 1, "retracted": 1}
    chosen = await build(api, name="thumbs", filter={"kind": "thumbs"})
    assert list(chosen["counts"]["tables"]) == ["ratings"] and chosen["counts"]["dropped"] == {}


async def test_a_version_is_what_it_says_and_stays_so(api: Api) -> None:
    await given(api, comparison("A?"), comparison("B?"))
    made = await build(api)
    folder = api.service.settings.data / "datasets" / "rivers" / "1"
    assert sorted(file.name for file in folder.iterdir()) == ["manifest.json", "pairs.jsonl"]
    content = (folder / "pairs.jsonl").read_bytes()
    assert made["counts"]["tables"]["pairs"] == {"rows": 2, "sha256": hashlib.sha256(content).hexdigest()}
    assert json.loads((folder / "manifest.json").read_text())["sha256"] == made["sha256"]
    assert (await build(api))["sha256"] == made["sha256"]  # the same labels, the same rows
    await given(api, comparison("C?"))
    assert (await build(api))["sha256"] != made["sha256"]
    assert (folder / "pairs.jsonl").read_bytes() == content
    assert (await api.admin.get("/v1/datasets/rivers/1")).json() == made
    versions = (await api.admin.get("/v1/datasets")).json()["items"]
    expected = [("rivers", i) for i in (1, 2, 3)]
    assert [(version["name"], version["version"]) for version in versions] == expected
    first = (await api.admin.get("/v1/datasets", params={"limit": 2, "name": "rivers"})).json()
    rest = (await api.admin.get("/v1/datasets", params={"limit": 2, "cursor": first["next"]})).json()
    assert [version["version"] for version in rest["items"]] == [3]
    assert [file.name for file in (folder.parents[1]).iterdir()] == ["rivers"]  # no scratch is left
    actions = (await api.admin.get("/v1/audit", params={"action": "dataset.made"})).json()["items"]
    assert [entry["target"] for entry in actions] == ["rivers@1", "rivers@2", "rivers@3"]


async def test_trainers_read_what_is_built(api: Api) -> None:
    await given(api, comparison("A?"), comparison("B?", "second"))
    await build(api)
    data = read(str(api.service.settings.data / "datasets" / "rivers" / "1" / "pairs.jsonl"), [Pair])
    assert len(data.examples) == 2 and not data.refused


async def test_building_reads_a_few_labels_at_a_time(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    first = [comparison(f"{i}?", "first") for i in range(7)]
    await given(api, *first, *(comparison(f"{i}?") for i in range(7)))
    whole = await build(api, aggregation="soft")
    monkeypatch.setattr(snapshot, "ROWS_READ", 3)
    assert (await build(api, aggregation="soft"))["sha256"] == whole["sha256"]
    assert whole["counts"]["tables"]["pairs"]["rows"] == 7


async def test_labels_of_one_item_that_are_too_much_for_the_memory_are_refused(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    await given(api, *(comparison("A?", "first") for _ in range(20)), comparison("B?"))
    monkeypatch.setattr(snapshot, "ITEM_BYTES", 6000)
    whole = await build(api)  # twenty labels share one prompt and its responses, which count once
    assert whole["counts"]["tables"]["pairs"]["rows"] == 21
    monkeypatch.setattr(snapshot, "ITEM_BYTES", 1000)
    refused = await api.admin.post("/v1/datasets", json={"name": "rivers", "aggregation": "each"})
    assert "more than 1,000 bytes" in problem(refused, 422, "invalid")["detail"]


async def test_a_data_set_that_would_fill_the_disk_is_refused_and_leaves_nothing(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    await given(api, comparison())
    monkeypatch.setattr("base.disk.shutil.disk_usage", lambda place: SimpleNamespace(free=1000))
    asked = {"name": "rivers", "aggregation": "each"}
    refused = problem(await api.admin.post("/v1/datasets", json=asked), 507, "disk_full")
    assert "1,000 bytes left" in refused["detail"]
    assert list((api.service.settings.data / "datasets").iterdir()) == []
    assert list((api.service.settings.data / ".scratch").iterdir()) == [
        api.service.settings.data / ".scratch" / ".lock"
    ]


async def test_what_is_retracted_while_a_data_set_is_built_is_counted_once(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counts are of one state, even where labels are withdrawn between their being counted and read."""
    ids = await given(api, *(comparison(f"{number}?") for number in range(6)))
    reading, go_on, read = threading.Event(), threading.Event(), snapshot.labels_by_item

    def slowly(*asked: Any) -> Any:
        reading.set()
        assert go_on.wait(30)
        return read(*asked)

    monkeypatch.setattr("service.exports.datasets.labels_by_item", slowly)
    making = asyncio.create_task(build(api))
    await asyncio.to_thread(reading.wait, 30)
    await api.admin.post(f"/v1/feedback/{ids[0]}/retract", json={"reason": "too late"})
    go_on.set()
    counts = (await making)["counts"]
    assert counts["labels"] + counts["dropped"].get("retracted", 0) == 6


async def test_the_same_request_twice_is_one_version(api: Api) -> None:
    await given(api, comparison())
    named = {"Idempotency-Key": "k"}
    asked = {"name": "rivers", "aggregation": "each"}
    first = await api.admin.post("/v1/datasets", json=asked, headers=named)
    assert (await api.admin.post("/v1/datasets", json=asked, headers=named)).json() == first.json()
    assert len((await api.admin.get("/v1/datasets")).json()["items"]) == 1


async def test_a_folder_that_a_killed_server_left_is_no_version(api: Api) -> None:
    await given(api, comparison())
    left = api.service.settings.data / "datasets" / "rivers" / "1"
    left.mkdir(parents=True)
    (left / "pairs.jsonl").write_text("half a l")
    assert len(await rows(api, await build(api))) == 1


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        ({"name": "../../etc"}, "pattern"),
        ({"name": ".hidden"}, "pattern"),
        ({"name": "a/b"}, "pattern"),
        ({"name": ""}, "pattern"),
        ({"name": "x" * 65}, "pattern"),
        ({"aggregation": "mean"}, "majority"),
        ({"filter": {"colour": "red"}}, "Extra inputs"),
        ({"filter": {"kind": "critique"}}, "critique: 1"),
        ({"filter": {"group": "nobody"}}, "the filter chooses none"),
    ],
)
async def test_what_makes_no_data_set_is_refused_and_leaves_nothing(api: Api, asked: dict[str, Any], word: str) -> None:
    await given(api, comparison(label="Too short.") | {"kind": "critique"})
    body = {"name": "rivers", "aggregation": "each"} | asked
    assert word in str(problem(await api.admin.post("/v1/datasets", json=body), 422, "invalid"))
    folder = api.service.settings.data / "datasets"
    assert not folder.exists() or not list(folder.iterdir())


async def test_a_download_names_a_table_and_a_format_and_nothing_else(api: Api) -> None:
    await given(api, comparison())
    made = await build(api)
    assert 'attachment; filename="rivers-1-pairs.jsonl"' in (await download(api, made)).headers["content-disposition"]
    problem(await download(api, made, "ratings"), 404, "not_found")
    problem(await download(api, made, "../manifest"), 404, "not_found")
    problem(await download(api, made, format="../../x"), 422, "invalid")
    problem(await download(api, made, format="oasst"), 422, "invalid")
    for name, version, status in (("rivers", 2, 404), ("nothing", 1, 404), ("rivers", 0, 422), ("%2e%2e%2f", 1, 404)):
        response = await api.admin.get(f"/v1/datasets/{name}/{version}/download", params={"table": "pairs"})
        assert response.status_code == status, response.text
    problem(await (await api.client("label")).get("/v1/datasets"), 403, "forbidden")


@pytest.mark.parametrize("format", [name for name, format in FORMATS.items() if "pairs" in format.tables])
async def test_every_format_can_be_downloaded_and_says_what_it_lost(api: Api, format: str, tmp_path: Path) -> None:
    await given(api, comparison(group="nurses"), comparison("B?", "second", group="nurses"))
    response = await download(api, await build(api), format=format)
    assert response.status_code == 200, response.text
    lost = json.loads(response.headers["cai-lost"])
    assert isinstance(lost, dict) and (format == "jsonl") <= (lost == {})
    file = tmp_path / f"pairs{FORMATS[format].suffixes[0]}"
    file.write_bytes(response.content)
    if FORMATS[format].reads:
        assert len(list(FORMATS[format]().read(file))) == 2


async def test_a_full_disk_is_told_and_leaves_nothing(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    await given(api, comparison())
    monkeypatch.setattr("critic.run.folder.export.JsonLines.write", full)
    asked = {"name": "rivers", "aggregation": "each"}
    problem(await api.admin.post("/v1/datasets", json=asked), 507, "disk_full")
    assert list((api.service.settings.data / "datasets").iterdir()) == []
    assert (await api.admin.get("/v1/datasets")).json()["items"] == []
    monkeypatch.undo()
    assert (await build(api))["version"] == 1


def test_the_request_is_strict() -> None:
    with pytest.raises(ValueError, match="pool"):
        DatasetRequest.model_validate({"name": "x", "aggregation": "soft", "pool": True})
