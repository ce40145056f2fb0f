"""A disk that is full while a checkpoint or the finished model is saved."""

import errno
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from transformers import PreTrainedModel, TrainerState
from transformers.trainer_utils import get_last_checkpoint

from base.errors import InputError
from tests.conftest import unavailable
from trainers import run
from trainers.folder.identity import LINEAGE
from trainers.methods.reward import RewardConfig
from trainers.methods.sft import SFTConfig

from .small_runs import STEPS, run_settings

FULL = OSError(errno.ENOSPC, "No space left on device")


def _fail(
    monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, error: Exception, calls: int, when: Any = lambda *_: True
) -> None:
    """Let ``owner.name`` fail from its ``calls``-th call on, of those that ``when`` counts."""
    original, seen = getattr(owner, name), []

    def failing(*args: Any, **named: Any) -> Any:
        if when(*args):
            seen.append(name)
            if len(seen) >= calls:
                raise error
        return original(*args, **named)

    monkeypatch.setattr(owner, name, failing)


WRITES = {
    "weights": (PreTrainedModel, "save_pretrained", SafetensorError("I/O error: No space left on device"), 2),
    "reward.json": (Path, "write_text", FULL, 2),
    "arguments": (torch, "save", FULL, 5),
    "optimizer": (torch, "save", RuntimeError("PytorchStreamWriter failed writing file: file write failed"), 6),
    "scheduler": (torch, "save", FULL, 7),
    "random state": (torch, "save", FULL, 8),
    "state": (TrainerState, "save_to_json", FULL, 2),
    "rename": (Path, "rename", FULL, 2),
}


@pytest.mark.parametrize("write", list(WRITES))
def test_a_full_disk_leaves_the_last_checkpoint_whole(
    write: str, scorer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is being written of the second one. With room again, the same call goes on from the first."""
    owner, name, error, calls = WRITES[write]
    out = tmp_path / "out"
    settings = run_settings("reward", scorer, out, tmp_path) | {"eval_strategy": "no", "max_steps": 4}
    with monkeypatch.context() as full:
        mine = (lambda path, *_: str(path).endswith("reward.json")) if write == "reward.json" else lambda *_: True
        _fail(full, owner, name, error, calls, mine)
        with pytest.raises(InputError, match=r"checkpoint of step 4 could not be saved: .*") as caught:
            run.train(RewardConfig(**settings))
    assert "make room" in (caught.value.fix or "")
    assert [p.name for p in out.glob("checkpoint-*")] == ["checkpoint-2"] and not (out / ".saving").exists()
    assert run.train(RewardConfig(**settings)).steps == 4 and (out / "checkpoint-4").is_dir()


def test_a_disk_that_is_full_at_the_end_leaves_no_half_model(
    policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The finished model could not be written: the checkpoints are whole, and the same call writes it later."""
    out = tmp_path / "out"
    settings = run_settings("sft", policy, out, tmp_path) | {"max_steps": 2}
    with monkeypatch.context() as full:
        _fail(full, PreTrainedModel, "save_pretrained", WRITES["weights"][2], 2)
        with pytest.raises(InputError, match=r"could not be saved.*No space left"):
            run.train(SFTConfig(**settings))
    assert (out / "checkpoint-2" / "model.safetensors").is_file() and not (out / LINEAGE).exists()
    run.train(SFTConfig(**settings))
    assert (out / "model.safetensors").is_file() and (out / LINEAGE).is_file()


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    """A disk with room for one checkpoint, and not for two."""
    (mount := tmp_path / "disk").mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1600k", "tmpfs", str(mount)], capture_output=True, check=False
    )
    if made.returncode:
        unavailable("no file system can be mounted here: that needs root")
    yield mount
    subprocess.run(["umount", "--lazy", str(mount)], check=True)


def test_a_disk_that_is_really_full(small_disk: Path, policy: Path, tmp_path: Path) -> None:
    out = small_disk / "out"
    settings = run_settings("sft", policy, out, tmp_path) | {"eval_strategy": "no"}
    with pytest.raises(InputError, match="checkpoint of step 4 could not be saved") as caught:
        run.train(SFTConfig(**settings))
    assert caught.value.where == str(out)
    assert Path(get_last_checkpoint(str(out)) or "").name == "checkpoint-2"
    subprocess.run(["mount", "-o", "remount,size=32m", str(small_disk)], check=True)
    assert run.train(SFTConfig(**settings)).steps == STEPS
