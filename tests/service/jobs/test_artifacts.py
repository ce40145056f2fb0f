"""The artifact store: whole files, by names that are only ever looked up."""

import io
from hashlib import sha256
from pathlib import Path

import pytest

from service.jobs.inputs.artifacts import Artifacts


@pytest.fixture
def store(tmp_path: Path) -> Artifacts:
    return Artifacts(tmp_path / "artifacts")


def write(store: Artifacts, folder: str, name: str, content: bytes) -> str:
    return store.write(io.BytesIO(content), folder, name)


def read(store: Artifacts, folder: str, name: str) -> bytes:
    return b"".join(store.blocks(folder, name))


def test_files_come_back_by_folder_and_name(store: Artifacts, tmp_path: Path) -> None:
    content = bytes(range(256)) * 10_000
    assert write(store, "jobs/a", "pairs.jsonl", content) == sha256(content).hexdigest()
    write(store, "jobs/a", "input/input.jsonl", b"in")
    write(store, "jobs/ab", "other.txt", b"another job's")
    assert [(file.name, file.bytes) for file in store.listing("jobs/a")] == [
        ("input/input.jsonl", 2),
        ("pairs.jsonl", len(content)),
    ]
    assert read(store, "jobs/a", "pairs.jsonl") == content
    write(store, "jobs/a", "pairs.jsonl", b"new")
    store.copy("jobs/a", "pairs.jsonl", "jobs/c", "input.jsonl")
    store.fetch("jobs/c", "input.jsonl", tmp_path / "here" / "x")
    assert read(store, "jobs/a", "pairs.jsonl") == (tmp_path / "here" / "x").read_bytes() == b"new"
    store.remove("jobs/a")
    store.remove("jobs/a")
    assert not store.listing("jobs/a") and len(store.listing("jobs/ab")) == 1


@pytest.mark.parametrize(
    "name", ["../b/secret", "..", ".", "", "/etc/passwd", "a/../../b/secret", "b\\secret", "%2e%2e"]
)
def test_a_name_that_is_not_in_the_listing_finds_nothing(store: Artifacts, name: str) -> None:
    write(store, "jobs/a", "mine", b"1")
    write(store, "jobs/b", "secret", b"2")
    assert store.find("jobs/a", name) is None
    assert store.find("jobs/a", "mine") is not None


def test_half_a_file_is_not_there(store: Artifacts) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        store.write(Broken(), "jobs/a", "pairs.jsonl")
    assert store.listing("jobs/a") == []


def test_a_folder_is_stored_without_checkpoints_and_hidden_files(store: Artifacts, tmp_path: Path) -> None:
    for name in ("model.safetensors", "adapter/x.json", "checkpoint-4/model.safetensors", ".lock"):
        path = tmp_path / "run" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    store.put_folder(tmp_path / "run", "models/a")
    assert [file.name for file in store.listing("models/a")] == ["adapter/x.json", "model.safetensors"]
