"""What a user meets first: no dropout in comparisons, values at the rewards' level, norms that don't decay."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from base.errors import InputError
from tests import zoo
from tests.critic.engines.sweep import TABLE
from trainers.folder import samples
from trainers.methods.dpo import DPOConfig, DPOTrainer
from trainers.methods.grpo import GRPOConfig, GRPOTrainer
from trainers.methods.ppo import PPOConfig, PPOTrainer
from trainers.online import experience
from trainers.online.writing.rollout import Sample

from .online_tiny import LORA, Planted, len_of, online_config, online_trainer, ppo_config, ppo_trainer, samples_of
from .small_runs import ALL, trainer_of
from .tiny import build, config_of, planted

DROPPING = ("bloom", "ctrl", "falcon", "gpt2", "gpt_neo", "gpt_neox", "gptj", "opt", "phi", "phi3")
"""Families whose configurations name dropout of several kinds."""
CHANCE = ("drop", "jitter", "noise", "stoch")
"""What is drawn in training mode has a name with one of these in it."""
UNBUILT = {row.split(" ")[1] for row in TABLE.read_text().splitlines() if "| not built |" in row}
"""Of these the zoo has no tiny model: see `tests.critic.engines.sweep`."""
REFUSED = {
    "cpmant": "see the tokens that they are to predict",
    "diffllama": "does not support `attention_dropout",
    "reformer": "can't be trained here",
    "xlnet": "see the tokens that they are to predict",
}
"""What trainers say of types that can't learn so, or not with dropout in their configuration."""
TRAINED = sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.keys() - UNBUILT - REFUSED.keys())
CASES = [(name, packing) for name in TRAINED for packing in ((None, False) if name in DROPPING else (None,))]
"""All of transformers' types that are trained, as the proof finds; those that drop the most padded as well."""


def dropping(name: str, folder: Path) -> Path:
    """A tiny model of a family whose configuration has all that it knows of dropout, jitter and the like, as 0.3."""
    made = zoo.tiny(name, folder)
    config = json.loads((made / "config.json").read_text())
    known = config | AutoConfig.from_pretrained(made).to_dict()
    numbers = [key for key, value in known.items() if type(value) in (float, int)]
    named = {key for key in numbers for word in CHANCE if word in key}
    (made / "config.json").write_text(json.dumps(config | dict.fromkeys(named, 0.3)))
    return made


@pytest.mark.slow
@pytest.mark.parametrize(("name", "packing"), CASES)
def test_dpo_begins_at_log_2_and_ppo_at_ratio_1(name: str, packing: bool | None, tmp_path: Path) -> None:
    folder = dropping(name, tmp_path / "model")
    dpo = build(
        DPOTrainer, config_of(DPOConfig, folder, tmp_path / "dpo", max_steps=1, prefix_packing=packing), planted(4)
    )
    dpo.train()
    assert dpo.state.log_history[0]["loss"] == pytest.approx(math.log(2), abs=1e-4)
    if dpo.proof.path != "packed":  # as online methods need
        return
    kinds: list[tuple[Any, Any]] = [(GRPOConfig, GRPOTrainer)]  # its ratio is the same policy's as PPO's
    kinds += [(PPOConfig, PPOTrainer)] if name in DROPPING else []
    for kind, trainer_kind in kinds:
        settings: dict[str, Any] = {"max_new_tokens": 6, "samples_per_prompt": 2}
        config = online_config(kind, folder, tmp_path / kind.__name__, **settings)
        trainer = online_trainer(trainer_kind, config, reward=Planted(len_of))
        prompts = experience.siblings(samples_of(trainer))
        old, _, _ = experience.read(trainer.models, prompts, config, trainer.accelerator)
        trainer.models.train(True)
        new = trainer.models.policy(experience.batch(prompts, trainer.accelerator.device), 1.0)
        assert float((new.detach() - old).abs().max()) < 1e-5
        trainer.close()


@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSED)
def test_types_that_can_t_learn_so_are_refused(name: str, tmp_path: Path) -> None:
    folder = dropping(name, tmp_path / "model")
    with pytest.raises(InputError, match=REFUSED[name]):
        build(DPOTrainer, config_of(DPOConfig, folder, tmp_path / "dpo", max_steps=1), planted(4)).train()


def test_samples_cost_a_tenth_of_a_run_at_most() -> None:
    """As tokens, each as dear as `WRITTEN_COSTS` that are trained on: before and after, and none of a tiny run."""
    assert pytest.approx(0.1) == 2 * samples.SHARE
    for budget in range(0, 1200, 7):
        count, sampling = samples.affordable(budget)
        assert count * sampling.max_tokens <= budget and count <= samples.PROMPTS
    assert samples.affordable(19)[0] == 0 and samples.affordable(96)[0] == 1 and samples.affordable(10**6)[0] == 6


def test_dropout_that_is_asked_for_is_there(tmp_path: Path) -> None:
    folder = dropping("gpt2", tmp_path / "model")
    dpo = build(DPOTrainer, config_of(DPOConfig, folder, tmp_path / "dpo", max_steps=1, dropout=True), planted(4))
    dpo.train()
    assert abs(dpo.state.log_history[0]["loss"] - math.log(2)) > 1e-3


@pytest.mark.parametrize("lora", [None, LORA], ids=["whole", "adapted"])
def test_on_a_judge_s_scale_an_advantage_is_not_the_token_s_position(
    lora: dict[str, Any] | None, policy: Path, tmp_path: Path
) -> None:
    """Rewards of 6 and 8: values begin at their mean, so that half of the answers have advantages below 0."""

    def score(sample: Sample) -> float:
        return 6.0 if sum(sample.ids) % 2 else 8.0

    config = ppo_config(policy, tmp_path / "out", lora=lora, kl_coef=0.0, whiten=False, samples_per_prompt=8)
    trainer = ppo_trainer(config, reward=Planted(score))
    samples = samples_of(trainer)
    measured = trainer.measure(samples)
    values = torch.cat([group.tokens["values"] for group in measured.groups])
    gains = torch.cat([group.tokens["advantages"] for group in measured.groups])
    assert float(values.mean()) == pytest.approx(np.mean([score(sample) for sample in samples]), abs=1e-4)
    places = np.concatenate([np.arange(len(sample.ids)) for sample in samples])
    assert abs(np.corrcoef(gains.numpy(), places)[0, 1]) < 0.4
    assert 0.2 < float((gains > 0).float().mean()) < 0.8
    again = trainer.measure(samples)
    trainer.state.global_step = 1
    assert torch.allclose(torch.cat([group.tokens["values"] for group in again.groups]), values, atol=1e-5)
    trainer.close()


def test_the_kl_that_is_told_and_adapted_to_is_the_kl_whatever_is_penalised(policy: Path, tmp_path: Path) -> None:
    told = []
    for estimator in ("k1", "k2", "k3"):
        config = ppo_config(policy, tmp_path / estimator, kl_estimator=estimator, kl_target=2.0)
        trainer = ppo_trainer(config, reward=Planted(len_of))
        with torch.no_grad():
            generator = torch.Generator().manual_seed(0)
            for name, weight in sorted(trainer._weights.items()):
                if name.startswith("policy."):
                    weight.add_(0.01 * torch.randn(weight.shape, generator=generator))
        rows = trainer.measure(samples_of(trainer)).rows
        told.append([row["kl"] for row in rows])
        trainer.close()
    assert told[0] == told[1] == told[2] and max(map(abs, told[0])) > 0.01


@ALL
def test_norms_and_biases_don_t_decay(kind: str, policy: Path, scorer: Path, tmp_path: Path) -> None:
    trainer = trainer_of(kind, tmp_path, scorer if kind == "reward" else policy, weight_decay=0.1)
    decaying = set(trainer.get_decay_parameter_names(trainer.model))
    shapes = {name: weight.ndim for name, weight in trainer.model.named_parameters()}
    assert {name for name, ndim in shapes.items() if ndim > 1} <= decaying  # of tied weights it names both
    assert not decaying & {name for name, ndim in shapes.items() if ndim <= 1} and 1 in shapes.values()


def test_nor_do_those_of_online_methods(policy: Path, tmp_path: Path) -> None:
    trainer = ppo_trainer(ppo_config(policy, tmp_path / "out", weight_decay=0.1), reward=Planted(len_of))
    for group in trainer.optimizer.param_groups:
        assert {weight.ndim > 1 for weight in group["params"]} == {group["weight_decay"] > 0}
    trainer.close()
