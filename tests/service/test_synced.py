"""What a row points to is on the disk before the row is committed: files, and the names that lead to them."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from service import datasets
from service.database import Database
from service.jobs import queue
from service.synced import make_folder
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
    found = [place, *place.rglob("*")]
    return [path for path in found if path.stat().st_ino not in numbers]


def looking(before: Callable[..., Any], look: Callable[[], None]) -> Callable[..., Any]:
    """``before`` with a look first."""

    async def wrapped(*arguments: Any, **more: Any) -> Any:
        look()
        return await before(*arguments, **more)

    return wrapped


async def test_an_upload_is_there_before_its_row(api: Api, synced: set[int], monkeypatch: pytest.MonkeyPatch) -> None:
    place, looks = api.service.settings.data / "artifacts" / "uploads", list[list[Path]]()
    monkeypatch.setattr(Database, "insert", looking(Database.insert, lambda: looks.append(unsynced(place, synced))))
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
