"""Adapters that would learn nothing, or what nobody asked for, or could not be merged: told before a first step."""

import copy
import shutil
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig, AutoModelForSequenceClassification

from base.errors import InputError
from trainers import models, run
from trainers.folder.identity import IDENTITY
from trainers.methods.reward import RewardConfig
from trainers.methods.sft import SFTConfig

from .small_runs import run_settings
from .tiny import config_of, write_model

LORA: dict[str, Any] = {"r": 2, "target_modules": ["q_proj", "down_proj"]}


@pytest.mark.filterwarnings("ignore::UserWarning:peft")
@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"init_lora_weights": False}, "answers differently before it has learnt anything"),
        ({"target_modules": ["q_proj", "v_prjo"]}, "no module 'v_prjo', which target_modules names"),
        ({"modules_to_save": ["lm_haed"]}, "no module 'lm_haed', which modules_to_save names"),
        ({"layer_replication": [[0, 2], [0, 2]]}, "layer_replication, .* can't be merged"),
        ({"alora_invocation_tokens": [3]}, "alora_invocation_tokens, .* can't be merged"),
        ({"lora_bias": True}, "lora_bias, on layers that have no bias, can't be merged"),
        ({"inference_mode": True}, "nothing is learnt"),
        ({"lora_alpha": 0}, "nothing is learnt"),
        ({"task_type": "SEQ_CLS"}, "task_type is CAUSAL_LM here"),
        ({"init_lora_weights": "corda"}, "lora: .*corda"),
    ],
)
def test_adapters_that_lead_nowhere_are_refused_when_they_are_made(
    more: dict[str, Any], said: str, policy: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=said):
        models.policy(config_of(SFTConfig, policy, tmp_path / "out", lora=LORA | more))


@pytest.mark.filterwarnings("ignore::UserWarning:peft")
@pytest.mark.parametrize(
    "more",
    [
        {"task_type": "CAUSAL_LM"},
        {"exclude_modules": ["down_proj"]},
        {"target_modules": ["self_attn.q_proj"], "layers_to_transform": [1]},
        {"init_lora_weights": "pissa"},
        {"use_dora": True},
    ],
)
def test_adapters_that_begin_where_the_model_is_are_taken(more: dict[str, Any], policy: Path, tmp_path: Path) -> None:
    trained = models.policy(config_of(SFTConfig, policy, tmp_path / "out", lora=LORA | more)).model
    assert any(weight.requires_grad for weight in trained.parameters())


def test_a_run_s_settings_stay_as_they_were_given(policy: Path, tmp_path: Path) -> None:
    """PEFT adds heads to the list that it is given: the finished run would be another one to the same command."""
    given = run_settings("reward", policy, tmp_path / "out", tmp_path) | {
        "lora": LORA | {"modules_to_save": ["norm"]},
        "max_steps": 1,
    }
    assert run.train(RewardConfig(**copy.deepcopy(given))).new
    assert "classifier" not in (tmp_path / "out" / IDENTITY).read_text("utf-8")
    assert not run.train(RewardConfig(**copy.deepcopy(given))).new


@pytest.mark.parametrize("with_base", [False, True], ids=["alone", "beside a whole model"])
@pytest.mark.parametrize("kind", ["sft", "reward"])
def test_a_folder_of_adapters_is_no_model_to_train(
    kind: str, with_base: bool, policy: Path, scorer: Path, tmp_path: Path
) -> None:
    """Beside a whole model, transformers adds the adapters and freezes all weights; alone, it misses a model type."""
    config = RewardConfig if kind == "reward" else SFTConfig
    out = tmp_path / "out"
    trainee = models.policy(config_of(SFTConfig, policy, tmp_path / "made", lora=LORA))
    trainee.model.save_pretrained(str(out))
    if with_base:
        shutil.copytree(scorer if kind == "reward" else policy, out, dirs_exist_ok=True)
    settings = config_of(config, out, tmp_path / "again")
    with pytest.raises(InputError, match=rf"it holds adapters of {policy} \(adapter_config.json\)") as told:
        models.policy(settings) if kind == "sft" else models.reward_model(settings, 1)
    assert "merge" in str(told.value)


def test_a_classifier_of_other_labels_is_no_reward_model_to_train(tmp_path: Path) -> None:
    parent = write_model(tmp_path / "parent")
    config = AutoConfig.from_pretrained(parent, num_labels=2)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(parent)
    with pytest.raises(InputError, match="a classifier of 2 labels, and the reward model has 1 head"):
        models.reward_model(config_of(RewardConfig, parent, tmp_path / "out"), 1)
