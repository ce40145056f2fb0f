"""``cai models``: what is on this machine, and what is not."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from critic.local import embedded
from service.cli.commands.sources import models

app = typer.Typer()
app.command()(models.models)


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CAI_CACHE", str(tmp_path / "cai"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


def fake_fetch() -> Path:
    embedded.folder().mkdir(parents=True)
    (embedded.folder() / "weights").write_bytes(b"w" * 3_000_000)
    return embedded.folder()


def test_nothing_is_here_yet() -> None:
    done = CliRunner().invoke(app, ["--json"])
    assert json.loads(done.stdout) == [{"spec": "embedded", "path": None, "bytes": None}]
    assert "cai models --fetch" in CliRunner().invoke(app, []).stdout


def test_fetch_brings_the_embedded_model_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "fetch", fake_fetch)
    for _ in range(2):
        done = CliRunner().invoke(app, ["--fetch"])
        assert done.exit_code == 0
        assert "embedded" in done.stdout and "3 MB" in done.stdout


def test_models_of_the_hugging_face_cache_are_listed(caches: Path) -> None:
    repository = caches / "hub" / "models--owner--name"
    snapshot = repository / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)
    (repository / "blobs").mkdir()
    (repository / "blobs" / "b").write_bytes(b"x" * 100)
    (snapshot / "config.json").symlink_to(repository / "blobs" / "b")
    listed = json.loads(CliRunner().invoke(app, ["--json"]).stdout)
    assert listed[1] == {"spec": "hf:owner/name", "path": str(repository), "bytes": 100}
