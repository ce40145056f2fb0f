"""Models, tokenizers, rows and folders that lack something or belong to another run."""

import json
from pathlib import Path
from typing import Any

import pytest

from base.errors import InputError
from trainers import run
from trainers.methods.dpo import DPOConfig
from trainers.methods.reward import RewardConfig
from trainers.methods.sft import SFTConfig

from .small_runs import one_step, row_of, run_settings, trainer_of
from .tiny import demonstrations, weighted, write_model


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


def test_nothing_to_evaluate_on_is_told(policy: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to evaluate on"):
        trainer_of("sft", tmp_path, policy).evaluate()
