"""What all trainers share: batches that may be split at will, evaluation, and reports."""

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Trainer

from trainers.methods.reward import RewardConfig, RewardTrainer
from trainers.trainer import TreeTrainer

from .small_runs import ALL, examples, one_step, row_of, trainer_of
from .tiny import build, config_of, farthest, planted, weighted, weights

# Methods of transformers' trainer that are none of its interface, and whose place ours take.
PRIVATE = (
    *("_determine_best_metric", "_get_grad_norm", "_get_num_items_in_batch", "_get_output_dir"),
    *("_prepare_context_parallel_inputs", "_prepare_inputs", "_save", "_save_checkpoint"),
    *("_set_signature_columns_if_needed", "_load_best_model", "_load_from_checkpoint", "_issue_warnings_after_load"),
)
SPLITS = [(4, 2), (2, 4), (3, 3), (1, 8)]


def test_transformers_still_calls_what_is_replaced_without_being_its_interface() -> None:
    """Under another name it would be called no more, and nothing would say so: losses, checks and folders of ours."""
    replaced = {name for name in vars(TreeTrainer) if name.startswith("_") and hasattr(Trainer, name)}
    assert {name for name in replaced if not name.endswith("__")} - {"_abc_impl"} == set(PRIVATE)
    source = inspect.getsource(Trainer)
    assert [name for name in PRIVATE if f"self.{name}(" not in source] == []


@pytest.mark.slow
@ALL
def test_loss_and_gradients_do_not_depend_on_how_a_step_is_split(
    kind: str, policy: Path, scorer: Path, tmp_path: Path
) -> None:
    """8 weighted examples as 1 x 8, 4 x 2, 2 x 4, 3 + 3 + 2 and 8 x 1, packed and padded, in the other order."""
    folder = scorer if kind == "reward" else policy
    loss, norm, after = one_step(kind, tmp_path, folder)
    assert norm > 0.05 and farthest(after, weights(trainer_of(kind, tmp_path, folder).model)) > 1e-3
    others: list[dict[str, Any]] = [
        {"per_device_train_batch_size": size, "gradient_accumulation_steps": steps} for size, steps in SPLITS
    ]
    others += [{"prefix_packing": False}, {"gradient_checkpointing": True}, {"given": examples(kind)[::-1], "seed": 1}]
    others += [{"prefix_packing": False, "per_device_train_batch_size": 3, "gradient_accumulation_steps": 3}]
    for number, settings in enumerate(others):
        stepped = one_step(kind, tmp_path / str(number), folder, **settings)
        assert stepped[0] == pytest.approx(loss, rel=1e-5), settings
        assert stepped[1] == pytest.approx(norm, rel=1e-4), settings
        assert farthest(stepped[2], after) < 1e-4, settings


@ALL
def test_adapters_learn_the_same_however_a_step_is_split(kind: str, policy: Path, scorer: Path, tmp_path: Path) -> None:
    folder = scorer if kind == "reward" else policy
    lora: dict[str, Any] = {
        "lora": {"r": 4, "target_modules": ["q_proj", "v_proj", "down_proj"], "init_lora_weights": "olora"}
    }  # which begins with both matrices at work
    loss, norm, after = one_step(kind, tmp_path, folder, **lora)
    before = weights(trainer_of(kind, tmp_path, folder, **lora).model)
    moved = {name for name in after if not torch.equal(after[name], before[name])}
    assert moved and all("lora_" in name or "score" in name for name in moved)
    stepped = one_step(
        kind,
        tmp_path / "b",
        folder,
        per_device_train_batch_size=2,
        gradient_accumulation_steps=4,
        gradient_checkpointing=True,
        **lora,
    )
    assert stepped[:2] == pytest.approx((loss, norm), rel=1e-4)
    assert farthest(stepped[2], after) < 1e-4


def test_a_weight_of_two_is_the_row_twice(scorer: Path, tmp_path: Path) -> None:
    [one, two] = planted(2)
    heavy = one_step("reward", tmp_path, scorer, [one, two.model_copy(update={"weight": 2.0})])
    twice = one_step("reward", tmp_path, scorer, [one, two, two])
    assert heavy[0] == pytest.approx(twice[0], rel=1e-5)
    assert farthest(heavy[2], twice[2]) < 1e-5


def test_evaluation_counts_each_example_once_in_any_batches(scorer: Path, tmp_path: Path) -> None:
    """Seven examples in batches of 16, 7, 3 and 1."""
    figures = []
    for size in (16, 7, 3, 1):
        config = config_of(RewardConfig, scorer, tmp_path, per_device_eval_batch_size=size)
        trainer = build(RewardTrainer, config, weighted(2), weighted(7))
        figures.append({k: v for k, v in trainer.evaluate().items() if k != "epoch"})
    for other in figures[1:]:
        assert other == pytest.approx(figures[0], rel=1e-4)


def test_what_is_learnt_does_not_depend_on_what_is_held_out_of_the_batch(scorer: Path, tmp_path: Path) -> None:
    """Evaluating in the middle of training changes no weight."""
    learnt = []
    for strategy in ("no", "steps"):
        config = config_of(
            RewardConfig, scorer, tmp_path, eval_strategy=strategy, eval_steps=1, per_device_train_batch_size=2
        )
        trainer = build(RewardTrainer, config, weighted(8), planted(3, first=50))
        trainer.train()
        learnt.append(weights(trainer.model))
    assert farthest(*learnt) == 0


def test_trl_style_rows_are_taken_as_they_are(scorer: Path, tmp_path: Path) -> None:
    """A list of rows in the place of data that was read."""
    config = config_of(RewardConfig, scorer, tmp_path)
    made = build(RewardTrainer, config, planted(1))
    rows = [row_of(example) for example in planted(3)]
    trainer = RewardTrainer(made.model, config, rows, made.processing_class)
    expected = [pair.answers for pair in planted(3)]
    assert [example.answers for example in trainer.examples.examples] == expected


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_reports_go_to_tensorboard(scorer: Path, tmp_path: Path) -> None:
    trainer = trainer_of("reward", tmp_path, scorer, report_to=["tensorboard"])
    trainer.train()
    events = [file for file in tmp_path.rglob("events.out.tfevents.*") if file.stat().st_size > 500]
    assert events
