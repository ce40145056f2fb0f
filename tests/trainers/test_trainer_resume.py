"""Runs that are killed, interrupted, finished, or stopped by a number that is none."""

import json
import math
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback, TrainerState
from transformers.trainer_utils import get_last_checkpoint

from base.errors import InputError
from tests import warm, zoo
from trainers import run
from trainers.batches.data import hold_out, read
from trainers.folder import checkpoint, metrics
from trainers.methods.reward import RewardConfig
from trainers.methods.sft import SFTConfig, SFTTrainer
from trainers.trainer import NotFinite

from .child import KINDS
from .small_runs import ALL, STEPS, TRAINERS, examples, run_settings, trainer_of
from .tiny import batch_of, build, config_of, farthest, model_of, weights


def start(kind: str, settings: dict[str, Any], folder: Path, **more: Any) -> int:
    """Run in another process, and return how it ended."""
    (file := folder / "child.json").write_text(json.dumps({"kind": kind, "settings": settings} | more))
    done = warm.run(["tests.trainers.child", str(file)], folder)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


def losses(out: Path) -> list[tuple[int, str, float]]:
    """What was logged of training and of evaluation, in order."""
    return [
        (row["step"], name, row[name]) for row in metrics.read(out) for name in ("loss", "eval_loss") if name in row
    ]


@pytest.mark.slow
@ALL
def test_a_killed_run_goes_on_to_the_very_same_weights(kind: str, policy: Path, tmp_path: Path) -> None:
    """Killed at the end of step 5, and again while the checkpoint of step 6 is written: exact, in float32."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    expected = run.train(KINDS[kind](**run_settings(kind, policy, whole, tmp_path)))
    settings = run_settings(kind, policy, killed, tmp_path)
    assert start(kind, settings, tmp_path, die_after=5) == -signal.SIGKILL
    assert Path(get_last_checkpoint(str(killed)) or "").name == "checkpoint-4"
    assert not (killed / "model.safetensors").exists()
    assert start(kind, settings, tmp_path, die_in_save=6) == -signal.SIGKILL
    assert (killed / ".saving" / "checkpoint-6").is_dir(), "it did die in the middle of saving"
    assert Path(get_last_checkpoint(str(killed)) or "").name == "checkpoint-4"
    resumed = run.train(KINDS[kind](**settings))
    assert (resumed.steps, resumed.figures) == (expected.steps, expected.figures) and resumed.steps == STEPS
    ours, theirs = load_file(killed / "model.safetensors"), load_file(whole / "model.safetensors")
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert losses(killed) == losses(whole)
    assert [step for step, name, _ in losses(killed) if name == "loss"] == list(range(1, STEPS + 1))
    assert not (killed / ".saving").exists()
    assert sorted(p.name for p in killed.glob("checkpoint-*")) == ["checkpoint-6", "checkpoint-8"]


class Interrupt(TrainerCallback):
    """Ctrl-C at the end of a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: TrainerState, control: Any, **others: Any) -> None:
        if state.global_step == self.step:
            raise KeyboardInterrupt


@pytest.mark.slow
@pytest.mark.parametrize("adapters", [False, True], ids=["whole", "adapters"])
def test_the_best_checkpoint_is_found_where_the_run_lies_now(
    adapters: bool, policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run may go on in a folder of another name: it still ends with the best weights, not with the last ones."""
    monkeypatch.setattr(SFTTrainer, "figures", lambda trainer, _: {"early": -trainer.state.global_step})
    best = {"load_best_model_at_end": True, "metric_for_best_model": "eval_early", "greater_is_better": True}
    best |= {"eval_steps": 1, "save_steps": 1, "lora": {"r": 2, "target_modules": ["q_proj"]} if adapters else None}
    whole, begun, moved = (tmp_path / name for name in ("whole", "begun", "moved"))
    run.train(SFTConfig(**(run_settings("sft", policy, whole, tmp_path) | best)))
    with pytest.raises(KeyboardInterrupt):
        run.train(SFTConfig(**(run_settings("sft", policy, begun, tmp_path) | best)), [Interrupt(6)])
    begun.rename(moved)
    run.train(SFTConfig(**(run_settings("sft", policy, moved, tmp_path) | best)))
    first = load_file(whole / "model.safetensors")
    assert farthest(load_file(moved / "model.safetensors"), first) == 0
    run.train(SFTConfig(**(run_settings("sft", policy, tmp_path / "last", tmp_path) | {"lora": best["lora"]})))
    assert farthest(load_file(tmp_path / "last" / "model.safetensors"), first) > 1e-5


def test_a_best_checkpoint_that_is_gone_is_told(last: Path) -> None:
    (last / "trainer_state.json").write_text('{"global_step": 4, "best_model_checkpoint": "/gone/checkpoint-2"}')
    checkpoint.place_best(last, needed=False)
    with pytest.raises(InputError, match="the best checkpoint so far is not here"):
        checkpoint.place_best(last, needed=True)
    (last.parent / "checkpoint-2").mkdir()
    checkpoint.place_best(last, needed=True)
    state = json.loads((last / "trainer_state.json").read_text())
    assert state == {"global_step": 4, "best_model_checkpoint": str(last.parent / "checkpoint-2")}


def test_a_checkpoint_without_some_of_the_weights_is_told(policy: Path, tmp_path: Path) -> None:
    """Shared weights are saved once; transformers leaves what is missing as the parent has it."""
    settings = run_settings("sft", policy, tmp_path / "out", tmp_path) | {"lr_scheduler_type": "constant"}
    with pytest.raises(KeyboardInterrupt):
        run.train(SFTConfig(**settings), [Interrupt(5)])
    file = tmp_path / "out" / "checkpoint-4" / "model.safetensors"
    kept = load_file(file)
    gone = next(name for name in kept if name.endswith("down_proj.weight"))
    save_file({name: weight for name, weight in kept.items() if name != gone}, file, metadata={"format": "pt"})
    with pytest.raises(InputError, match=rf"this checkpoint can't be read: it holds no {gone}"):
        run.train(SFTConfig(**settings))


@pytest.mark.slow
@pytest.mark.parametrize("best", [False, True], ids=["resumed", "best"])
@pytest.mark.parametrize("name", ["mixtral", "deepseek_v3"])
def test_experts_are_read_off_a_checkpoint(
    name: str, best: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are saved one by one and kept stacked: transformers' trainer would go on with the parent's, or the last."""
    monkeypatch.setattr(SFTTrainer, "figures", lambda trainer, _: {"early": -abs(trainer.state.global_step - 4)})
    model = zoo.tiny(name, tmp_path / "model")
    four: dict[str, Any] = {"max_steps": 4, "lr_scheduler_type": "constant"}
    at_best = {"load_best_model_at_end": True, "metric_for_best_model": "eval_early", "greater_is_better": True}
    settings = run_settings("sft", model, tmp_path / "broken", tmp_path) | four
    settings |= at_best | {"max_steps": 6} if best else {}
    if not best:
        with pytest.raises(KeyboardInterrupt):
            run.train(SFTConfig(**settings), [Interrupt(3)])
    run.train(SFTConfig(**settings))
    run.train(SFTConfig(**(run_settings("sft", model, tmp_path / "whole", tmp_path) | four)))
    broken, whole = (load_file(tmp_path / out / "model.safetensors") for out in ("broken", "whole"))
    assert farthest(broken, whole) == 0


ADAPTERS = {"r": 4, "target_modules": ["q_proj", "down_proj"], "lora_dropout": 0.3}


@pytest.mark.parametrize(
    "more",
    [
        {"lora": ADAPTERS},
        {"gradient_accumulation_steps": 2, "per_device_train_batch_size": 2},
        {"prefix_packing": False, "lr_scheduler_type": "cosine", "warmup_steps": 2},
    ],
    ids=["dropout of adapters", "accumulation", "padded, a schedule"],
)
def test_an_interrupted_run_goes_on_to_the_very_same_weights(
    more: dict[str, Any], policy: Path, tmp_path: Path
) -> None:
    """The state of everything that is random, of schedules, and of batches that are half taken is kept."""
    runs = []
    for out, interrupt in ((tmp_path / "whole", None), (tmp_path / "broken", Interrupt(5))):
        settings = run_settings("reward", policy, out, tmp_path) | {"eval_strategy": "no", "max_steps": 7} | more
        if interrupt:
            with pytest.raises(KeyboardInterrupt):
                run.train(RewardConfig(**settings), [interrupt])
        assert run.train(RewardConfig(**settings)).steps == 7
        runs.append((load_file(out / "model.safetensors"), losses(out)))
    (whole, told), (broken, told_too) = runs
    assert farthest(whole, broken) == 0
    assert told == told_too and len(told) == 7 + 1, "seven steps, and the held-out rows in the end"


@pytest.mark.parametrize("kind", ["sft", "reward"])
def test_adapters_are_merged_into_the_model_that_is_left(
    kind: str, policy: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Loaded without any adapter, it has the loss that the run ended with; and the adapter lies beside it."""
    settings = run_settings(kind, policy, tmp_path / "out", tmp_path) | {"max_steps": 4, "learning_rate": 0.01}
    trained = run.train(KINDS[kind](**(settings | {"lora": ADAPTERS})))
    assert (tmp_path / "out" / "adapter" / "adapter_model.safetensors").is_file()
    trainer, config = TRAINERS[kind]
    _, held_out = hold_out(read(settings["data"][0], trainer.wanted), settings["eval_share"])
    merged = build(trainer, config_of(config, tmp_path / "out", tmp_path / "again"), examples(kind), held_out.examples)
    assert merged.evaluate()["eval_loss"] == pytest.approx(trained.figures["eval_loss"], rel=1e-4)
    untouched = build(trainer, config_of(config, policy, tmp_path / "again"), examples(kind), held_out.examples)
    assert abs(untouched.evaluate()["eval_loss"] - trained.figures["eval_loss"]) > 1e-3
    assert "padded" not in caplog.text  # whatever adapters put around a head, rows are packed


@pytest.fixture
def last(tmp_path: Path) -> Path:
    """A checkpoint as transformers' trainer leaves one, of next to nothing."""
    (folder := tmp_path / "checkpoint-4").mkdir()
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        torch.save({"kept": torch.zeros(2)}, folder / name)
    save_file({"weight": torch.zeros(2)}, folder / "model.safetensors")
    (folder / "trainer_state.json").write_text('{"global_step": 4}')
    checkpoint.check(folder)
    return folder


FILES = ("optimizer.pt", "scheduler.pt", "rng_state.pth", "model.safetensors", "trainer_state.json")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kept", [None, 0, 0.5])
def test_a_checkpoint_that_is_not_whole_is_refused(name: str, kept: float | None, last: Path) -> None:
    """Without its optimiser or schedule, transformers would go on to other weights, and say nothing."""
    content = (last / name).read_bytes()
    (last / name).unlink()
    if kept is not None:
        (last / name).write_bytes(content[: int(kept * len(content))])
    with pytest.raises(InputError, match="this checkpoint can't be read") as told:
        checkpoint.check(last)
    assert (name if kept is not None else "there is no") in str(told.value)


def test_a_run_goes_on_from_no_checkpoint_that_is_not_whole(policy: Path, tmp_path: Path, last: Path) -> None:
    settings = run_settings("sft", policy, tmp_path / "out", tmp_path) | {"max_steps": 4}

    class Stopping(TrainerCallback):
        def on_step_end(self, *args: Any, **others: Any) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.train(SFTConfig(**settings), [Stopping()])
    (last / "optimizer.pt").unlink()
    last.rename(tmp_path / "out" / last.name)
    with pytest.raises(InputError, match=r"there is no optimizer"):
        run.train(SFTConfig(**settings))


@pytest.mark.slow
def test_the_figures_of_a_run_that_keeps_its_best_weights_are_those_weights_own(policy: Path, tmp_path: Path) -> None:
    """The loss falls, and the greatest is asked for: the weights are those of the first evaluation."""
    best = {"load_best_model_at_end": True, "metric_for_best_model": "loss", "greater_is_better": True}
    settings = run_settings("sft", policy, tmp_path / "out", tmp_path) | best
    done = run.train(SFTConfig(**settings))
    losses = [row["eval_loss"] for row in metrics.read(tmp_path / "out") if "eval_loss" in row]
    assert min(losses) < losses[0] - 0.01
    assert done.figures["eval_loss"] == pytest.approx(losses[0], abs=1e-5)


def test_a_finished_run_is_left_as_it_is(policy: Path, tmp_path: Path) -> None:
    settings = run_settings("sft", policy, tmp_path / "out", tmp_path) | {"max_steps": 2}
    assert run.train(SFTConfig(**settings)).new
    before = load_file(tmp_path / "out" / "model.safetensors")
    again = run.train(SFTConfig(**settings))
    assert (again.new, again.steps) == (False, 2)
    after = load_file(tmp_path / "out" / "model.safetensors")
    assert all(torch.equal(before[name], after[name]) for name in before)


class At(TrainerCallback):
    """Does something to the model at the beginning of a step."""

    def __init__(self, step: int, value: float, name: str) -> None:
        self.step, self.value, self.name = step, value, name

    def on_step_begin(self, args: Any, state: TrainerState, control: Any, **others: Any) -> None:
        if state.global_step == self.step - 1:
            dict(others["model"].named_parameters())[self.name].data[0] = self.value


@ALL
def test_a_loss_that_is_not_a_number_stops_the_run(kind: str, policy: Path, tmp_path: Path) -> None:
    """It names the rows of the batch; the last checkpoint is whole, and the same call goes on from it."""
    out = tmp_path / "out"
    settings = run_settings(kind, policy, out, tmp_path) | {"eval_strategy": "no"}
    with pytest.raises(NotFinite, match="not a number at step 4") as caught:
        run.train(KINDS[kind](**settings), [At(4, math.nan, "model.norm.weight")])
    assert 1 <= len(caught.value.where.split(", ")) <= 4
    assert all(place.startswith(f"{kind}.jsonl:") for place in caught.value.where.split(", "))
    assert Path(get_last_checkpoint(str(out)) or "").name == "checkpoint-2"
    assert all(w.isfinite().all() for w in load_file(out / "checkpoint-2" / "model.safetensors").values())
    assert run.train(KINDS[kind](**settings)).steps == STEPS
    assert all(w.isfinite().all() for w in load_file(out / "model.safetensors").values())


def test_only_the_rows_that_are_no_numbers_are_named(scorer: Path, tmp_path: Path) -> None:
    trainer = trainer_of("reward", tmp_path, scorer)
    with pytest.raises(NotFinite) as caught:
        trainer._stop(torch.tensor([1.0, math.inf, 2.0]), batch_of(trainer, 3))
    assert caught.value.where == "rows.jsonl:2"


def test_gradients_that_are_not_numbers_spoil_no_checkpoint(scorer: Path, tmp_path: Path) -> None:
    """A loss that is a number, whose gradient is none: the weights after this step would be lost."""

    class Spoilt(TrainerCallback):
        def on_pre_optimizer_step(self, args: Any, state: TrainerState, control: Any, **others: Any) -> None:
            pytest.fail("the step is about to be taken")

    trainer = trainer_of("reward", tmp_path, scorer)
    model_of(trainer).score.weight.register_hook(lambda gradient: gradient * math.inf)
    trainer.add_callback(Spoilt())
    before = weights(trainer.model)
    with pytest.raises(NotFinite, match="gradient"):
        trainer.train()
    assert farthest(weights(trainer.model), before) == 0
