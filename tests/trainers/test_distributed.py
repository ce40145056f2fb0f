"""Two processes on the CPU (gloo), with DDP or FSDP, learn and report what one does with the same batches."""

import json
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from tests import warm
from trainers import config, models, run
from trainers.folder import metrics
from trainers.folder.identity import LINEAGE

from .child import KINDS
from .small_runs import run_settings
from .tiny import apart, planted, question, weights

SHARDED = Path(config.__file__).parent / "configs" / "fsdp-multi.yaml"
ON_ONE_MACHINE = SHARDED.with_name("fsdp.yaml")
ROOT = Path(__file__).parents[2]


def launch(kind: str, settings: dict[str, Any], folder: Path) -> None:
    (file := folder / "child.json").write_text(json.dumps({"kind": kind, "settings": settings}))
    warm.run_side_by_side(["tests.trainers.child", str(file)], folder)


def launch_machines(kind: str, settings: dict[str, Any], folder: Path, **more: Any) -> list[tuple[int, str]]:
    """Start two machines of one process each as fsdp-multi.yaml says; return how each ended, and what it printed."""
    (file := folder / "child.json").write_text(json.dumps({"kind": kind, "settings": settings, "sharded": True} | more))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = ["accelerate.commands.launch", "--config_file", str(SHARDED), "--num_processes", "2"]
    command += ["--main_process_ip", "127.0.0.1", "--main_process_port", port, "--mixed_precision", "no"]
    logs = [folder / f"machine-{rank}.log" for rank in "01"]
    for log in logs:
        log.unlink(missing_ok=True)
    started = [
        warm.Warm([*command, "--machine_rank", rank, "-m", "tests.trainers.child", str(file)], ROOT, None, log, log)
        for rank, log in zip("01", logs, strict=True)
    ]
    try:
        return [(process.wait(), log.read_text()) for process, log in zip(started, logs, strict=True)]
    finally:
        for process in started:
            process.kill()


def launch_on_one_machine(kind: str, settings: dict[str, Any], folder: Path) -> tuple[int, str]:
    """Start two processes that share a model as fsdp.yaml says: the first reads it. Return how they ended."""
    (file := folder / "child.json").write_text(json.dumps({"kind": kind, "settings": settings, "sharded": True}))
    command = ["accelerate.commands.launch", "--config_file", str(ON_ONE_MACHINE), "--num_processes", "2"]
    command += ["--main_process_port", "0", "--mixed_precision", "no", "-m", "tests.trainers.child", str(file)]
    log = folder / "machine.log"
    process = warm.Warm(command, ROOT, None, log, log)
    try:
        return process.wait(), log.read_text()
    finally:
        process.kill()


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
    assert_same_run(tmp_path, expected.figures)
    ours, wanted = (load_file(tmp_path / name / "model.safetensors") for name in ("two", "one"))
    assert apart(ours, wanted, load_file(policy / "model.safetensors")) < 0.01


def logged_in(folder: Path, keys: Sequence[str]) -> list[dict[str, Any]]:
    """What a run's metrics say under these names, step by step."""
    rows = []
    for row in metrics.read(folder):
        rows.append({key: row[key] for key in ("step", *keys) if key in row})
    return rows


def assert_same_run(folder: Path, figures: Mapping[str, float]) -> None:
    """What two processes reported in ``two`` is what one reported in ``one``."""
    keys = ("loss", "grad_norm", "eval_loss", "eval_accuracy", "eval_rewards/margins", "eval_logps/answer")
    logged, rows = logged_in(folder / "two", keys), logged_in(folder / "one", keys)
    assert len(logged) == len(rows) > 3
    for ours, theirs in zip(logged, rows, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-6)
    held_out = json.loads((folder / "two" / LINEAGE).read_text())["figures"]
    assert held_out == pytest.approx(dict(figures), rel=1e-3, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "killed"), [("reward", False), ("dpo", True)])
def test_two_machines_that_share_a_sharded_model_are_one_process(
    kind: str, killed: bool, policy: Path, tmp_path: Path
) -> None:
    """One kind is killed in the last step and started again; the model that is saved in the end is whole."""
    one = run_settings(kind, policy, tmp_path / "one", tmp_path)
    one |= {"per_device_train_batch_size": 4, "max_steps": 3}
    two = one | {"per_device_train_batch_size": 2, "output_dir": str(tmp_path / "two"), "ddp_backend": "gloo"}
    expected = run.train(KINDS[kind](**one))
    if killed:
        ended = launch_machines(kind, two, tmp_path, die_after=3)
        assert all(code != 0 for code, _ in ended)
        assert [file.name for file in (tmp_path / "two").glob("checkpoint-*")] == ["checkpoint-2"], ended
    ended = launch_machines(kind, two, tmp_path)
    assert [code for code, _ in ended] == [0, 0], "\n".join(text[-3000:] for _, text in ended)
    assert_same_run(tmp_path, expected.figures)
    auto = AutoModelForCausalLM if kind == "dpo" else AutoModelForSequenceClassification
    ours, wanted = (weights(auto.from_pretrained(tmp_path / name)) for name in ("two", "one"))
    assert apart(ours, wanted, load_file(policy / "model.safetensors")) < 0.01


@pytest.mark.slow
def test_two_processes_of_a_machine_that_share_a_sharded_model_are_one(policy: Path, tmp_path: Path) -> None:
    """Only one of them has read the weights."""
    one = run_settings("sft", policy, tmp_path / "one", tmp_path)
    one |= {"per_device_train_batch_size": 4, "max_steps": 3, "save_strategy": "no"}
    two = one | {"per_device_train_batch_size": 2, "output_dir": str(tmp_path / "two"), "ddp_backend": "gloo"}
    expected = run.train(KINDS["sft"](**one))
    code, said = launch_on_one_machine("sft", two, tmp_path)
    assert code == 0, said[-3000:]
    assert_same_run(tmp_path, expected.figures)


def test_weights_that_will_be_received_take_no_memory() -> None:
    weight, vector = (torch.nn.Parameter(torch.empty(size, device="meta")) for size in ((4096, 4096), (4096,)))
    with models._Unheld():
        matrix = torch.zeros_like(weight, device="cpu")
        assert matrix.shape == weight.shape and matrix.untyped_storage().nbytes() == 4
        assert torch.zeros_like(vector, device="cpu").untyped_storage().nbytes() == 4 * 4096
