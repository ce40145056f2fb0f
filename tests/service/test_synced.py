"""What a row points to is on the disk before the row is committed: files, and the names that lead to them."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from service.exports import datasets
from service.jobs import queue
from service.jobs.inputs.uploads import Uploads
from service.settings import Settings
from service.store.disk.synced import close_to_others, make_folder, sync_tree
from tests.service.calls import Api, comparison


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[int]]:
    """The files and folders that were synced so far, by number."""
    numbers, sync = set[int](), os.fsync

    def noted(handle: int) -> None:
        sync(handle)
        numbers.add(os.fstat(handle).st_ino)

    monkeypatch.setattr(os, "fsync", noted)
    yield numbers


def unsynced(place: Path, numbers: set[int]) -> list[Path]:
    """What lies under ``place``, itself included, and was not synced."""
    paths = [place, *place.rglob("*")]
    return [path for path in paths if path.stat().st_ino not in numbers]


def looking(before: Callable[..., Any], look: Callable[[], None]) -> Callable[..., Any]:
    """``before`` with a look first."""

    async def wrapped(*arguments: Any, **more: Any) -> Any:
        look()
        return await before(*arguments, **more)

    return wrapped


async def test_an_upload_is_there_before_its_row(api: Api, synced: set[int], monkeypatch: pytest.MonkeyPatch) -> None:
    place, looks = api.service.settings.data / "artifacts" / "uploads", list[list[Path]]()
    insert = looking(Uploads._insert, lambda: looks.append(unsynced(place, synced)))
    monkeypatch.setattr(Uploads, "_insert", insert)
    assert (await api.admin.post("/v1/uploads", content=b'{"prompt": "a"}')).status_code == 201
    assert looks == [[]] and place.parent.stat().st_ino in synced


async def test_a_jobs_input_is_there_before_its_row(
    api: Api, synced: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    place, looks = api.service.settings.data / "artifacts" / "jobs", list[list[Path]]()
    monkeypatch.setattr(queue.Jobs, "_store", looking(queue.Jobs._store, lambda: looks.append(unsynced(place, synced))))
    asked = {"kind": "export", "format": "trl", "input": {"rows": [{"prompt": "a", "chosen": "b", "rejected": "c"}]}}
    assert (await api.admin.post("/v1/jobs", json=asked)).status_code == 201
    assert looks == [[]] and place.parent.stat().st_ino in synced


async def test_a_data_set_is_there_before_its_row_is_committed(
    api: Api, synced: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, move = list[list[Path]](), datasets._move

    def moved(building: Path, target: Path, row: dict[str, Any]) -> None:
        move(building, target, row)
        looks.append(unsynced(target.parents[1], synced))

    monkeypatch.setattr(datasets, "_move", moved)
    await api.admin.post("/v1/feedback", json=comparison())
    answer = await api.admin.post("/v1/datasets", json={"name": "rivers", "aggregation": "each"})
    assert answer.status_code == 201, answer.text
    assert looks == [[]]


def test_a_folder_is_made_with_all_that_lead_to_it(tmp_path: Path, synced: set[int]) -> None:
    make_folder(tmp_path / "a" / "b" / "c")
    make_folder(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c").is_dir()
    assert {path.stat().st_ino for path in (tmp_path, tmp_path / "a", tmp_path / "a" / "b")} <= synced


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("open_umask")
async def test_what_is_kept_is_nobody_else_s_to_read_whatever_the_umask_is(api: Api, settings: Settings) -> None:
    sent = await api.admin.post("/v1/uploads?format=jsonl", content=b'{"prompt": "Name a river."}\n')
    assert sent.status_code == 201, sent.text
    assert (await api.admin.post("/v1/feedback", json=comparison())).status_code == 201
    built = await api.admin.post("/v1/datasets", json={"name": "rivers", "aggregation": "each"})
    assert built.status_code == 201, built.text
    asked = {"kind": "generate", "constitution": "helpfulness@1.0.0", "input": {"rows": ["Name a river."]}}
    assert (await api.admin.post("/v1/jobs", json=asked)).status_code == 201
    kept = {path.name for path in settings.data.rglob("*") if path.is_file()}
    assert {"input.jsonl", "manifest.json", "pairs.jsonl"} <= kept
    assert len([*settings.data.glob("artifacts/uploads/*")]) == 1
    assert _open_to_others(settings.data) == []


def test_folders_of_earlier_versions_are_closed_and_a_tree_s_files_too(tmp_path: Path) -> None:
    (tmp_path / "runs" / "one").mkdir(parents=True)
    (tmp_path / "runs" / "one" / "rows").write_text("text")
    os.chmod(tmp_path / "runs", 0o755)
    close_to_others(tmp_path, ("runs", "none"))
    assert (tmp_path / "runs").stat().st_mode & 0o777 == 0o700 and not (tmp_path / "none").exists()
    sync_tree(tmp_path / "runs")
    assert _open_to_others(tmp_path) == []


def _open_to_others(place: Path) -> list[tuple[str, str]]:
    """What lies under a folder and somebody else may read, write or list, with how."""
    modes = {path: path.stat().st_mode & 0o777 for path in place.rglob("*")}
    return [(path.name, oct(mode)) for path, mode in modes.items() if mode & 0o077]
