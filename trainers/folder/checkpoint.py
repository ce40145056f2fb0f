"""Checkpoints of a loop of our own: one file of tensors and plain values, whole or not there at all."""

import os
import pickle
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerState
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import rotate_checkpoints

from base.errors import InputError
from trainers.folder.disk import saving

_FILE = "state.pt"
_STAGING = ".saving"


def save(out: Path, content: dict[str, Any], state: TrainerState, keep: int | None) -> Path:
    """Write ``checkpoint-STEP`` under ``out``, unless it is there: beside the others first, moved when it is on disk.

    ``content`` holds tensors and plain values. Of older checkpoints the newest ``keep`` stay, this one counted. Raises
    `InputError` where it can't be written: the earlier ones are whole.
    """
    target, staging = out / f"checkpoint-{state.global_step}", out / _STAGING
    if target.is_dir():
        return target
    shutil.rmtree(staging, ignore_errors=True)
    try:
        with saving(f"the checkpoint of step {state.global_step}", out):
            _write(staging, content, state)
            staging.rename(target)
            _sync(out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    rotate_checkpoints(str(out), save_total_limit=keep)
    return target


def _write(folder: Path, content: dict[str, Any], state: TrainerState) -> None:
    folder.mkdir(parents=True)
    with (folder / _FILE).open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())
    state.save_to_json(str(folder / TRAINER_STATE_NAME))
    _sync(folder)


def load(folder: Path) -> tuple[dict[str, Any], TrainerState]:
    """Read a checkpoint, onto the CPU. No code in it is run. Raises `InputError` where it can't be read."""
    try:
        content = torch.load(folder / _FILE, map_location="cpu", weights_only=True)
        state = TrainerState.load_from_json(str(folder / TRAINER_STATE_NAME))
    except (OSError, EOFError, RuntimeError, ValueError, TypeError, pickle.UnpicklingError) as error:
        raise InputError(
            f"this checkpoint can't be read: {error}", where=str(folder), fix="remove it; an older one is used then"
        ) from error
    assert isinstance(content, dict)
    return content, state


def _sync(folder: Path) -> None:
    """Have the names in ``folder`` on disk."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def chance() -> dict[str, Any]:
    """Return the states of this process's random generators, as `restore_chance` takes them."""
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": devices}


def restore_chance(kept: Mapping[str, Any]) -> None:
    """Set this process's random generators to what `chance` has returned."""
    torch.set_rng_state(kept["cpu"])
    if kept["cuda"]:
        torch.cuda.set_rng_state_all(kept["cuda"])
