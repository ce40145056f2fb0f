"""Models, tokenizers, rows and folders that lack something or belong to another run."""

import json
from pathlib import Path
from typing import Any

import pytest

from base.errors import InputError
from trainers import run
from trainers.config import TrainConfig
from trainers.methods.dpo import DPOConfig
from trainers.methods.grpo import GRPOConfig
from trainers.methods.reward import RewardConfig
from trainers.methods.sft import SFTConfig, SFTTrainer

from .small_runs import one_step, row_of, run_settings, trainer_of
from .tiny import build, config_of, demonstrations, weighted, write_model


def without(folder: Path, out: Path, **changes: Any) -> Path:
    """A copy of a model's folder with entries of its tokenizer and configuration changed; None removes one."""
    out.mkdir()
    for file in folder.iterdir():
        (out / file.name).write_bytes(file.read_bytes())
    for name in ("tokenizer_config.json", "config.json"):
        settings = json.loads((out / name).read_text())
        settings = {key: changes.get(key, value) for key, value in settings.items()}
        (out / name).write_text(json.dumps({key: value for key, value in settings.items() if value is not None}))
    return out


def test_a_tokenizer_without_chat_template_is_refused(policy: Path, tmp_path: Path) -> None:
    folder = without(policy, tmp_path / "model", chat_template=None)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    with pytest.raises(InputError, match="no chat template"):
        trainer_of("sft", tmp_path / "out", folder)


@pytest.mark.parametrize("kind", ["sft", "reward", "dpo"])
@pytest.mark.parametrize("packing", [True, False])
def test_no_padding_token_is_needed(kind: str, packing: bool, policy: Path, scorer: Path, tmp_path: Path) -> None:
    """The same loss as with one: nothing reads what fills a row up."""
    folder = scorer if kind == "reward" else policy
    loss, _, _ = one_step(kind, tmp_path / "a", folder, prefix_packing=packing)
    bare = without(folder, tmp_path / "model", pad_token=None, pad_token_id=None)
    unpadded, _, _ = one_step(kind, tmp_path / "b", bare, prefix_packing=packing)
    assert unpadded == pytest.approx(loss, rel=1e-6)


def test_a_reward_model_of_other_groups_is_refused(tmp_path: Path) -> None:
    """Its heads are as many, and have other names: what the north's head learnt is not the east's."""
    parent = write_model(tmp_path / "parent", ("north", "south"))
    settings = run_settings("reward", parent, tmp_path / "out", tmp_path) | {"heads": "groups", "max_steps": 1}
    rows = [row_of(pair.model_copy(update={"group": ("east", "west")[i % 2]})) for i, pair in enumerate(weighted(16))]
    (tmp_path / "reward.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(InputError, match=r"heads.*north, south.*east, west"):
        run.train(RewardConfig(**settings))


def test_a_reward_model_of_another_number_of_heads_is_refused(scorer: Path, tmp_path: Path) -> None:
    settings = run_settings("reward", scorer, tmp_path / "out", tmp_path) | {"heads": "groups", "max_steps": 1}
    rows = [row_of(pair.model_copy(update={"group": ("east", "west")[i % 2]})) for i, pair in enumerate(weighted(16))]
    (tmp_path / "reward.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(InputError, match="heads"):
        run.train(RewardConfig(**settings))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"learning_rate": 0.5}, "learning_rate was 0.001, is 0.5"),
        ({"max_length": 200}, "max_length was 256, is 200"),
        ({"lora": {"r": 2}}, "lora was None"),
        ({"seed": 1}, "seed was 42, is 1"),
        ({"data": "other"}, "data was"),
        ({"model": "other"}, "model was"),
    ],
)
def test_a_folder_of_another_run_is_refused_and_the_difference_named(
    change: dict[str, Any], named: str, policy: Path, tmp_path: Path
) -> None:
    settings = run_settings("sft", policy, tmp_path / "out", tmp_path) | {"max_steps": 1, "save_strategy": "no"}
    run.train(SFTConfig(**settings))
    if change.get("data"):
        (tmp_path / "other.jsonl").write_text((tmp_path / "sft.jsonl").read_text().replace("gladly", "glumly"))
        change = {"data": [str(tmp_path / "other.jsonl")]}
    if change.get("model"):
        change = {"model": str(write_model(tmp_path / "other", hidden_size=32))}
    with pytest.raises(InputError, match="it holds another run") as caught:
        run.train(SFTConfig(**(settings | change)))
    assert named in caught.value.problem
    with pytest.raises(InputError, match="trainer was 'sft', is 'dpo'"):
        run.train(DPOConfig(**(run_settings("dpo", policy, tmp_path / "out", tmp_path) | {"max_steps": 1})))


def test_rows_that_are_too_long_are_named_and_the_others_learnt(policy: Path, tmp_path: Path) -> None:
    long = demonstrations(1)[0].model_copy(update={"answer": "a " * 200})
    trainer = trainer_of("sft", tmp_path, policy, [*demonstrations(3), long])
    assert len(trainer.examples) == 3
    [refused] = trainer.examples.refused
    assert (refused.where, refused.reason) == ("rows.jsonl:4", "too_long")
    with pytest.raises(InputError, match=r"all 1 rows were refused.*max_length is 256"):
        trainer_of("sft", tmp_path, policy, [long])


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"label_smoothing_factor": 0.1}, "label_smoothing_factor has no place"),
        ({"save_only_model": True}, "save_only_model has no place"),
        ({"average_tokens_across_devices": False}, "average_tokens_across_devices has no place"),
        ({"train_sampling_strategy": "group_by_length"}, "expected random or sequential"),
        ({"fp16": True}, "fp16 is for GPUs"),
        ({"max_steps": 0}, "max_steps is 0"),
        ({"max_steps": -5}, "max_steps is -5"),
        ({"lr_scheduler_type": "constant", "warmup_steps": 5}, "expected constant_with_warmup"),
        ({"lr_scheduler_type": "constant", "lr_scheduler_kwargs": {"walnut": 3}}, "no place beside constant"),
        ({"neftune_noise_alpha": 5.0}, "neftune_noise_alpha has no place"),
        ({"use_liger_kernel": True}, "use_liger_kernel has no place"),
        ({"ignore_data_skip": True}, "ignore_data_skip has no place"),
        ({"accelerator_config": {"dispatch_batches": True}}, "accelerator_config: dispatch_batches has no place"),
        ({"accelerator_config": {"split_batches": True}}, "accelerator_config: split_batches has no place"),
        ({"accelerator_config": {"even_batches": False}}, "accelerator_config: even_batches has no place"),
        ({"learning_rate": -1.0}, "learning_rate is -1.0"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1"),
        ({"per_device_train_batch_size": 0}, "per_device_train_batch_size is 0"),
        ({"gradient_accumulation_steps": 0}, "gradient_accumulation_steps is 0"),
    ],
)
def test_settings_of_transformers_that_make_no_sense_here_are_refused(
    setting: dict[str, Any], said: str, policy: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=said):
        config_of(SFTConfig, policy, tmp_path, **setting)


@pytest.mark.parametrize("kind", [SFTConfig, GRPOConfig])
@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"push_to_hub": True}, "push_to_hub .* --push-to-hub OWNER/NAME"),
        ({"push_to_hub": True, "hub_model_id": "me/rivers"}, "push_to_hub .* --push-to-hub me/rivers"),
        ({"hub_model_id": "me/rivers"}, "hub_model_id .* --push-to-hub me/rivers"),
        ({"hub_strategy": "end"}, "hub_strategy .* --push-to-hub"),
        ({"hub_always_push": True}, "hub_always_push .* --push-to-hub"),
        ({"hub_revision": "v1"}, "hub_revision .* --push-to-hub"),
        ({"hub_token": "hf_pretended"}, "hub_token .* its token is read from HF_TOKEN"),
    ],
)
def test_a_model_is_sent_to_the_hub_by_the_option_alone(
    kind: type[TrainConfig], setting: dict[str, Any], said: str, policy: Path, tmp_path: Path
) -> None:
    """Transformers sends checkpoints, and a hub that can't be reached ends the run: before its first step, or after
    its last."""
    online = {"reward": "verify:max-words=3", "num_train_epochs": 3.0} if kind is GRPOConfig else {}
    with pytest.raises(ValueError, match=said) as caught:
        config_of(kind, policy, tmp_path, **online, **setting)
    assert "hf_pretended" not in str(caught.value)


@pytest.mark.parametrize("kind", [SFTConfig, GRPOConfig])
def test_a_tracker_that_can_not_be_reported_to_is_told_with_the_settings(
    kind: type[TrainConfig], policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    online = {"reward": "verify:max-words=3", "num_train_epochs": 3.0} if kind is GRPOConfig else {}
    with pytest.raises(ValueError, match="walnut is not supported"):
        config_of(kind, policy, tmp_path, **online, report_to="walnut")
    monkeypatch.setattr("transformers.integrations.integration_utils.is_wandb_available", lambda: False)
    with pytest.raises(ValueError, match=r"report_to names .*wandb to be installed"):
        config_of(kind, policy, tmp_path, **online, report_to=["wandb"])


@pytest.mark.parametrize(
    ("setting", "held_out", "said"),
    [
        ({"eval_strategy": "steps"}, 0, "there is nothing to evaluate on"),
        ({"load_best_model_at_end": True}, 4, "no evaluations to tell it by"),
        ({"save_strategy": "best", "metric_for_best_model": "loss"}, 4, "no evaluations to tell it by"),
        ({"eval_strategy": "epoch", "metric_for_best_model": "accuracy", "save_strategy": "best"}, 4, "eval_loss"),
    ],
)
def test_a_best_checkpoint_that_can_t_be_told_is_refused(
    setting: dict[str, Any], held_out: int, said: str, policy: Path, tmp_path: Path
) -> None:
    config = config_of(SFTConfig, policy, tmp_path, **setting)
    with pytest.raises(InputError, match=said):
        build(SFTTrainer, config, demonstrations(4), demonstrations(held_out) if held_out else None).train()


def test_an_optimiser_that_is_not_installed_is_told(policy: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="galore_torch"):
        trainer_of("sft", tmp_path, policy, optim="galore_adamw", optim_target_modules=["q_proj"]).train()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"lr_scheduler_type": "warmup_stable_decay"}, "num_decay_steps"),
        ({"lr_scheduler_type": "cosine_with_min_lr"}, "min_lr"),
        ({"lr_scheduler_type": "cosine", "lr_scheduler_kwargs": {"walnut": 3}}, "walnut"),
        ({"dataloader_drop_last": True, "per_device_train_batch_size": 9}, "8 examples fill no batch of 9"),
    ],
)
def test_a_schedule_that_lacks_a_setting_and_batches_that_there_are_none_of_are_told(
    settings: dict[str, Any], said: str, policy: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=said):
        trainer_of("sft", tmp_path, policy, **settings).train()


def test_nothing_to_evaluate_on_is_told(policy: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to evaluate on"):
        trainer_of("sft", tmp_path, policy).evaluate()
