"""PPO on tiny models: what it learns from, that it learns, that it goes on exactly, and what it refuses."""

import json
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, TrainerCallback

from constitution.errors import InputError
from critic.engines import attention
from critic.engines.base import RunStopped
from critic.engines.loading import load
from trainers import checkpoint, experience, metrics, rollouts
from trainers.ppo import PPOTrainer
from trainers.ppo_config import PPOConfig
from trainers.results import Trained
from trainers.rollout import Sample
from trainers.run import train
from trainers.scoring import Grade
from trainers.trainer import NotFinite

from .ppo_tiny import Planted, ppo_config, ppo_trainer, prompts_file, share_of
from .tiny import farthest, weights

LORA = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear"}


def trained_weights(trainer: PPOTrainer) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in trainer.models.trainable().items()}


def samples_of(trainer: PPOTrainer) -> list[Sample]:
    samples = trainer._write(trainer._asks_of_step(), trainer.args.samples_per_prompt, "step", 0)
    trainer._grade(samples)
    return samples


@pytest.mark.parametrize("lora", [None, LORA], ids=["whole", "adapted"])
def test_tokens_are_measured_as_the_model_alone_does_it(
    lora: dict[str, Any] | None, policy: Path, tmp_path: Path
) -> None:
    """Against transformers' own attention, one answer at a time: log-probability and entropy at the temperature."""
    trainer = ppo_trainer(ppo_config(policy, tmp_path / "out", lora=lora, temperature=0.7), reward=Planted(len_of))
    samples = samples_of(trainer)
    prompts = [samples[i : i + 3] for i in range(0, len(samples), 3)]
    found = experience.read(trainer.models, prompts, trainer.args, trainer.accelerator)
    old, entropy, reference, _ = (torch.split(x, [len(s.ids) for s in samples]) for x in found)
    plain = AutoModelForCausalLM.from_pretrained(policy, attn_implementation="eager").eval()
    for i, sample in enumerate(samples):
        ids = torch.tensor([[*sample.task.ask.ids, *sample.ids]])
        with torch.no_grad():
            logits = plain(ids).logits[0, len(sample.task.ask.ids) - 1 : -1] / 0.7
        logp = logits.log_softmax(-1)
        expected = logp[range(len(sample.ids)), list(sample.ids)]
        assert torch.allclose(old[i], expected, atol=1e-5)
        assert torch.allclose(torch.tensor(sample.logprobs), expected, atol=1e-5)
        assert torch.allclose(entropy[i], -(logp.exp() * logp).sum(-1), atol=1e-5)
        assert torch.equal(reference[i], old[i])  # before the first update
    trainer.close()


def len_of(sample: Sample) -> float:
    return float(len(sample.ids))


@pytest.mark.parametrize("lora", [None, LORA], ids=["whole", "adapted"])
def test_the_reference_stays_and_the_writer_follows(lora: dict[str, Any] | None, policy: Path, tmp_path: Path) -> None:
    config = ppo_config(policy, tmp_path / "out", lora=lora, max_steps=2, learning_rate=0.01)
    trainer = ppo_trainer(config, reward=Planted(share_of("aeiou")))
    samples = samples_of(trainer)
    prompts = [samples[i : i + 3] for i in range(0, len(samples), 3)]
    before = experience.read(trainer.models, prompts, trainer.args, trainer.accelerator)
    trainer.train()
    after = experience.read(trainer.models, prompts, trainer.args, trainer.accelerator)
    assert torch.equal(before[2], after[2])
    assert float((before[0] - after[0]).abs().max()) > 1e-3
    again = samples_of(trainer)
    _, rows, _ = trainer._measure(again)
    assert max(row["drift"] for row in rows) < 1e-5  # the writer drew from the policy as it is now
    trainer.close()


def test_what_an_update_computes_is_ppo_by_hand(policy: Path, tmp_path: Path) -> None:
    """One minibatch of one epoch is a step on the gradient of the clipped losses at ratio 1."""
    config = ppo_config(
        policy, tmp_path / "out", epochs=1, minibatches=1, optim="sgd", learning_rate=0.1, max_grad_norm=0.0,
        value_coef=0.0, whiten=False,
    )  # fmt: skip
    trainer = ppo_trainer(config, reward=Planted(share_of("aeiou")))
    groups, _, _ = trainer._measure(samples_of(trainer))
    before = trained_weights(trainer)
    trainer._learn(groups)
    after = trained_weights(trainer)
    model = load(str(policy), torch.float32, torch.device("cpu"), "eager").model
    total = sum(len(group.old) for group in groups)
    for group in groups:
        advantages = torch.split(group.advantages, [len(s.ids) for s in group.samples])
        for sample, advantage in zip(group.samples, advantages, strict=True):
            ids = torch.tensor([[*sample.task.ask.ids, *sample.ids]])
            logits = model(ids).logits[0, len(sample.task.ask.ids) - 1 : -1]
            logp = logits.log_softmax(-1)[range(len(sample.ids)), list(sample.ids)]
            (-(logp * advantage).sum() / total).backward()  # the gradient of -ratio * A at ratio 1
    for name, weight in model.named_parameters():
        assert weight.grad is not None
        moved = before[f"policy.{name}"] - after[f"policy.{name}"]
        assert torch.allclose(moved, 0.1 * weight.grad, atol=1e-6), name
    trainer.close()


def test_the_score_of_an_answer_reaches_its_last_token_less_the_kl(policy: Path, tmp_path: Path) -> None:
    config = ppo_config(policy, tmp_path / "out", gamma=1.0, lam=1.0, kl_coef=0.5)
    trainer = ppo_trainer(config, reward=Planted(len_of))
    samples = samples_of(trainer)[:2]
    lengths = [len(sample.ids) for sample in samples]
    kl = torch.linspace(-1, 1, sum(lengths))
    found = experience.advantages(samples, kl, torch.zeros(sum(lengths)), 0.5, config)
    for part, of_kl, length in zip(found.split(lengths), kl.split(lengths), lengths, strict=True):
        expected = [length - 0.5 * float(of_kl[t:].sum()) for t in range(length)]
        assert part.tolist() == pytest.approx(expected, abs=1e-5)
    trainer.close()


@pytest.mark.parametrize("size", [1, 4])
def test_how_many_prompts_go_through_at_once_changes_nothing(size: int, policy: Path, tmp_path: Path) -> None:
    found = []
    for count in (2, size):
        config = ppo_config(
            policy, tmp_path / f"out{count}", per_device_train_batch_size=count, max_steps=1, optim="sgd"
        )
        trainer = ppo_trainer(config, reward=Planted(share_of("aeiou")))
        trainer.train()
        found.append(trained_weights(trainer))
        trainer.close()
    assert farthest(*found) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("lora", [None, LORA], ids=["whole", "adapted"])
def test_it_learns_what_is_planted_at_a_bounded_kl(lora: dict[str, Any] | None, policy: Path, tmp_path: Path) -> None:
    """Answers of ten bytes, of which small letters are wanted: a tenth at first, and 0.4 or more in the end."""
    config = ppo_config(
        policy, tmp_path / "out", lora=lora, max_steps=25, prompts_per_step=8, samples_per_prompt=8, rollout_batch=64,
        per_device_train_batch_size=8, learning_rate=0.01 if lora else 0.002, kl_coef=0.015 if lora else 0.02,
        alarm_kl=20.0,
    )  # fmt: skip
    trainer = ppo_trainer(config, reward=Planted(share_of(ascii_lowercase)))
    trainer.train()
    trainer.close()
    logs = [row for row in metrics.read(tmp_path / "out") if "reward" in row]
    assert logs[0]["reward"] < 0.15
    assert logs[-1]["reward"] > 0.4
    assert max(row["kl"] for row in logs) < 20


CHILD = """
import json, os, signal, sys, torch
from pathlib import Path
from transformers import TrainerCallback
from trainers.ppo_config import PPOConfig
from trainers.run import train

class Die(TrainerCallback):
    def on_step_end(self, args, state, control, **others):
        if state.global_step == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)

torch.set_num_threads(1)
train(PPOConfig(**json.loads(Path(sys.argv[1]).read_text())), [Die()])
"""


@pytest.mark.slow
@pytest.mark.parametrize("lora", [None, LORA | {"lora_dropout": 0.2}], ids=["whole", "adapted"])
def test_killed_and_resumed_it_has_the_weights_of_an_uninterrupted_run(
    lora: dict[str, Any] | None, policy: Path, scorer: Path, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"lora": lora, "reward": f"rm:{scorer}?dtype=float32", "max_steps": 5}
    settings |= {"save_strategy": "steps"}
    settings |= {"save_steps": 2, "kl_target": 1.0, "lr_scheduler_type": "linear", "eval_share": 0.3, "eval_steps": 2}
    settings |= {"heldout_reward": "verify:max-words=2", "max_new_tokens": 6}
    whole = train(ppo_config(policy, tmp_path / "whole", **settings))
    given = tmp_path / "config.json"
    config = ppo_config(policy, tmp_path / "cut", **settings)
    given.write_text(json.dumps({k: getattr(config, k) for k in ppo_settings(settings)}))
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    for step in (3, 4, 99):  # after the checkpoint of step 2, then while that of step 4 is still to be written
        done = subprocess.run(
            [sys.executable, script, given, str(step)], capture_output=True, text=True, cwd=Path(__file__).parents[2],
            timeout=120, check=False, env=child_environment(),
        )  # fmt: skip
        assert done.returncode == (0 if step == 99 else -9), done.stderr
    one, other = (checkpoint.load(tmp_path / name / "checkpoint-5") for name in ("whole", "cut"))
    assert one[0]["weights"].keys() == other[0]["weights"].keys()
    for name, weight in one[0]["weights"].items():
        assert torch.equal(weight, other[0]["weights"][name]), name
    assert one[0]["kl_coef"] == other[0]["kl_coef"] != 0.05
    assert one[0]["audits"] == other[0]["audits"] and one[0]["steps"] == other[0]["steps"]
    files = ("model.safetensors", rollouts.FILE, "samples.jsonl")
    for name in files:
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes(), name
    assert whole.steps == 5 and not train(ppo_config(policy, tmp_path / "cut", **settings)).new


def ppo_settings(settings: dict[str, Any]) -> set[str]:
    return {*settings, "output_dir", "model", "data", "use_cpu", "bf16", "max_length", "report_to", "disable_tqdm",
            "prompts_per_step", "samples_per_prompt", "rollout_batch", "epochs", "minibatches", "learning_rate",
            "per_device_train_batch_size", "logging_steps", "lr_scheduler_type"}  # fmt: skip


def child_environment() -> dict[str, str]:
    import os

    root = str(Path(__file__).parents[2])
    return os.environ | {"PYTHONPATH": root, "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
@pytest.mark.parametrize("lora", [None, LORA], ids=["whole", "adapted"])
def test_two_processes_are_one(lora: dict[str, Any] | None, policy: Path, scorer: Path, tmp_path: Path) -> None:
    """With one minibatch, the same prompts make each update; what differs is the order in which they are added up."""
    settings: dict[str, Any] = {"lora": lora, "reward": f"rm:{scorer}?dtype=float32", "max_steps": 3, "minibatches": 1}
    settings |= {"eval_share": 0.4, "eval_steps": 1, "heldout_reward": "verify:max-words=2", "max_new_tokens": 6}
    train(ppo_config(policy, tmp_path / "one", **settings))
    given, script = tmp_path / "config.json", tmp_path / "child.py"
    config = ppo_config(policy, tmp_path / "two", **settings)
    given.write_text(json.dumps({k: getattr(config, k) for k in ppo_settings(settings)} | {"ddp_backend": "gloo"}))
    script.write_text(CHILD)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [*launch, str(script), str(given), "99"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False, env=child_environment())
    assert done.returncode == 0, done.stderr[-4000:]
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    assert farthest(one, two) < 1e-4
    keys = ("step", "reward", "kl", "entropy", "length", "eval_reward", "eval_heldout", "explained_variance")
    logs = [[{k: row[k] for k in keys if k in row} for row in metrics.read(tmp_path / name)] for name in ("one", "two")]
    assert len(logs[0]) == len(logs[1]) == 7
    for ours, theirs in zip(*logs, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-4)


class Counting(Planted):
    """Gives no reward to one answer of each prompt, and in the end to none."""

    def __init__(self, stop_at: int) -> None:
        super().__init__(len_of)
        self.calls, self.stop_at = 0, stop_at

    async def grade(self, samples: Sequence[Sample]) -> list[Grade]:
        self.calls += 1
        grades = await super().grade(samples)
        lost = range(len(grades)) if self.calls == self.stop_at else range(0, len(grades), 3)
        return [Grade(None, "it can't be read") if i in lost else grade for i, grade in enumerate(grades)]


def test_answers_without_a_reward_are_left_out_and_named(policy: Path, tmp_path: Path) -> None:
    trainer = ppo_trainer(ppo_config(policy, tmp_path / "out", max_steps=1), reward=Counting(99))
    groups, _, _ = trainer._measure(samples_of(trainer))
    assert [len(group.samples) for group in groups] == [2, 2, 2, 2]
    trainer.train()
    [row] = metrics.read(tmp_path / "out")
    assert row["without_reward"] == 4
    written = rollouts.read(tmp_path / "out")
    assert [r["problem"] for r in written if r["reward"] is None] == ["it can't be read"] * 4
    assert row["reward"] == pytest.approx(sum(r["reward"] for r in written if r["reward"] is not None) / 8)
    trainer.close()


def test_a_step_without_any_reward_stops_the_run_and_it_goes_on_later(policy: Path, tmp_path: Path) -> None:
    config = ppo_config(policy, tmp_path / "out", save_strategy="steps", save_steps=1, max_steps=3)
    trainer = ppo_trainer(config, reward=Counting(3))
    with pytest.raises(InputError, match=r"step 3, .*no answer has a reward; the first: it can't be read"):
        trainer.train()
    trainer.close()
    again = ppo_trainer(config, reward=Counting(99))
    again.train()
    assert [row["step"] for row in metrics.read(tmp_path / "out")] == [1, 2, 3]
    again.close()


class Gone(Planted):
    async def grade(self, samples: Sequence[Sample]) -> list[Grade]:
        raise RunStopped("the judge's server is gone")


def test_a_reward_that_is_gone_stops_the_run(policy: Path, tmp_path: Path) -> None:
    trainer = ppo_trainer(ppo_config(policy, tmp_path / "out"), reward=Gone(len_of))
    with pytest.raises(InputError, match=r"(?s)server is gone.*goes on from a checkpoint"):
        trainer.train()
    trainer.close()


def test_a_loss_that_is_no_number_names_the_prompts_and_keeps_the_weights(policy: Path, tmp_path: Path) -> None:
    trainer = ppo_trainer(ppo_config(policy, tmp_path / "out"), reward=Planted(len_of))
    groups, _, _ = trainer._measure(samples_of(trainer))
    groups[1].advantages[0] = math.nan
    before = trained_weights(trainer)
    with pytest.raises(NotFinite, match=r"prompts\.jsonl:") as told:
        for _ in range(2):
            trainer._update([groups[0], groups[1]])
            trainer._descend([groups[0], groups[1]])
    assert groups[1].where in str(told.value)
    assert farthest(before, trained_weights(trainer)) == 0
    trainer.close()


def test_a_full_disk_leaves_the_last_checkpoint_whole(
    policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ppo_config(policy, tmp_path / "out", save_strategy="steps", save_steps=1, max_steps=2)
    trainer = ppo_trainer(config, reward=Planted(len_of), callbacks=[Fill(monkeypatch)])
    with pytest.raises(InputError, match="checkpoint of step 2 could not be saved: no space left"):
        trainer.train()
    trainer.close()
    assert [file.name for file in (tmp_path / "out").glob("*") if file.is_dir()] == ["checkpoint-1"]
    content, state = checkpoint.load(tmp_path / "out" / "checkpoint-1")
    assert state.global_step == 1 and len(content["steps"]) == 1


class Fill(TrainerCallback):
    """Fills the disk after the first step."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def on_save(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        def full(*args: object) -> None:
            raise RuntimeError("no space left on device")

        self._monkeypatch.setattr(torch, "save", full)


def test_a_checkpoint_of_another_reward_is_refused(policy: Path, tmp_path: Path) -> None:
    config = ppo_config(policy, tmp_path / "out", save_strategy="steps", save_steps=1, max_steps=1)
    one, other = (ppo_trainer(config, reward=Planted(len_of, name)) for name in ("one", "other"))
    one.train()
    with pytest.raises(InputError, match="it was trained by the reward"):
        other.train()
    one.close()
    other.close()


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


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"prompts_per_step": 9}, "there are 8 prompts, and a step takes 9"),
        ({"max_length": 10}, "no prompt fits"),
        ({"data": [{"path": "x", "ratio": 1}]}, "no file of prompts"),
        ({"reward": "scripted:nowhere"}, "nowhere"),
        ({"lora": {"r": 4, "modules_to_save": ["lm_head"]}}, "modules_to_save"),
        ({"reward": "http://localhost:1/", "principles": "honesty"}, "reads no principles"),
    ],
)
def test_what_can_t_be_run_is_told(settings: dict[str, Any], said: str, policy: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        ppo_trainer(ppo_config(policy, tmp_path / "out", **settings))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"reward": ""}, "reward is missing"),
        ({"minibatches": 5}, "5 minibatches can't be made of 4 prompts"),
        ({"temperature": 0.0}, "temperature is 0.0; expected a number above 0"),
        ({"clip": math.nan}, "clip is nan"),
        ({"lam": 1.5}, "at most 1"),
        ({"heldout_reward": "verify:max-words=3"}, "needs prompts"),
        ({"num_train_epochs": 2.0}, "num_train_epochs has no place in PPO"),
        ({"prefix_packing": False}, "prefix_packing can't be turned off"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    settings: dict[str, Any], said: str, policy: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=said):
        ppo_config(policy, tmp_path / "out", **settings)


def test_prompts_come_all_once_before_one_comes_again(policy: Path, tmp_path: Path) -> None:
    trainer = ppo_trainer(ppo_config(policy, tmp_path / "out"), reward=Planted(len_of))
    asks = trainer.asks
    keys = [[ask.prompt.key for ask in asks.of_step(step, 4, seed=0)] for step in range(4)]
    assert sorted(keys[0] + keys[1]) == sorted(keys[2] + keys[3]) == sorted(ask.prompt.key for ask in asks.asks)
    assert keys[:2] != keys[2:]
    trainer.close()


def test_rows_that_are_no_prompts_are_named(policy: Path, tmp_path: Path) -> None:
    file = prompts_file(tmp_path)
    with file.open("a") as more:
        more.write(json.dumps({"prompt": "Tell me of river 0."}) + "\n{broken\n" + json.dumps({"prompt": "x" * 400}))
    trainer = ppo_trainer(ppo_config(policy, tmp_path / "two" / "out", data=[str(file)]), reward=Planted(len_of))
    assert [row.reason for row in trainer.asks.refused] == ["duplicate", "broken_line", "too_long"]
    assert [row.where for row in trainer.asks.refused] == [f"prompts.jsonl:{i}" for i in (9, 10, 11)]
    trainer.close()


def test_the_config_is_strict() -> None:
    from trainers.config import build

    with pytest.raises(InputError, match="did you mean 'kl_coef'"):
        build(PPOConfig, {"output_dir": "x", "data": "y", "reward": "verify:max-words=3", "kl_coeff": 1}, "test")
    with pytest.raises(InputError, match="expected one of hf, vllm"):
        build(PPOConfig, {"output_dir": "x", "data": "y", "reward": "verify:max-words=3", "rollout": "x"}, "test")
