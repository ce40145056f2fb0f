"""What a training names is missed before anything is read or loaded for it, whatever the method."""

from pathlib import Path
from typing import Any

import pytest

from base.errors import InputError
from trainers import catalogue, run
from trainers.config import build
from trainers.folder.identity import LINEAGE
from trainers.method import load

ONLINE = [name for name in catalogue.names() if load(name).rewarded]


def settings_of(name: str, tmp_path: Path, policy: Path) -> dict[str, Any]:
    (tmp_path / "rows.jsonl").write_text("{}\n")
    settings = {"model": str(policy), "data": str(tmp_path / "rows.jsonl"), "output_dir": str(tmp_path / "out")}
    reward = {"reward": "verify:max-words=3"} if load(name).rewarded else {}
    return {**settings, **reward, "use_cpu": True, "bf16": False, "report_to": "none"}


def train(name: str, tmp_path: Path, policy: Path, monkeypatch: pytest.MonkeyPatch, **given: Any) -> None:
    """Begin a training of which nothing is to be read or loaded."""

    def slow(*_: object, **__: object) -> None:
        pytest.fail("something slow was begun")

    settings = settings_of(name, tmp_path, policy) | given
    for place in ("trainers.models.load", "trainers.batches.data.read_all", "trainers.online.prompts.read"):
        monkeypatch.setattr(place, slow)
    config = build(load(name).config, settings, "test")
    run.train(config)


@pytest.mark.parametrize("name", catalogue.names())
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"model": "/nowhere/model"}, "^/nowhere/model: there is no such folder"),
        ({"data": "/nowhere/rows.jsonl"}, r"^/nowhere/rows\.jsonl: no such file"),
        ({"data": [{"path": "/nowhere/rows.csv", "columns": "prompt=a"}]}, r"^/nowhere/rows\.csv: no such file"),
        ({"eval_data": "/nowhere/eval.jsonl"}, r"^/nowhere/eval\.jsonl: no such file"),
    ],
)
def test_a_file_that_is_missing_is_told_first(
    name: str, given: dict[str, Any], said: str, tmp_path: Path, policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=said):
        train(name, tmp_path, policy, monkeypatch, **given)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", catalogue.names())
def test_a_folder_that_can_not_be_had_is_told_first(
    name: str, tmp_path: Path, policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="this is a file"):
        train(name, tmp_path, policy, monkeypatch, output_dir=str(tmp_path / "file"))
    with pytest.raises(InputError, match="this is a file"):
        train(name, tmp_path, policy, monkeypatch, output_dir=str(tmp_path / "file" / "model"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="it is not empty"):
        train(name, tmp_path, policy, monkeypatch, output_dir=str(tmp_path / "full"))


@pytest.mark.parametrize("name", ONLINE)
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"reward": "openai:m@http://127.0.0.1:9/v1", "principles": "hhh"}, "no connection to the server"),
        ({"reward": "rm:/nowhere/reward"}, "/nowhere/reward: there is no such folder"),
        ({"more_rewards": [{"reward": "rm:/nowhere/reward"}]}, "/nowhere/reward: there is no such folder"),
        ({"certificate": "/nowhere/certificate.json"}, r"/nowhere/certificate\.json"),
    ],
)
def test_a_judge_that_is_missing_is_told_first(
    name: str, given: dict[str, Any], said: str, tmp_path: Path, policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was missed after the policy had been loaded, and had written its samples."""
    with pytest.raises(InputError, match=said):
        train(name, tmp_path, policy, monkeypatch, **given)
    assert not (tmp_path / "out").exists()


def test_what_is_finished_needs_nothing_any_more(tmp_path: Path, policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command that has trained a model sends it later on, without the server that judged."""
    seen: list[str] = []
    monkeypatch.setattr("trainers.method.expect_named", lambda config: seen.append(config.output_dir))
    for folder in ("new", "done"):
        (tmp_path / folder).mkdir()
    (tmp_path / "done" / LINEAGE).write_text("{}")
    method = load("sft")
    monkeypatch.setattr(type(method), "train", lambda *_: None)
    for folder in ("new", "done"):
        settings = settings_of("sft", tmp_path, policy) | {"output_dir": str(tmp_path / folder)}
        run.train(build(method.config, settings, "test"))
    assert seen == [str(tmp_path / "new")]
