"""Whole runs of GRPO and online DPO: killed and resumed, stopped by a judge that is gone, and what they leave."""

import json
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerCallback, TrainerState

from base.errors import InputError
from critic.engine import RunStopped
from critic.rewarding.grade import Grade
from trainers import catalogue
from trainers.folder import checkpoint, metrics
from trainers.folder.identity import LINEAGE
from trainers.method import load as method_of
from trainers.methods.grpo import GRPOConfig, GRPOTrainer
from trainers.online import processes
from trainers.online.alarms import Alarm, History
from trainers.online.config import OnlineConfig
from trainers.online.loop import OnlineTrainer
from trainers.online.writing import rollouts
from trainers.online.writing.rollout import Sample
from trainers.run import train

from .online_tiny import LORA, Planted, online_config, online_trainer, share_of, trained_weights
from .tiny import farthest

METHODS = pytest.mark.parametrize("name", ["grpo", "online-dpo"])


class Killed(BaseException):
    """What ends a process is caught nowhere."""


class KillAt(TrainerCallback):
    """Ends the run at the beginning or at the end of a step."""

    def __init__(self, where: str, step: int) -> None:
        self.where, self.step = where, step

    def on_step_begin(self, args: Any, state: TrainerState, control: Any, **others: Any) -> None:
        if (self.where, self.step) == ("begin", state.global_step):
            raise Killed

    def on_step_end(self, args: Any, state: TrainerState, control: Any, **others: Any) -> None:
        if (self.where, self.step) == ("end", state.global_step):
            raise Killed


OWN: dict[str, dict[str, Any]] = {
    "grpo": {"rule": "dapo", "kl_coef": 0.1, "epochs": 2},
    "online-dpo": {"beta": 0.3, "epochs": 1},
}


def settings_of(name: str, scorer: Path) -> dict[str, Any]:
    # An engine scores whatever waits in one row, and rounds by what is in it: on a busy machine that would differ.
    same = {"reward": f"rm:{scorer}?dtype=float32&deterministic=true", "max_steps": 4, "max_new_tokens": 6}
    same |= {"save_strategy": "steps", "save_steps": 2, "lr_scheduler_type": "linear", "eval_share": 0.3}
    same |= {"eval_steps": 2, "heldout_reward": "verify:max-words=2", "lora": LORA | {"lora_dropout": 0.2}}
    return same | OWN[name]


@pytest.mark.slow
@METHODS
def test_killed_at_any_point_it_has_the_weights_of_an_uninterrupted_run(
    name: str, policy: Path, scorer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the first checkpoint, while one is written, between two steps, in the update, and after the last step."""
    kind: type[OnlineConfig] = method_of(name).config
    settings = settings_of(name, scorer)
    train(online_config(kind, policy, tmp_path / "whole", **settings))

    def start(where: str, step: int) -> None:
        write, descend = checkpoint._write, OnlineTrainer._descend

        def writing(folder: Path, content: dict[str, Any], state: TrainerState) -> None:
            write(folder, content, state)
            if (where, step) == ("save", state.global_step):
                raise Killed

        def descending(trainer: OnlineTrainer, groups: Any) -> float:
            if (where, step) == ("update", trainer.state.global_step):
                raise Killed
            return descend(trainer, groups)

        with monkeypatch.context() as patched:
            patched.setattr(checkpoint, "_write", writing)
            patched.setattr(OnlineTrainer, "_descend", descending)
            train(online_config(kind, policy, tmp_path / "cut", **settings), [KillAt(where, step)])

    for where, step in (("end", 1), ("save", 2), ("begin", 3), ("update", 3), ("end", 4)):
        with pytest.raises(Killed):
            start(where, step)
    start("never", 0)
    one, other = (checkpoint.load(tmp_path / folder / "checkpoint-4")[0] for folder in ("whole", "cut"))
    assert one["weights"].keys() == other["weights"].keys() and one["history"] == other["history"]
    for key, weight in one["weights"].items():
        assert torch.equal(weight, other["weights"][key]), key
    for file in ("model.safetensors", rollouts.FILE):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "cut" / file).read_bytes(), file


class Leaving(Planted):
    """A judge that is gone in the middle of a step, and is back later; 0: it never leaves."""

    def __init__(self, leaves_in: int) -> None:
        super().__init__(share_of("aeiou"))
        self.leaves_in, self.calls = leaves_in, 0

    async def grade(self, samples: Sequence[Sample]) -> list[Grade]:
        self.calls += 1
        if self.calls == self.leaves_in:
            raise RunStopped("the judge's server is gone")
        return await super().grade(samples)


@pytest.mark.parametrize("step", [1, 3])
def test_a_judge_that_is_gone_costs_no_step_that_was_taken(step: int, policy: Path, tmp_path: Path) -> None:
    """No checkpoint was due, and still the next start goes on with that step: as if nothing had happened."""
    after = []
    for folder, leaves in (("cut", step), ("cut", 0), ("whole", 0)):
        config = online_config(GRPOConfig, policy, tmp_path / folder, max_steps=3, save_steps=50)
        trainer = online_trainer(GRPOTrainer, config, reward=Leaving(leaves))
        if leaves:
            with pytest.raises(InputError, match="server is gone"):
                trainer.train()
            assert (tmp_path / "cut" / f"checkpoint-{step - 1}").is_dir()
        else:
            trainer.train()
            after.append(trained_weights(trainer))
        trainer.close()
    assert farthest(*after) == 0
    assert [row["step"] for row in metrics.read(tmp_path / "cut")] == [1, 2, 3]


def test_a_judge_that_is_gone_for_one_process_ends_the_step_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the others would wait, and nothing of the steps so far would be saved."""
    monkeypatch.setattr(processes, "gather_object", lambda mine: [*mine, "the judge's server is gone"])
    with pytest.raises(RunStopped, match="server is gone"):
        processes.shared(lambda: 1)
    monkeypatch.setattr(processes, "gather_object", lambda mine: [*mine, None])
    assert processes.shared(lambda: 1) == 1


def test_an_evaluation_is_not_made_again_after_the_alarm_that_it_gave(policy: Path, tmp_path: Path) -> None:
    config = online_config(
        GRPOConfig, policy, tmp_path / "out", max_steps=2, eval_share=0.3, eval_steps=1, alarm_disagreement=None,
        save_strategy="no", alarm_kl=1e-9,
    )  # fmt: skip
    told = []
    for _ in range(2):
        trainer = online_trainer(
            GRPOTrainer, config, reward=Planted(share_of("aeiou")), heldout=Planted(share_of("aeiou"), "other")
        )
        with pytest.raises(Alarm):
            trainer.train()
        told.append([audit.step for audit in trainer.history.audits])
        trainer.close()
    assert told[0] == told[1] and len(set(told[1])) == len(told[1])
    rows = [row["step"] for row in metrics.read(tmp_path / "out") if "eval_heldout" in row]
    assert rows == told[1]


class Among(Planted):
    """Rewards that are of a group, as those of a judge that compares: what one has above the mean of all."""

    async def grade(self, samples: Sequence[Sample]) -> list[Grade]:
        rewards: list[float] = []
        groups: dict[str, list[float]] = {}
        for sample, grade in zip(samples, await super().grade(samples), strict=True):
            assert grade.reward is not None
            rewards.append(grade.reward)
            groups.setdefault(sample.task.ask.prompt.key, []).append(grade.reward)
        assert all(len(group) > 1 for group in groups.values()), "one answer alone has no reward"
        means = {key: sum(group) / len(group) for key, group in groups.items()}
        both = zip(samples, rewards, strict=True)
        return [Grade(reward - means[sample.task.ask.prompt.key]) for sample, reward in both]


def test_held_out_answers_are_compared_with_those_of_the_first_evaluation(policy: Path, tmp_path: Path) -> None:
    """One answer alone has no reward within a group, and alarms would look at nothing, in silence."""
    settings: dict[str, Any] = {"judge_by": "comparison", "principles": "honesty", "eval_share": 0.4, "eval_steps": 1}
    config = online_config(GRPOConfig, policy, tmp_path / "out", max_steps=1, prompts_per_step=2, **settings)
    letters = Planted(lambda sample: float(len(sample.text)))
    with ExitStack() as opened:
        trainer = online_trainer(GRPOTrainer, config, reward=Among(lambda s: float(sum(s.ids))), heldout=letters)
        opened.callback(trainer.close)
        (tmp_path / "out").mkdir()
        trainer._audit()
        [before] = trainer.history.audits
        assert before.reward and set(before.reward.values()) == set(before.heldout.values()) == {0.0}
        trainer.history = History.of(trainer.history.plain())
        trainer.state.global_step, trainer.state.eval_steps = 1, 1
        with torch.no_grad():
            for weight in trainer.models.trainable().values():
                weight.add_(0.05)
        trainer._audit()
        assert trainer.held_out is not None
        samples = [sample for sample in trainer._write(trainer.held_out.asks, 1, "heldout") if not sample.problem]
    gains = {}
    for sample in samples:
        ids, _ = trainer.history.answers[sample.task.ask.prompt.key]
        gains[sample.task.ask.prompt.key] = float(sum(sample.ids) - sum(ids))
    assert trainer.history.audits[-1].reward == pytest.approx(gains) and any(gains.values())


@pytest.mark.slow
@METHODS
def test_a_run_leaves_a_model_folder_and_its_card(name: str, policy: Path, scorer: Path, tmp_path: Path) -> None:
    settings = settings_of(name, scorer) | {"max_steps": 2}
    other = shutil.copytree(scorer, tmp_path / "other")
    origin = {"trainer": "reward", "data": {}, "parent": {}, "constitutions": ["a-hash"], "ancestors": []}
    (other / LINEAGE).write_text(json.dumps(origin))
    settings["more_rewards"] = [{"reward": f"rm:{other}?dtype=float32&deterministic=true"}]
    done = train(online_config(method_of(name).config, policy, tmp_path / "out", **settings))
    lineage = json.loads((done.folder / "lineage.json").read_text())
    assert done.new and lineage["trainer"] == name
    assert lineage["constitutions"] == ["a-hash"], "what taught one of its rewards taught it"
    assert catalogue.read(name).about in (done.folder / "README.md").read_text()
    assert (done.folder / "report.html").stat().st_size > 1000 and (done.folder / "adapter").is_dir()
