"""QLoRA: a base in four bits learns adapters by every kind of method, and what is finished is what was trained."""

import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from base import extras
from base.errors import InputError
from tests.conftest import unavailable
from trainers import models, quantized
from trainers.config import TrainConfig
from trainers.folder import metrics
from trainers.methods.dpo import DPOConfig, DPOTrainer
from trainers.methods.grpo import GRPOConfig, GRPOTrainer
from trainers.methods.reward import RewardConfig, RewardTrainer
from trainers.planning.dry_run import dry_run
from trainers.planning.records import NF4, NOTHING, StepWork
from trainers.planning.settings import Device
from trainers.planning.shapes import WeightlessModel
from trainers.run import train

from .online_tiny import LORA, Planted, len_of, online_config, online_trainer, samples_of
from .small_runs import run_settings
from .tiny import build, config_of, planted, write_model

BITS: dict[str, Any] = {"lora": LORA, "quantize": "nf4"}


@pytest.fixture
def bits() -> None:
    if find_spec("bitsandbytes") is None:
        unavailable("bitsandbytes is not installed, which keeps a base in four bits")


def config(folder: Path, out: Path, **settings: Any) -> DPOConfig:
    return config_of(DPOConfig, folder, out, **(BITS | settings))


def test_without_bitsandbytes_it_is_refused_by_the_extra_s_name(
    policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "bitsandbytes" else object())
    with pytest.raises(InputError, match="bitsandbytes, which is not installed") as told:
        models.policy(config(policy, tmp_path / "out"))
    assert "cai-feedback[qlora]" in str(told.value)


def test_it_needs_adapters_and_no_sharing(policy: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing would be learnt; give lora"):
        config(policy, tmp_path / "out", lora=None)
    with pytest.raises(ValueError, match="quantize is 'int3'"):
        config(policy, tmp_path / "out", quantize="int3")
    eight = Device(10**12, 8, sharded=True)
    with pytest.raises(InputError, match="can't be shared out"):
        dry_run("sft", config(policy, tmp_path / "out"), NOTHING, one_token, eight)


def one_token(config: object, processes: int) -> StepWork:
    return StepWork(examples=1, answers=1, prompt=1, answer=1)


@pytest.mark.filterwarnings("ignore:.*lora_bias=True.*")
@pytest.mark.parametrize("more", [{"use_dora": True}, {"trainable_token_indices": [1]}, {"lora_bias": True}])
def test_adapters_that_are_more_than_a_sum_are_refused(
    more: dict[str, Any], bits: None, policy: Path, tmp_path: Path
) -> None:
    """What is finished is the dequantised base with two matrices' product added: the rest would be lost."""
    with pytest.raises(InputError, match=f"{next(iter(more))}, with quantize, can't be merged"):
        models.policy(config(policy, tmp_path / "out", lora=LORA | more))


def test_the_plan_counts_linear_layers_by_four_bits_and_a_little(policy: Path, tmp_path: Path) -> None:
    """Two layers of 64 x 64 (q, o), 64 x 32 (k, v) and three of 64 x 96; the rest stays as it is."""
    shape = WeightlessModel(str(policy)).shape
    linear = 2 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 96)
    assert shape.linear == linear
    whole, packed = (
        dry_run("sft", config(policy, tmp_path / "out", quantize=kind), NOTHING, one_token, Device(10**12), 10**12)
        for kind in (None, "nf4")
    )
    saved = whole.plan.always["weights"] - packed.plan.always["weights"]
    assert saved == pytest.approx((4 - NF4) * linear, abs=1) and pytest.approx(0.516, abs=1e-3) == NF4


def finished(parent: Path, folder: Path, adapter: Path) -> float:
    """How far a folder's weights are from those of the dequantised parent with the adapter merged by PEFT."""
    base = AutoModelForCausalLM.from_pretrained(
        parent, dtype=torch.float32, quantization_config=quantized.how(), device_map={"": "cpu"}
    )
    base = base.dequantize(dtype=torch.float32)
    merged: Any = PeftModel.from_pretrained(base, str(adapter))
    wanted = dict(merged.merge_and_unload().named_parameters())
    weights = dict(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).named_parameters())
    assert weights.keys() == wanted.keys()
    return max(float((weights[name] - wanted[name]).detach().abs().max()) for name in weights)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of bitsandbytes and transformers
@pytest.mark.parametrize("method", ["dpo", "grpo"])
def test_a_run_ends_with_the_dequantised_base_and_its_adapters(
    method: str, bits: None, policy: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    if method == "dpo":
        done = train(DPOConfig(**(run_settings("dpo", policy, out, tmp_path) | BITS | {"max_steps": 2})))
    else:
        own: dict[str, Any] = {"max_steps": 2, "max_new_tokens": 6, "rule": "grpo", "reward": "verify:contains=e"}
        done = train(online_config(GRPOConfig, policy, out, **(own | BITS)))
    [adapter] = (done.folder / "adapter").rglob("adapter_model.safetensors")
    assert done.steps == 2 and finished(policy, done.folder, adapter.parent) < 1e-5
    drifts = [row["drift"] for row in metrics.read(done.folder) if "drift" in row]
    assert len(drifts) == 2 * (method == "grpo") and max(drifts, default=0.0) < 1e-3


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_the_policy_that_writes_has_the_adapters_on_the_same_base(bits: None, policy: Path, tmp_path: Path) -> None:
    config = online_config(GRPOConfig, policy, tmp_path / "out", rule="grpo", **BITS)
    trainer = online_trainer(GRPOTrainer, config, reward=Planted(len_of))
    with torch.no_grad():
        for weight in trainer._weights.values():
            weight.add_(0.05)
    [group, *_] = trainer.measure(samples_of(trainer)).groups
    drawn = torch.tensor([logprob for sample in group.samples for logprob in sample.logprobs])
    assert torch.allclose(group.tokens["old"], drawn, atol=1e-3)
    trainer.close()


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_dpo_begins_at_log_2_and_a_reward_model_keeps_its_head(bits: None, policy: Path, tmp_path: Path) -> None:
    dpo = build(DPOTrainer, config(policy, tmp_path / "dpo", max_steps=2), planted(8))
    dpo.train()
    assert dpo.state.log_history[0]["loss"] == pytest.approx(math.log(2), abs=1e-4) and dpo.proof.path == "packed"
    inner = dpo.model.get_base_model()
    assert quantized.is_quantized(inner) and type(inner.lm_head).__name__ == "Linear"
    parent = write_model(tmp_path / "parent", ("reward",))
    settings: TrainConfig = config_of(RewardConfig, parent, tmp_path / "reward", max_steps=2, **BITS)
    reward = build(RewardTrainer, settings, planted(8))
    reward.train()
    row = reward.short
    before = reward.short_values()
    plain = quantized.merged(reward.model, ["default"])
    reward.model = plain
    assert row and torch.allclose(reward.short_values(), before, atol=1e-4) and not quantized.is_quantized(plain)
