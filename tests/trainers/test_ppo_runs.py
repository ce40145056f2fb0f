"""Whole runs of PPO: killed and resumed, in two processes, and what they leave."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from base.errors import InputError
from critic.local.loading import load
from critic.local.trees import attention
from tests import warm
from trainers.folder import checkpoint, metrics
from trainers.folder.results import Trained
from trainers.methods.grpo import GRPOConfig
from trainers.online.writing import rollouts
from trainers.run import train

from .online_tiny import LORA, online_config, ppo_config
from .tiny import apart, farthest, weights


def write_child(folder: Path, settings: dict[str, Any], kind: str = "ppo", **more: Any) -> list[str]:
    """Write what a child process is to do; return its command."""
    (file := folder / "child.json").write_text(json.dumps({"kind": kind, "settings": settings} | more))
    return ["tests.trainers.child", str(file)]


@pytest.mark.slow
@pytest.mark.parametrize("lora", [None, LORA | {"lora_dropout": 0.2}], ids=["whole", "adapted"])
def test_killed_and_resumed_it_has_the_weights_of_an_uninterrupted_run(
    lora: dict[str, Any] | None, policy: Path, scorer: Path, tmp_path: Path
) -> None:
    # An engine scores whatever waits in one row, and rounds by what is in it: on a busy machine that would differ.
    reward = f"rm:{scorer}?dtype=float32&deterministic=true"
    settings: dict[str, Any] = {"lora": lora, "reward": reward, "max_steps": 5}
    settings |= {"save_strategy": "steps"}
    settings |= {"save_steps": 2, "kl_target": 1.0, "lr_scheduler_type": "linear", "eval_share": 0.3, "eval_steps": 2}
    settings |= {"heldout_reward": "verify:max-words=2", "max_new_tokens": 6}
    whole = train(ppo_config(policy, tmp_path / "whole", **settings))
    config = ppo_config(policy, tmp_path / "cut", **settings)
    given = {k: getattr(config, k) for k in ppo_settings(settings)}
    for step in (3, 4, None):  # after the checkpoint of step 2, then while that of step 4 is still to be written
        done = warm.run(write_child(tmp_path, given, die_after=step), tmp_path)
        assert done.returncode == (-signal.SIGKILL if step else 0), done.stderr
    one, other = (checkpoint.load(tmp_path / name / "checkpoint-5") for name in ("whole", "cut"))
    assert one[0]["weights"].keys() == other[0]["weights"].keys()
    for name, weight in one[0]["weights"].items():
        assert torch.equal(weight, other[0]["weights"][name]), name
    assert one[0]["method"] == other[0]["method"] != {"kl_coef": 0.05}
    assert one[0]["history"] == other[0]["history"]
    files = ("model.safetensors", rollouts.FILE)  # so short a run leaves nothing for samples
    for name in files:
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes(), name
    assert whole.steps == 5 and not train(ppo_config(policy, tmp_path / "cut", **settings)).new


def ppo_settings(settings: dict[str, Any]) -> set[str]:
    return {*settings, "unfinished", "output_dir", "model", "data", "use_cpu", "bf16", "max_length", "report_to",
            "disable_tqdm", "prompts_per_step", "samples_per_prompt", "rollout_batch", "epochs", "minibatches",
            "learning_rate", "per_device_train_batch_size", "logging_steps", "lr_scheduler_type"}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("lora", [None, LORA], ids=["whole", "adapted"])
def test_two_processes_are_one(lora: dict[str, Any] | None, policy: Path, scorer: Path, tmp_path: Path) -> None:
    """The same prompts make each minibatch; what differs is the order in which they are added up."""
    settings: dict[str, Any] = {"lora": lora, "reward": f"rm:{scorer}?dtype=float32", "max_steps": 3, "minibatches": 2}
    settings |= {"eval_share": 0.4, "eval_steps": 1, "heldout_reward": "verify:max-words=2", "max_new_tokens": 6}
    train(ppo_config(policy, tmp_path / "one", **settings))
    config = ppo_config(policy, tmp_path / "two", **settings)
    given = {k: getattr(config, k) for k in ppo_settings(settings)} | {"ddp_backend": "gloo"}
    warm.run_side_by_side(write_child(tmp_path, given), tmp_path)
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    assert apart(two, one, load_file(policy / "model.safetensors")) < 0.01
    keys = ("step", "reward", "kl", "entropy", "length", "eval_reward", "eval_heldout", "explained_variance")
    logs = []
    for name in ("one", "two"):
        rows = []
        for row in metrics.read(tmp_path / name):
            rows.append({key: row[key] for key in keys if key in row})
        logs.append(rows)
    assert len(logs[0]) == len(logs[1]) == 7
    for ours, theirs in zip(*logs, strict=True):
        # A share of the variance, near 0: how a processor rounds its two sums is a difference between large numbers.
        explained = [row.pop("explained_variance", 0.0) for row in (ours, theirs)]
        assert explained[0] == pytest.approx(explained[1], abs=1e-3)
        assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-4)


@pytest.mark.slow
def test_rewards_that_are_normalised_each_are_those_of_one_process(policy: Path, scorer: Path, tmp_path: Path) -> None:
    """Sums are normalised over the answers of both processes; one of the rewards is the same for all."""
    settings: dict[str, Any] = {"reward": f"rm:{scorer}?dtype=float32", "rule": "grpo", "combine": "normalised"}
    settings |= {"more_rewards": [{"reward": "verify:max-words=1000", "weight": 0.5}], "max_new_tokens": 6}
    settings |= {"max_steps": 3, "minibatches": 1, "epochs": 1}
    train(online_config(GRPOConfig, policy, tmp_path / "one", **settings))
    config = online_config(GRPOConfig, policy, tmp_path / "two", **settings)
    given = {k: getattr(config, k) for k in ppo_settings(settings)} | {"ddp_backend": "gloo"}
    warm.run_side_by_side(write_child(tmp_path, given, "grpo"), tmp_path)
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    assert apart(two, one, load_file(policy / "model.safetensors")) < 0.01


@pytest.mark.slow
def test_a_run_leaves_a_model_folder(policy: Path, scorer: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"reward": f"rm:{scorer}?dtype=float32", "max_steps": 2, "lora": LORA}
    done = train(ppo_config(policy, tmp_path / "out", **settings))
    assert isinstance(done, Trained) and done.new and done.counts.examples == 8
    names = {file.name for file in done.folder.iterdir()}
    assert names >= {"model.safetensors", "lineage.json", "README.md", "report.html", "metrics.jsonl", rollouts.FILE}
    lineage = json.loads((done.folder / "lineage.json").read_text())
    assert lineage["trainer"] == "ppo" and lineage["settings"]["kl_coef"] == 0.05
    merged = load(str(done.folder), torch.float32, torch.device("cpu"), attention.NAME).model
    plain = load(str(policy), torch.float32, torch.device("cpu"), attention.NAME).model
    assert farthest(weights(merged), weights(plain)) > 0
    with pytest.raises(InputError, match=r"kl_coef was 0\.05, is 0\.1"):
        train(ppo_config(policy, tmp_path / "out", kl_coef=0.1, **settings))
