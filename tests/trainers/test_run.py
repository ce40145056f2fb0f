"""One run from settings to a folder: what it leaves, that it is finished once, and what its model comes from."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer, TrainerCallback

from base.errors import InputError
from critic.engine import Sampling
from trainers.config import TrainConfig, load
from trainers.folder import identity, samples
from trainers.folder.results import Trained, TrainingCounts
from trainers.methods.dpo import DPOConfig
from trainers.methods.grpo import GRPOConfig
from trainers.methods.reward import RewardConfig
from trainers.methods.sft import SFTConfig
from trainers.run import train

from .online_tiny import online_config
from .tiny import config_of, planted

KINDS: dict[str, type[TrainConfig]] = {"sft": SFTConfig, "reward": RewardConfig, "dpo": DPOConfig}
FILES = {
    "README.md", "config.json", "config.yaml", "lineage.json", "metrics.jsonl", "model.safetensors", "refused.jsonl",
    "report.html", "run.json", "tokenizer.json",
}  # fmt: skip


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Ten pairs, that are demonstrations too, and two rows that are neither."""
    file = tmp_path / "rows.jsonl"
    made: list[dict[str, Any]] = [
        {"prompt": pair.prompt.messages[0].content, "chosen": pair.chosen, "rejected": pair.rejected}
        | {"constitution_hash": "c" * 64}
        for pair in planted(10)
    ]
    made += [
        {"prompt": "Why?", "chosen": "same", "rejected": "same"},
        {"prompt": "Why?", "chosen": "", "rejected": "x"},
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in made))
    return file


def settings(kind: str, folder: Path, rows: Path, out: Path, **more: Any) -> TrainConfig:
    if kind == "sft":
        lines = [json.loads(line) for line in rows.read_text().splitlines()]
        rows = rows.with_name("shown.jsonl")
        shown = []
        for line in lines:
            shown.append({"completion" if k == "chosen" else k: v for k, v in line.items() if k != "rejected"})
        rows.write_text("".join(json.dumps(line) + "\n" for line in shown))
    return config_of(KINDS[kind], folder, out, data=[str(rows)], **({"eval_share": 0.3} | more))


@pytest.fixture(autouse=True)
def short_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "SAMPLING", Sampling(max_tokens=6, temperature=0.7))
    monkeypatch.setattr(samples, "_FEWEST", 1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(KINDS))
def test_a_finished_run_leaves_a_model_folder_and_is_not_done_again(
    kind: str, policy: Path, rows: Path, tmp_path: Path
) -> None:
    config = settings(kind, policy, rows, tmp_path / "out")
    told: list[TrainingCounts] = []
    done = train(config, tell=told.append)
    refused = {"equal_sides": 1, "empty_answer": 1} if kind != "sft" else {"empty_answer": 1}
    assert done.new and told == [done.counts] and done.counts.refused == refused
    assert done.counts.examples + done.counts.held_out == (11 if kind == "sft" else 10)
    assert {file.name for file in done.folder.iterdir()} >= FILES
    assert not (done.folder / "training_args.bin").exists()
    auto = AutoModelForSequenceClassification if kind == "reward" else AutoModelForCausalLM
    auto.from_pretrained(done.folder)
    assert AutoTokenizer.from_pretrained(done.folder).chat_template
    before = {file.name: file.stat().st_mtime_ns for file in done.folder.iterdir()}
    again = train(settings(kind, policy, rows, tmp_path / "out"))
    assert not again.new and again == Trained(done.folder, done.counts, again.figures, done.steps, False)
    assert again.figures == pytest.approx(dict(done.figures))
    assert {file.name: file.stat().st_mtime_ns for file in done.folder.iterdir()} == before


@pytest.mark.slow
def test_lineage_card_and_settings_name_all_that_the_model_comes_from(policy: Path, rows: Path, tmp_path: Path) -> None:
    first = train(settings("sft", policy, rows, tmp_path / "one")).folder
    second = train(settings("dpo", first, rows, tmp_path / "two")).folder
    lineage = json.loads((second / "lineage.json").read_text())
    parent = json.loads((first / "lineage.json").read_text())
    assert lineage["constitutions"] == ["c" * 64] and lineage["parent"]["name"] == str(first)
    [ancestor] = lineage["ancestors"]
    assert ancestor["parent"] == parent["parent"] and ancestor["data"] == parent["data"]
    assert ancestor["parent"]["name"] == str(policy) and len(lineage["data"]) == 64
    assert lineage["packages"].keys() >= {"torch", "transformers"}
    card = (second / "README.md").read_text()
    front = yaml.safe_load(card.split("---")[1])
    assert front["base_model"] == str(first) and front["library_name"] == "transformers"
    for said in ("c" * 64, lineage["data"], lineage["parent"]["revision"], "equal_sides", "eval_loss", "hf:PATH"):
        assert said in card
    assert load(DPOConfig, second / "config.yaml").beta == 0.1


@pytest.mark.slow
def test_samples_before_are_the_parents_and_those_after_the_models(
    policy: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainers.offline.SHARE", 1e6)  # of so short a run nothing is left for samples
    still = train(settings("dpo", policy, rows, tmp_path / "still", learning_rate=0.0)).folder
    moved = train(settings("dpo", policy, rows, tmp_path / "moved", learning_rate=0.05)).folder
    one = [json.loads(line) for line in (still / samples.FILE).read_text().splitlines()]
    other = [json.loads(line) for line in (moved / samples.FILE).read_text().splitlines()]
    before = [row["before"] for row in one]
    assert before == [row["after"] for row in one]
    assert before == [row["before"] for row in other]
    expected = [row["after"] for row in other]
    assert [row["before"] for row in other] != expected
    assert one[0]["prompt"][0]["role"] == "user"


class Interrupt(TrainerCallback):
    def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        if state.global_step == 3:
            raise KeyboardInterrupt


@pytest.mark.slow
def test_a_run_that_was_cut_short_goes_on_and_its_samples_are_still_the_parents(
    policy: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainers.offline.SHARE", 1e6)
    own = {"save_strategy": "steps", "save_steps": 1, "per_device_train_batch_size": 2, "learning_rate": 0.05}
    whole = train(settings("dpo", policy, rows, tmp_path / "whole", **own))
    with pytest.raises(KeyboardInterrupt):
        train(settings("dpo", policy, rows, tmp_path / "cut", **own), [Interrupt()])
    assert not (tmp_path / "cut" / "lineage.json").exists()
    done = train(settings("dpo", policy, rows, tmp_path / "cut", **own))
    assert done.new and done.steps == whole.steps
    for name in (samples.FILE, "model.safetensors"):
        assert (done.folder / name).read_bytes() == (whole.folder / name).read_bytes()


def test_another_run_in_the_folder_is_refused_by_what_differs(tmp_path: Path) -> None:
    run = {
        "trainer": "dpo",
        "settings": {"beta": 0.1, "seed": 1},
        "data": "d",
        "parent": {"name": "a", "revision": "r"},
    }
    identity.claim(tmp_path / "out", run)
    identity.claim(tmp_path / "out", run)
    other = run | {"settings": {"beta": 0.2, "seed": 1}, "parent": {"name": "b", "revision": "r"}}
    (tmp_path / "out" / "metrics.jsonl").write_text("")  # a first step was begun
    with pytest.raises(InputError, match=r"parent\.name was 'a', is 'b'; beta was 0\.1, is 0\.2"):
        identity.claim(tmp_path / "out", other)
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="is not empty"):
        identity.claim(tmp_path, run)


def test_a_run_goes_on_in_other_numbers_of_processes_only_where_it_learns_the_same(tmp_path: Path) -> None:
    run = {"trainer": "dpo", "settings": {"gradient_accumulation_steps": 2}, "data": "d", "parent": {}, "processes": 4}
    identity.claim(tmp_path / "out", run)
    (tmp_path / "out" / "checkpoint-1").mkdir()
    identity.claim(tmp_path / "out", run | {"processes": 2, "settings": {"gradient_accumulation_steps": 4}})
    with pytest.raises(InputError, match="processes was 4, is 2") as told:
        identity.claim(tmp_path / "out", run | {"processes": 2})
    assert "in 4 processes" in told.value.fix
    earlier = {name: value for name, value in run.items() if name != "processes"}
    identity.claim(tmp_path / "earlier", earlier)
    identity.claim(tmp_path / "earlier", run)


def test_processes_decide_what_is_learnt_where_each_has_as_many_examples(
    policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offline = config_of(DPOConfig, policy, tmp_path / "a")
    online = online_config(GRPOConfig, policy, tmp_path / "b")
    alone = [identity.identity("any", config, "d", "r") for config in (offline, online)]
    monkeypatch.setattr(TrainConfig, "world_size", 2)
    of_two = [identity.identity("any", config, "d", "r") for config in (offline, online)]
    assert [one == two for one, two in zip(alone, of_two, strict=True)] == [False, True]


def test_a_folder_in_which_nothing_was_begun_is_taken_by_the_next_run(policy: Path, rows: Path, tmp_path: Path) -> None:
    """A wrong setting that is found out late is mended in the same folder; what was prepared for it is made anew."""
    wrong = settings("dpo", policy, rows, tmp_path / "out", lr_scheduler_type="warmup_stable_decay")
    with pytest.raises(InputError, match="num_decay_steps"):
        train(wrong)
    prepared = tmp_path / "out" / "reference-train.safetensors"
    assert prepared.is_file()
    prepared.write_text("of another parent, say")
    assert train(settings("dpo", policy, rows, tmp_path / "out")).new


def test_where_it_reports_may_change_and_what_it_learns_may_not(policy: Path, tmp_path: Path) -> None:
    one = config_of(DPOConfig, policy, tmp_path / "a", save_steps=5, logging_steps=3)
    two = config_of(DPOConfig, policy, tmp_path / "b", save_steps=9, report_to="none")
    assert identity.identity("dpo", one, "d", "r") == identity.identity("dpo", two, "d", "r")
    three = config_of(DPOConfig, policy, tmp_path / "b", weight_decay=0.1)
    assert identity.identity("dpo", one, "d", "r") != identity.identity("dpo", three, "d", "r")
