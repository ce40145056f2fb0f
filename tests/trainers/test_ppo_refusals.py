"""What stops PPO, what it leaves out, and what it refuses."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerCallback

from base.errors import InputError
from critic.engine import RunStopped
from critic.rewarding.grade import Grade
from tests import zoo
from trainers.folder import checkpoint, metrics
from trainers.methods.ppo import PPOConfig
from trainers.online.writing import rollouts
from trainers.online.writing.rollout import Sample
from trainers.trainer import NotFinite

from .online_tiny import LORA, Planted, len_of, ppo_config, ppo_trainer, prompts_file, samples_of, trained_weights
from .tiny import farthest


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
    groups = trainer.measure(samples_of(trainer)).groups
    assert [len(group.samples) for group in groups] == [2, 2, 2, 2]
    trainer.train()
    [row] = metrics.read(tmp_path / "out")
    assert row["without_reward"] == 4
    written = rollouts.read(tmp_path / "out")
    assert [r["problem"] for r in written if r["reward"] is None] == ["it can't be read"] * 4
    assert row["reward"] == pytest.approx(sum(r["reward"] for r in written if r["reward"] is not None) / 8)
    trainer.close()


def test_answers_that_are_all_thoughts_are_never_graded(policy: Path, tmp_path: Path) -> None:
    graded: list[str] = []

    def one(sample: Sample) -> float:
        graded.append(sample.text)
        return 1.0

    trainer = ppo_trainer(ppo_config(policy, tmp_path / "out"), reward=Planted(one))
    samples = samples_of(trainer)
    samples[1].problem = "the limit of 10 tokens was reached before an answer"
    samples[1].reward = None
    graded.clear()
    trainer._grade(samples)
    assert len(graded) == len(samples) - 1
    assert [sample.reward for sample in samples[:3]] == [1.0, None, 1.0]
    measured = trainer.measure(samples)
    assert samples[1] not in [sample for group in measured.groups for sample in group.samples]
    assert measured.rows[1]["problem"] == samples[1].problem and "kl" not in measured.rows[1]
    trainer.close()


def test_a_step_without_any_reward_stops_the_run_and_it_goes_on_later(policy: Path, tmp_path: Path) -> None:
    config = ppo_config(policy, tmp_path / "out", save_steps=50, max_steps=3)
    trainer = ppo_trainer(config, reward=Counting(3))
    with pytest.raises(InputError, match=r"step 3, .*no answer has a reward; the first: it can't be read"):
        trainer.train()
    trainer.close()
    assert (tmp_path / "out" / "checkpoint-2").is_dir(), "no checkpoint was due, and no step is lost"
    again = ppo_trainer(config, reward=Counting(99))
    again.train()
    assert [row["step"] for row in metrics.read(tmp_path / "out")] == [1, 2, 3]
    again.close()


class Gone(Planted):
    async def grade(self, samples: Sequence[Sample]) -> list[Grade]:
        raise RunStopped("the judge's server is gone")


def test_a_reward_that_is_gone_stops_the_run(policy: Path, tmp_path: Path) -> None:
    trainer = ppo_trainer(ppo_config(policy, tmp_path / "out"), reward=Gone(len_of))
    with pytest.raises(InputError, match=r"(?s)server is gone.*goes on with this step"):
        trainer.train()
    trainer.close()


def test_a_loss_that_is_no_number_names_the_prompts_and_keeps_the_weights(policy: Path, tmp_path: Path) -> None:
    trainer = ppo_trainer(ppo_config(policy, tmp_path / "out"), reward=Planted(len_of))
    groups = trainer.measure(samples_of(trainer)).groups
    groups[1].tokens["advantages"][0] = math.nan
    before = trained_weights(trainer)
    with pytest.raises(NotFinite, match=r"prompts\.jsonl:") as told:
        for _ in range(2):
            trainer.update([groups[0], groups[1]])
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
    assert state.global_step == 1 and len(content["history"]["steps"]) == 1


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


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"prompts_per_step": 9}, "there are 8 prompts, and a step takes 9"),
        ({"max_length": 10}, "no prompt fits"),
        ({"data": [{"path": "x", "ratio": 1}]}, "no file of prompts"),
        ({"reward": "scripted:nowhere"}, "nowhere"),
        ({"lora": {"r": 4, "modules_to_save": ["lm_head"]}}, "modules_to_save"),
        ({"lora": LORA | {"bias": "all"}}, "bias has no place here"),
        ({"lora": LORA | {"lora_bias": True}}, "lora_bias has no place here"),
        ({"lora": LORA | {"init_lora_weights": "pissa"}}, "the new adapters already change what the policy says"),
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
        ({"kl_coef": 0.0, "kl_target": 6.0}, "nothing would adapt"),
        ({"heldout_reward": "verify:max-words=3"}, "needs prompts"),
        ({"num_train_epochs": 2.0}, "num_train_epochs has no place in these trainers"),
        ({"eval_strategy": "steps"}, "eval_strategy has no place in these trainers"),
        ({"save_strategy": "epoch"}, "save_strategy is 'epoch'"),
        ({"lr_scheduler_type": "reduce_lr_on_plateau"}, "has no loss to watch"),
        ({"prefix_packing": False}, "prefix_packing can't be turned off"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    settings: dict[str, Any], said: str, policy: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=said):
        ppo_config(policy, tmp_path / "out", **settings)


def test_a_policy_without_a_classifier_of_its_type_takes_adapters(tmp_path: Path) -> None:
    """transformers has no sequence classifiers of some types; with adapters, values are a layer beside the policy."""
    folder = zoo.tiny("apertus", tmp_path / "model")
    with pytest.raises(InputError, match="no model of values can be made of it") as told:
        ppo_trainer(ppo_config(folder, tmp_path / "out"), reward=Planted(len_of))
    assert "give lora" in str(told.value)
    trainer = ppo_trainer(ppo_config(folder, tmp_path / "adapted", lora=LORA), reward=Planted(len_of))
    assert any(name.startswith("head") for name in trainer.models.trainable())
    trainer.close()


def test_rows_that_are_no_prompts_are_named(policy: Path, tmp_path: Path) -> None:
    file = prompts_file(tmp_path)
    with file.open("a") as more:
        more.write(json.dumps({"prompt": "Tell me of river 0."}) + "\n{broken\n" + json.dumps({"prompt": "x" * 400}))
    trainer = ppo_trainer(ppo_config(policy, tmp_path / "two" / "out", data=[str(file)]), reward=Planted(len_of))
    assert [row.reason for row in trainer.asks.refused] == ["duplicate", "broken_line", "too_long"]
    expected = [f"prompts.jsonl:{i}" for i in (9, 10, 11)]
    assert [row.where for row in trainer.asks.refused] == expected
    trainer.close()


def test_the_config_is_strict() -> None:
    from trainers.config import build

    with pytest.raises(InputError, match="did you mean 'kl_coef'"):
        build(PPOConfig, {"output_dir": "x", "data": "y", "reward": "verify:max-words=3", "kl_coeff": 1}, "test")
    with pytest.raises(InputError, match="expected one of hf, vllm"):
        build(PPOConfig, {"output_dir": "x", "data": "y", "reward": "verify:max-words=3", "rollout": "x"}, "test")
