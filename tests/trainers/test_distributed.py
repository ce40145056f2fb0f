"""Two processes with DDP on the CPU (gloo) learn and report what one does with the same batches."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from trainers import metrics, run
from trainers.identity import LINEAGE

from .child import KINDS
from .test_trainer import run_settings
from .tiny import farthest, planted, question

LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"]


def launch(kind: str, settings: dict[str, Any], folder: Path) -> None:
    (file := folder / "child.json").write_text(json.dumps({"kind": kind, "settings": settings}))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    command = [*LAUNCH, "tests.trainers.child", str(file)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-4000:]


def feedback(file: Path) -> None:
    """Write rankings, and few pairs among them: so that one of two processes often has no pair to tell of."""
    rows = [
        {"prompt": question(i), "kind": "ranking", "responses": [pair.chosen, "So.", pair.rejected], "ranks": [1, 2, 3]}
        if i % 5
        else {"prompt": question(i), "kind": "comparison", "responses": list(pair.answers), "probability": 0.9}
        for i, pair in enumerate(planted(16))
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sft", "reward", "dpo", "feedback"])
def test_two_processes_are_one(kind: str, policy: Path, tmp_path: Path) -> None:
    """Losses, gradient norms, figures of an odd number of held-out rows, and the weights in the end."""
    if kind == "feedback":
        feedback(tmp_path / "reward.jsonl")
        kind = "reward"
    one = run_settings(kind, policy, tmp_path / "one", tmp_path)
    one |= {"per_device_train_batch_size": 4, "num_train_epochs": 1, "max_steps": 3, "save_strategy": "no"}
    two = one | {"per_device_train_batch_size": 2, "output_dir": str(tmp_path / "two"), "ddp_backend": "gloo"}
    expected = run.train(KINDS[kind](**one))
    launch(kind, two, tmp_path)
    keys = ("loss", "grad_norm", "eval_loss", "eval_accuracy", "eval_rewards/margins", "eval_logps/answer")
    found, rows = (
        [{k: row[k] for k in ("step", *keys) if k in row} for row in metrics.read(tmp_path / name)]
        for name in ("two", "one")
    )
    assert len(found) == len(rows) > 3
    for ours, theirs in zip(found, rows, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-6)
    held_out = json.loads((tmp_path / "two" / LINEAGE).read_text())["figures"]
    assert held_out == pytest.approx(dict(expected.figures), rel=1e-3, abs=1e-5)
    assert (
        farthest(load_file(tmp_path / "two" / "model.safetensors"), load_file(tmp_path / "one" / "model.safetensors"))
        < 1e-4
    )
