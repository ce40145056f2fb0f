"""Checkpoints of a loop of our own: one file of tensors and plain values, whole or not there at all.

And `check`, for those of transformers' trainer, which are folders of several files.
"""

import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import PreTrainedModel, TrainerState
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import rotate_checkpoints

from base.errors import InputError
from critic.local.loading import quiet
from critic.run.folder.results import replace_text
from trainers.folder.disk import saving

_FILE = "state.pt"
_SHARED = "global_step*"
"""What DeepSpeed calls the folder of weights, optimiser and schedule."""
_WANTED = (
    (TRAINER_STATE_NAME,),
    ("*.safetensors", "pytorch_model_fsdp*", _SHARED),
    ("optimizer*", _SHARED),
    ("scheduler.pt", _SHARED),
    ("rng_state*.pth",),
)
"""What a checkpoint of transformers' trainer needs, by the names of what holds it: of each line, one."""
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
        raise _unreadable(folder, str(error)) from error
    assert isinstance(content, dict)
    return content, state


def check(folder: Path) -> None:
    """Raise `InputError` where a checkpoint of transformers' trainer lacks what a run goes on from, or has half of it.

    transformers begins optimiser, schedule and chance anew, without a word, where their files are missing.
    """
    for names in _WANTED:
        if not any(next(folder.glob(name), None) for name in names):
            raise _unreadable(folder, f"there is no {names[0]}")
    for file in sorted(folder.iterdir()):
        if problem := _broken(file):
            raise _unreadable(folder, f"{file.name}: {problem}")


def place_best(folder: Path, *, needed: bool) -> None:
    """Have a checkpoint of transformers' trainer name the best one as it lies beside it now.

    It names the place where that lay when it was written: from elsewhere, or once the run's folder has another name,
    transformers finds nothing there, and ends with the last weights. Raises `InputError` where it is gone and
    ``needed``.
    """
    state = json.loads((folder / TRAINER_STATE_NAME).read_text("utf-8"))
    named = state.get("best_model_checkpoint")
    if named is None:
        return
    best = folder.parent / Path(named).name
    if not best.is_dir():
        if needed:
            raise InputError(
                "the best checkpoint so far is not here, and load_best_model_at_end asks for it",
                where=str(best),
                fix="put it back, or choose another output_dir",
            )
    elif named != str(best):
        replace_text(folder / TRAINER_STATE_NAME, json.dumps(state | {"best_model_checkpoint": str(best)}, indent=2))


def load_renamed(model: PreTrainedModel, folder: Path) -> None:
    """Load the weights of a checkpoint in which some have other names than in ``model``.

    transformers saves a layer's experts one by one, and keeps them stacked; its trainer leaves out what it doesn't
    find by name. Raises `InputError` where weights are missing altogether.
    """
    kind: Any = type(model)  # whose from_pretrained is typed as if it gave no report
    with quiet():
        loaded, report = kind.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, output_loading_info=True
        )
    if missing := sorted(report["missing_keys"]):
        raise _unreadable(folder, f"it holds no {missing[0]}")
    model.load_state_dict(loaded.state_dict())


def _broken(file: Path) -> str:
    """Return what is wrong with a file that was cut off; nothing where it is whole, or of a kind that is not known."""
    try:
        match file.suffix:
            case ".json":
                json.loads(file.read_text("utf-8"))
            case ".safetensors":
                with safe_open(file, "pt"):
                    pass
            case ".pt" | ".pth":
                return "" if zipfile.is_zipfile(file) else "it is cut off"
    except (OSError, ValueError, SafetensorError) as error:
        return str(error)
    return ""


def _unreadable(folder: Path, problem: str) -> InputError:
    return InputError(
        f"this checkpoint can't be read: {problem}", where=str(folder), fix="remove it; an older one is used then"
    )


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


def restore_chance(kept: Sequence[Mapping[str, Any]], process: int) -> None:
    """Set the random generators of the process with this number to what `chance` has returned there.

    A run may go on with more processes than it had, or fewer GPUs: what a further process draws is then what another
    does, and states of GPUs that are not there are left out.
    """
    own = kept[process % len(kept)]
    torch.set_rng_state(own["cpu"])
    for device, state in zip(range(torch.cuda.device_count()), own["cuda"], strict=False):
        torch.cuda.set_rng_state(state, device)
