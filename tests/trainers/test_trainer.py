"""What all trainers share: batches that may be split at will, runs that may be killed, and disks that are full."""

import errno
import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import PreTrainedModel, TrainerCallback, TrainerState
from transformers.trainer_utils import get_last_checkpoint

from constitution.errors import InputError
from trainers import metrics, run
from trainers.config import DPOConfig, RewardConfig, SFTConfig, TrainConfig
from trainers.data import hold_out, read
from trainers.dpo import DPOTrainer
from trainers.examples import Example
from trainers.identity import LINEAGE
from trainers.reward import RewardTrainer
from trainers.sft import SFTTrainer
from trainers.trainer import NotFinite, TreeTrainer

from .child import KINDS
from .tiny import (
    batch_of,
    build,
    config_of,
    demonstrations,
    farthest,
    model_of,
    planted,
    weighted,
    weights,
    write_model,
)

TRAINERS: dict[str, tuple[type[TreeTrainer], type[TrainConfig]]] = {
    "sft": (SFTTrainer, SFTConfig),
    "reward": (RewardTrainer, RewardConfig),
    "dpo": (DPOTrainer, DPOConfig),
}
ALL = pytest.mark.parametrize("kind", list(TRAINERS))


def examples(kind: str, count: int = 8) -> Sequence[Example]:
    return demonstrations(count) if kind == "sft" else weighted(count)


def trainer_of(
    kind: str, out: Path, folder: Path, given: Sequence[Example] | None = None, **settings: Any
) -> TreeTrainer:
    trainer, config = TRAINERS[kind]
    return build(trainer, config_of(config, folder, out, **settings), examples(kind) if given is None else given)


def one_step(
    kind: str, out: Path, folder: Path, given: Sequence[Example] | None = None, **settings: Any
) -> tuple[float, float, dict[str, torch.Tensor]]:
    """Loss, gradient norm, and weights after one plain step of length 1: less the gradient of the 8 examples' loss."""
    plain = {"optim": "sgd", "learning_rate": 1.0, "max_grad_norm": 1e9, "max_steps": 1}
    trainer = trainer_of(kind, out, folder, given, **(plain | settings))
    trainer.train()
    first = trainer.state.log_history[0]
    return first["loss"], first["grad_norm"], weights(trainer.model)


SPLITS = [(4, 2), (2, 4), (3, 3), (1, 8)]


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
        found = one_step(kind, tmp_path / str(number), folder, **settings)
        assert found[0] == pytest.approx(loss, rel=1e-5), settings
        assert found[1] == pytest.approx(norm, rel=1e-4), settings
        assert farthest(found[2], after) < 1e-4, settings


@ALL
def test_adapters_learn_the_same_however_a_step_is_split(kind: str, policy: Path, scorer: Path, tmp_path: Path) -> None:
    folder = scorer if kind == "reward" else policy
    lora: dict[str, Any] = {
        "lora": {"r": 4, "target_modules": ["q_proj", "v_proj", "down_proj"], "init_lora_weights": False}
    }
    loss, norm, after = one_step(kind, tmp_path, folder, **lora)
    before = weights(trainer_of(kind, tmp_path, folder, **lora).model)
    moved = {name for name in after if not torch.equal(after[name], before[name])}
    assert moved and all("lora_" in name or "score" in name for name in moved)
    found = one_step(
        kind,
        tmp_path / "b",
        folder,
        per_device_train_batch_size=2,
        gradient_accumulation_steps=4,
        gradient_checkpointing=True,
        **lora,
    )
    assert found[:2] == pytest.approx((loss, norm), rel=1e-4)
    assert farthest(found[2], after) < 1e-4


def test_a_weight_of_two_is_the_row_twice(scorer: Path, tmp_path: Path) -> None:
    [one, two] = planted(2)
    heavy = one_step("reward", tmp_path, scorer, [one, two.model_copy(update={"weight": 2.0})])
    twice = one_step("reward", tmp_path, scorer, [one, two, two])
    assert heavy[0] == pytest.approx(twice[0], rel=1e-5)
    assert farthest(heavy[2], twice[2]) < 1e-5


# Runs that end before their time.

STEPS, SAVED = 8, 2


def run_settings(kind: str, folder: Path, out: Path, files: Path) -> dict[str, Any]:
    """Settings of a run of 8 steps in 2 epochs, saved at every second one."""
    rows = files / f"{kind}.jsonl"
    if not rows.exists():
        lines = [_row(example) for example in examples(kind, 16)]
        rows.write_text("".join(json.dumps(line) + "\n" for line in lines))
    config: TrainConfig = config_of(KINDS[kind], folder, out)
    kept = ("model", "output_dir", "max_length", "use_cpu", "bf16", "learning_rate", "report_to", "disable_tqdm")
    return {name: getattr(config, name) for name in kept} | {
        "data": [str(rows)],
        "max_steps": STEPS,
        "per_device_train_batch_size": 4,
        "save_steps": SAVED,
        "logging_steps": 1,
        "eval_share": 0.2,
        "eval_strategy": "steps",
        "eval_steps": 2,
    }


def _row(example: Any) -> dict[str, Any]:
    row: dict[str, Any] = example.model_dump(exclude={"where"}, exclude_none=True, mode="json")
    asked = [{"role": m.role, "content": m.content} for m in example.prompt.messages]
    return {"completion" if name == "answer" else name: value for name, value in row.items()} | {"prompt": asked}


def start(kind: str, settings: dict[str, Any], folder: Path, **more: Any) -> int:
    """Run in another process, and return how it ended."""
    (file := folder / "child.json").write_text(json.dumps({"kind": kind, "settings": settings} | more))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    command = [sys.executable, "-m", "tests.trainers.child", str(file)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
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
    found = run.train(KINDS[kind](**settings))
    assert (found.steps, found.figures) == (expected.steps, expected.figures) and found.steps == STEPS
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
    found = []
    for out, interrupt in ((tmp_path / "whole", None), (tmp_path / "broken", Interrupt(5))):
        settings = run_settings("reward", policy, out, tmp_path) | {"eval_strategy": "no", "max_steps": 7} | more
        if interrupt:
            with pytest.raises(KeyboardInterrupt):
                run.train(RewardConfig(**settings), [interrupt])
        assert run.train(RewardConfig(**settings)).steps == 7
        found.append((load_file(out / "model.safetensors"), losses(out)))
    (whole, told), (broken, told_too) = found
    assert farthest(whole, broken) == 0
    assert told == told_too and len(told) == 7 + 1, "seven steps, and the held-out rows in the end"


@pytest.mark.parametrize("kind", ["sft", "reward"])
def test_adapters_are_merged_into_the_model_that_is_left(kind: str, policy: Path, tmp_path: Path) -> None:
    """Loaded without any adapter, it has the loss that the run ended with; and the adapter lies beside it."""
    settings = run_settings(kind, policy, tmp_path / "out", tmp_path) | {"max_steps": 4, "learning_rate": 0.01}
    found = run.train(KINDS[kind](**(settings | {"lora": ADAPTERS})))
    assert (tmp_path / "out" / "adapter" / "adapter_model.safetensors").is_file()
    trainer, config = TRAINERS[kind]
    _, held_out = hold_out(read(settings["data"][0], trainer.wanted), settings["eval_share"])
    merged = build(trainer, config_of(config, tmp_path / "out", tmp_path / "again"), examples(kind), held_out.examples)
    assert merged.evaluate()["eval_loss"] == pytest.approx(found.figures["eval_loss"], rel=1e-4)
    untouched = build(trainer, config_of(config, policy, tmp_path / "again"), examples(kind), held_out.examples)
    assert abs(untouched.evaluate()["eval_loss"] - found.figures["eval_loss"]) > 1e-3


def test_a_finished_run_is_left_as_it_is(policy: Path, tmp_path: Path) -> None:
    settings = run_settings("sft", policy, tmp_path / "out", tmp_path) | {"max_steps": 2}
    assert run.train(SFTConfig(**settings)).new
    before = load_file(tmp_path / "out" / "model.safetensors")
    again = run.train(SFTConfig(**settings))
    assert (again.new, again.steps) == (False, 2)
    after = load_file(tmp_path / "out" / "model.safetensors")
    assert all(torch.equal(before[name], after[name]) for name in before)


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


# A disk that is full when the second checkpoint is saved.

FULL = OSError(errno.ENOSPC, "No space left on device")


def _fail(
    monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, error: Exception, calls: int, when: Any = lambda *_: True
) -> None:
    """Let ``owner.name`` fail from its ``calls``-th call on, of those that ``when`` counts."""
    original, seen = getattr(owner, name), []

    def failing(*args: Any, **named: Any) -> Any:
        if when(*args):
            seen.append(name)
            if len(seen) >= calls:
                raise error
        return original(*args, **named)

    monkeypatch.setattr(owner, name, failing)


WRITES = {
    "weights": (PreTrainedModel, "save_pretrained", SafetensorError("I/O error: No space left on device"), 2),
    "reward.json": (Path, "write_text", FULL, 2),
    "arguments": (torch, "save", FULL, 5),
    "optimizer": (torch, "save", RuntimeError("PytorchStreamWriter failed writing file: file write failed"), 6),
    "scheduler": (torch, "save", FULL, 7),
    "random state": (torch, "save", FULL, 8),
    "state": (TrainerState, "save_to_json", FULL, 2),
    "rename": (Path, "rename", FULL, 2),
}


@pytest.mark.parametrize("write", list(WRITES))
def test_a_full_disk_leaves_the_last_checkpoint_whole(
    write: str, scorer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is being written of the second one. With room again, the same call goes on from the first."""
    owner, name, error, calls = WRITES[write]
    out = tmp_path / "out"
    settings = run_settings("reward", scorer, out, tmp_path) | {"eval_strategy": "no", "max_steps": 4}
    with monkeypatch.context() as full:
        mine = (lambda path, *_: str(path).endswith("reward.json")) if write == "reward.json" else lambda *_: True
        _fail(full, owner, name, error, calls, mine)
        with pytest.raises(InputError, match=r"checkpoint of step 4 could not be saved: .*") as caught:
            run.train(RewardConfig(**settings))
    assert "make room" in (caught.value.fix or "")
    assert [p.name for p in out.glob("checkpoint-*")] == ["checkpoint-2"] and not (out / ".saving").exists()
    assert run.train(RewardConfig(**settings)).steps == 4 and (out / "checkpoint-4").is_dir()


def test_a_disk_that_is_full_at_the_end_leaves_no_half_model(
    policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The finished model could not be written: the checkpoints are whole, and the same call writes it later."""
    out = tmp_path / "out"
    settings = run_settings("sft", policy, out, tmp_path) | {"max_steps": 2}
    with monkeypatch.context() as full:
        _fail(full, PreTrainedModel, "save_pretrained", WRITES["weights"][2], 2)
        with pytest.raises(InputError, match=r"could not be saved.*No space left"):
            run.train(SFTConfig(**settings))
    assert (out / "checkpoint-2" / "model.safetensors").is_file() and not (out / LINEAGE).exists()
    run.train(SFTConfig(**settings))
    assert (out / "model.safetensors").is_file() and (out / LINEAGE).is_file()


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    """A disk with room for one checkpoint, and not for two."""
    (mount := tmp_path / "disk").mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1600k", "tmpfs", str(mount)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("no file system can be mounted here: that needs root")
    yield mount
    subprocess.run(["umount", "--lazy", str(mount)], check=True)


def test_a_disk_that_is_really_full(small_disk: Path, policy: Path, tmp_path: Path) -> None:
    out = small_disk / "out"
    settings = run_settings("sft", policy, out, tmp_path) | {"eval_strategy": "no"}
    with pytest.raises(InputError, match="checkpoint of step 4 could not be saved") as caught:
        run.train(SFTConfig(**settings))
    assert caught.value.where == str(out)
    assert Path(get_last_checkpoint(str(out)) or "").name == "checkpoint-2"
    subprocess.run(["mount", "-o", "remount,size=32m", str(small_disk)], check=True)
    assert run.train(SFTConfig(**settings)).steps == STEPS


# Models and tokenizers that lack something.


def without(folder: Path, out: Path, **changes: Any) -> Path:
    """A copy of a model's folder with entries of its tokenizer and configuration changed; None removes one."""
    out.mkdir()
    for file in folder.iterdir():
        (out / file.name).write_bytes(file.read_bytes())
    for name in ("tokenizer_config.json", "config.json"):
        found = json.loads((out / name).read_text())
        found = {key: changes.get(key, value) for key, value in found.items()}
        (out / name).write_text(json.dumps({key: value for key, value in found.items() if value is not None}))
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
    found, _, _ = one_step(kind, tmp_path / "b", bare, prefix_packing=packing)
    assert found == pytest.approx(loss, rel=1e-6)


def test_a_reward_model_of_other_groups_is_refused(tmp_path: Path) -> None:
    """Its heads are as many, and have other names: what the north's head learnt is not the east's."""
    parent = write_model(tmp_path / "parent", ("north", "south"))
    settings = run_settings("reward", parent, tmp_path / "out", tmp_path) | {"heads": "groups", "max_steps": 1}
    rows = [_row(pair.model_copy(update={"group": ("east", "west")[i % 2]})) for i, pair in enumerate(weighted(16))]
    (tmp_path / "reward.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(InputError, match=r"heads.*north, south.*east, west"):
        run.train(RewardConfig(**settings))


def test_a_reward_model_of_another_number_of_heads_is_refused(scorer: Path, tmp_path: Path) -> None:
    settings = run_settings("reward", scorer, tmp_path / "out", tmp_path) | {"heads": "groups", "max_steps": 1}
    rows = [_row(pair.model_copy(update={"group": ("east", "west")[i % 2]})) for i, pair in enumerate(weighted(16))]
    (tmp_path / "reward.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(InputError, match="heads"):
        run.train(RewardConfig(**settings))


def test_rows_that_are_too_long_are_named_and_the_others_learnt(policy: Path, tmp_path: Path) -> None:
    long = demonstrations(1)[0].model_copy(update={"answer": "a " * 200})
    trainer = trainer_of("sft", tmp_path, policy, [*demonstrations(3), long])
    assert len(trainer.examples) == 3
    [refused] = trainer.examples.refused
    assert (refused.where, refused.reason) == ("rows.jsonl:4", "too_long")
    with pytest.raises(InputError, match=r"all 1 rows were refused.*max_length is 256"):
        trainer_of("sft", tmp_path, policy, [long])


def test_nothing_to_evaluate_on_is_told(policy: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to evaluate on"):
        trainer_of("sft", tmp_path, policy).evaluate()


def test_evaluation_counts_each_example_once_in_any_batches(scorer: Path, tmp_path: Path) -> None:
    """Seven examples in batches of 16, 7, 3 and 1."""
    found = []
    for size in (16, 7, 3, 1):
        config = config_of(RewardConfig, scorer, tmp_path, per_device_eval_batch_size=size)
        trainer = build(RewardTrainer, config, weighted(2), weighted(7))
        found.append({k: v for k, v in trainer.evaluate().items() if k != "epoch"})
    for other in found[1:]:
        assert other == pytest.approx(found[0], rel=1e-4)


def test_trl_style_rows_are_taken_as_they_are(scorer: Path, tmp_path: Path) -> None:
    """A list of rows in the place of data that was read."""
    config = config_of(RewardConfig, scorer, tmp_path)
    made = build(RewardTrainer, config, planted(1))
    rows = [_row(example) for example in planted(3)]
    trainer = RewardTrainer(made.model, config, rows, made.processing_class)
    assert [example.answers for example in trainer.examples.examples] == [pair.answers for pair in planted(3)]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_reports_go_to_tensorboard(scorer: Path, tmp_path: Path) -> None:
    trainer = trainer_of("reward", tmp_path, scorer, report_to=["tensorboard"])
    trainer.train()
    events = [file for file in tmp_path.rglob("events.out.tfevents.*") if file.stat().st_size > 500]
    assert events


def test_what_is_learnt_does_not_depend_on_what_is_held_out_of_the_batch(scorer: Path, tmp_path: Path) -> None:
    """Evaluating in the middle of training changes no weight."""
    found = []
    for strategy in ("no", "steps"):
        config = config_of(
            RewardConfig, scorer, tmp_path, eval_strategy=strategy, eval_steps=1, per_device_train_batch_size=2
        )
        trainer = build(RewardTrainer, config, weighted(8), planted(3, first=50))
        trainer.train()
        found.append(weights(trainer.model))
    assert farthest(*found) == 0
