"""GRPO and online DPO on tiny models: what they learn from, that they learn, and what they leave out."""

import json
import logging
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import numpy as np
import pytest
import torch

from critic.local.loading import load
from critic.rewarding.grade import Grade
from trainers.folder import metrics
from trainers.methods.grpo import GRPOConfig, GRPOTrainer
from trainers.methods.online_dpo import OnlineDPOConfig, OnlineDPOTrainer
from trainers.online import experience
from trainers.online.alarms import Alarm
from trainers.online.mathematics.group_advantage import RULES
from trainers.online.writing.rollout import Sample

from .online_tiny import (
    LORA,
    Planted,
    len_of,
    online_config,
    online_trainer,
    prompts_file,
    samples_of,
    share_of,
    trained_weights,
)
from .tiny import farthest

PLAIN = {"epochs": 1, "minibatches": 1, "optim": "sgd", "learning_rate": 0.1, "max_grad_norm": 0.0}
ADAPTED = pytest.mark.parametrize("lora", [None, LORA], ids=["whole", "adapted"])


def grpo(policy: Path, out: Path, reward: Any = None, **settings: Any) -> GRPOTrainer:
    config = online_config(GRPOConfig, policy, out, **settings)
    return online_trainer(GRPOTrainer, config, reward=reward or Planted(share_of("aeiou")))


def odpo(policy: Path, out: Path, reward: Any = None, **settings: Any) -> OnlineDPOTrainer:
    config = online_config(OnlineDPOConfig, policy, out, **settings)
    return online_trainer(OnlineDPOTrainer, config, reward=reward or Planted(share_of("aeiou")))


def logps(model: Any, sample: Sample) -> torch.Tensor:
    """The log-probabilities of an answer's tokens, by transformers' model alone."""
    ids = torch.tensor([[*sample.task.ask.ids, *sample.ids]])
    logits = model(ids).logits[0, len(sample.task.ask.ids) - 1 : -1]
    chosen: torch.Tensor = logits.log_softmax(-1)[range(len(sample.ids)), list(sample.ids)]
    return chosen


@pytest.mark.parametrize("rule", RULES)
def test_an_update_is_the_rule_by_hand(rule: str, policy: Path, tmp_path: Path) -> None:
    """At ratio 1 the gradient is that of -log pi times the advantage, averaged as the rule has it."""
    trainer = grpo(policy, tmp_path / "out", rule=rule, kl_coef=0.0, samples_per_prompt=3, **PLAIN)
    samples = samples_of(trainer)
    groups = trainer.measure(samples).groups
    before = trained_weights(trainer)
    trainer._learn(groups)
    after = trained_weights(trainer)
    model = load(str(policy), torch.float32, torch.device("cpu"), "eager").model
    chosen = [group.samples for group in groups]
    tokens = sum(len(s.ids) for group in chosen for s in group)
    count = sum(map(len, chosen))
    for group in chosen:
        rewards = torch.tensor([sample.counted for sample in group])
        gains = rewards - rewards.mean()
        if rule == "rloo":
            gains = gains * 3 / 2
        elif rule != "dr-grpo":
            gains = gains / (rewards.std() + 1e-4)
        for sample, gain in zip(group, gains, strict=True):
            loss_M = -logps(model, sample) * gain
            if rule == "dapo":
                loss = loss_M.sum() / tokens
            elif rule == "rloo":
                loss = loss_M.sum() / count  # the ratio is that of the whole answer
            elif rule == "dr-grpo":
                loss = loss_M.sum() / (count * 10)
            else:
                loss = loss_M.mean() / count
            loss.backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None
        moved = before[f"policy.{name}"] - after[f"policy.{name}"]
        assert torch.allclose(moved, 0.1 * weight.grad, atol=1e-6), name
    trainer.close()


def test_an_update_of_online_dpo_is_dpo_on_soft_labels_by_hand(policy: Path, tmp_path: Path) -> None:
    trainer = odpo(policy, tmp_path / "out", Planted(len_of), beta=0.5, scale=2.0, samples_per_prompt=3, **PLAIN)
    samples = samples_of(trainer)
    for number, sample in enumerate(samples):  # all have ten tokens; these rewards differ
        sample.reward = float(number % 3) * 1.5
    groups = trainer.measure(samples).groups
    before = trained_weights(trainer)
    figures = trainer._learn(groups)
    after = trained_weights(trainer)
    model = load(str(policy), torch.float32, torch.device("cpu"), "eager").model
    for group in groups:
        sums = [logps(model, sample).sum() for sample in group.samples]
        pairs = [(0, 1), (0, 2), (1, 2)]
        for first, second in pairs:
            probability = torch.sigmoid(torch.tensor((first - second) * 1.5 / 2.0))
            lead = 0.5 * (sums[first] - sums[second])
            lead = lead - lead.detach()  # the reference is the policy as it is
            loss = -(probability * lead.sigmoid().log() + (1 - probability) * (-lead).sigmoid().log())
            (loss / len(pairs) / len(groups)).backward(retain_graph=True)
    for name, weight in model.named_parameters():
        assert weight.grad is not None
        assert torch.allclose(before[f"policy.{name}"] - after[f"policy.{name}"], 0.1 * weight.grad, atol=1e-6), name
    assert figures["loss/policy"] == pytest.approx(0.693147, abs=1e-5)
    trainer.close()


@pytest.mark.parametrize("build", [grpo, odpo])
def test_how_prompts_are_split_changes_nothing(build: Any, policy: Path, tmp_path: Path) -> None:
    after = []
    for size in (1, 4):
        settings: dict[str, Any] = {"max_steps": 2, "optim": "sgd", "per_device_train_batch_size": size}
        trainer = build(policy, tmp_path / f"out{size}", **settings)
        trainer.train()
        after.append(trained_weights(trainer))
        trainer.close()
    assert farthest(*after) < 1e-6


class Some(Planted):
    """Gives rewards to some answers of each prompt, by their number within it."""

    def __init__(self, numbers: Sequence[int], reward: Any = len_of) -> None:
        super().__init__(reward)
        self.numbers = numbers

    async def grade(self, samples: Sequence[Sample]) -> list[Grade]:
        grades = await super().grade(samples)
        return [g if i % 3 in self.numbers else Grade(None, "unreadable") for i, g in enumerate(grades)]


@pytest.mark.parametrize("build", [grpo, odpo])
def test_a_group_of_one_readable_answer_is_left_out_and_counted(build: Any, policy: Path, tmp_path: Path) -> None:
    trainer = build(policy, tmp_path / "out", Some([1]), max_steps=1, **PLAIN)
    before = trained_weights(trainer)
    trainer.train()
    [row] = metrics.read(tmp_path / "out")
    assert (row["groups/alone"], row["without_reward"]) == (4, 8)
    assert farthest(before, trained_weights(trainer)) == 0
    trainer.close()


@pytest.mark.parametrize("build", [grpo, odpo])
def test_a_group_that_can_t_be_read_and_one_without_spread_cost_themselves_alone(
    build: Any, policy: Path, tmp_path: Path
) -> None:
    """Of a step's four prompts the first has no reward that could be read, and the second three equal ones."""
    seen: list[str] = []

    def reward(sample: Sample) -> float | None:
        where = sample.task.ask.where
        seen.extend([where] * (where not in seen))
        return {0: None, 1: 2.0}.get(seen.index(where), float(sum(sample.ids) % 7))

    trainer = build(policy, tmp_path / "out", Planted(reward), max_steps=1, **PLAIN)
    before = trained_weights(trainer)
    trainer.train()
    [row] = metrics.read(tmp_path / "out")
    assert (row["without_reward"], row["groups/alone"]) == (3, 0)
    assert build is odpo or row["groups/flat"] == 1
    assert farthest(before, trained_weights(trainer)) > 0
    trainer.close()


@pytest.mark.parametrize("reward", [lambda sample: 1.0, lambda sample: float(len(sample.task.ask.ids))])
def test_groups_without_spread_teach_nothing_and_a_run_of_them_stops(
    reward: Any, policy: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where prompts differ in their rewards, and the answers to each do not."""
    trainer = grpo(policy, tmp_path / "out", Planted(reward), max_steps=9, alarm_flat=3)
    before = trained_weights(trainer)
    alarm = pytest.raises(Alarm, match="in 3 steps in a row all rewards that are compared are the same")
    with caplog.at_level(logging.WARNING, "trainers.online.loop"), alarm:
        trainer.train()
    assert "Step 1: all rewards that are compared are the same" in caplog.text
    assert [row["groups/flat"] for row in metrics.read(tmp_path / "out")] == [4, 4, 4]
    assert farthest(before, trained_weights(trainer)) == 0
    trainer.close()


def test_prompts_at_the_same_places_of_two_files_of_one_name_are_not_one_group(policy: Path, tmp_path: Path) -> None:
    """All rewards of a prompt are the same, and those of the other are others: there is nothing to compare."""
    files = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        files.append(prompts_file(tmp_path / name, count=1))
    files[1].write_text(json.dumps({"prompt": "Something else?"}))
    data = [str(file) for file in files]
    trainer = grpo(policy, tmp_path / "out", Planted(_of_prompt), data=data, prompts_per_step=2)
    rows = trainer.measure(samples_of(trainer)).rows
    trainer.close()
    assert {row["where"] for row in rows} == {"prompts.jsonl:1"}
    assert len({row["reward"] for row in rows}) == 2
    assert experience.spread(rows, among_siblings=True) == 0


def test_a_writer_that_knows_no_log_probabilities_has_no_drift(policy: Path, tmp_path: Path) -> None:
    """vLLM's are at temperature 1: at another one, a difference to the policy's would say nothing about the writer."""
    trainer = grpo(policy, tmp_path / "out")
    samples = samples_of(trainer)
    assert experience.figures(trainer.measure(samples).rows)["drift"] < 1e-4
    for sample in samples:
        sample.logprobs = ()
    rows = trainer.measure(samples).rows
    trainer.close()
    assert "drift" not in rows[0] and "drift" not in experience.figures(rows)


def _of_prompt(sample: Sample) -> float:
    return float(len(sample.task.ask.ids))


def test_rewards_that_are_normalised_each_are_flat_only_where_each_of_them_is(policy: Path, tmp_path: Path) -> None:
    """Of each two answers one has more of the first reward and less of the second, so that all sums are the same."""
    rows = [{"key": "a", "reward": 4.0, "rewards": parts} for parts in ([0.0, 8.0], [4.0, 0.0], [2.0, 4.0])]
    assert experience.spread(rows, among_siblings=True) == 0
    assert experience.spread(rows, among_siblings=True, apart=True) == pytest.approx(np.std([8, 0, 4]))
    for combine, apart in (("sum", False), ("normalised", True)):
        trainer = grpo(policy, tmp_path / combine, combine=combine)
        assert trainer.measure(samples_of(trainer)).apart is apart
        trainer.close()


def test_where_nothing_is_learnt_from_no_step_is_taken_by_however_many_processes(
    policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Adam would go on in the direction of its last steps: it takes a gradient of zeros for one."""
    trainer = grpo(policy, tmp_path / "out")
    trainer._learn(trainer.measure(samples_of(trainer)).groups)
    before = trained_weights(trainer)
    monkeypatch.setattr(type(trainer.accelerator), "num_processes", property(lambda accelerator: 2))
    assert trainer._learn([])["grad_norm"] == 0
    assert farthest(before, trained_weights(trainer)) == 0
    trainer.close()


@pytest.mark.parametrize(
    ("unfinished", "left", "change"), [("mask", 1, None), ("penalise", 12, -2.0), ("reward", 12, 0)]
)
def test_an_answer_that_was_cut_counts_as_the_setting_says(
    unfinished: str, left: int, change: float | None, policy: Path, tmp_path: Path
) -> None:
    """The tiny model never ends within ten tokens, so all are cut."""
    trainer = grpo(policy, tmp_path / "out", Planted(len_of), unfinished=unfinished, unfinished_penalty=2.0)
    samples = trainer._write(trainer._asks_of_step(), 3, "step", 0)
    assert not any(sample.ended for sample in samples)
    if unfinished == "mask":
        samples[0].ended = True  # without one answer that ended there is nothing to learn from
    trainer._grade(samples)
    graded = [sample for sample in samples if sample.reward is not None]
    assert len(graded) == left
    if change is not None:
        assert {sample.counted - len_of(sample) for sample in graded} == {change}
    else:
        assert samples[1].problem == "it was cut at max_new_tokens"
    trainer.close()


def test_several_rewards_are_added_or_normalised_each(policy: Path, tmp_path: Path) -> None:
    """The first prompt's rewards differ, the second's sums alone are the same, and the others' are the same in all."""
    more = [{"reward": "verify:max-words=1", "weight": 0.5}]
    by_prompt = [[(1.0, 0.0), (3.0, 4.0), (5.0, 2.0)], [(0.0, 8.0), (4.0, 0.0), (2.0, 4.0)], *2 * [[(1.0, 1.0)] * 3]]
    gains: dict[str, list[list[float]]] = {}
    for combine in ("sum", "normalised"):
        settings = {"more_rewards": more, "combine": combine, "kl_coef": 0.0, "rule": "dapo"}
        trainer = online_trainer(GRPOTrainer, online_config(GRPOConfig, policy, tmp_path / combine, **settings))
        samples = samples_of(trainer)
        assert all(s.reward == pytest.approx(s.parts[0] + 0.5 * s.parts[1]) for s in samples)
        for sample, (first, second) in zip(samples, chain.from_iterable(by_prompt), strict=True):
            sample.parts, sample.reward = (first, second), first + 0.5 * second
        gains[combine] = []
        for group in trainer.measure(samples).groups:
            parts = group.tokens["advantages"].split([len(s.ids) for s in group.samples])
            gains[combine].append([float(part[0]) for part in parts])
        trainer.close()
    sums = np.array([1.0, 5.0, 6.0])
    assert gains["sum"] == [pytest.approx((sums - 4) / sums.std(ddof=1), abs=1e-3)]
    of_first = np.array([-1, 0, 1]) + 0.5 * np.array([-1, 1, 0])
    of_second = np.array([-1, 1, 0]) + 0.5 * np.array([1, -1, 0])
    spread = np.concatenate([of_first, of_second, np.zeros(6)]).std(ddof=1)
    assert gains["normalised"] == [pytest.approx(gain / spread, abs=1e-3) for gain in (of_first, of_second)]


@pytest.mark.parametrize(
    ("kind", "settings", "said"),
    [
        (GRPOConfig, {"samples_per_prompt": 1}, "an answer is compared with others"),
        (OnlineDPOConfig, {"samples_per_prompt": 1}, "an answer is compared with another"),
        (GRPOConfig, {"kl_coef": -1.0}, "kl_coef is -1.0"),
        (OnlineDPOConfig, {"beta": 0.0}, "beta is 0.0"),
        (GRPOConfig, {"more_rewards": [{"rewards": "x"}]}, "more_rewards has"),
        (GRPOConfig, {"more_rewards": None}, "more_rewards has None"),
        (GRPOConfig, {"more_rewards": [{"reward": "verify:max-words=3", "weight": "x"}]}, "expected a weight above 0"),
        (GRPOConfig, {"judge_by": "comparison"}, "needs principles"),
        (GRPOConfig, {"judge_mode": "cot"}, "judge_by is score"),
        (GRPOConfig, {"heldout_principles": "honesty"}, "has no effect without heldout_reward"),
        (GRPOConfig, {"heldout_reward": "verify:max-words=3", "eval_share": 0.3, "eval_steps": None}, "which is null"),
        (GRPOConfig, {"eval_steps": 2.5}, "a whole number of steps"),
        (GRPOConfig, {"save_steps": 0}, "save_steps is 0"),
        (GRPOConfig, {"alarm_repetition": 30.0}, "alarm_repetition is 30.0; expected a share below 1"),
        (GRPOConfig, {"alarm_entropy": 1.5}, "alarm_entropy is 1.5; expected a share below 1"),
        (GRPOConfig, {"rule": "rloo", "kl_estimator": "k2"}, "rloo takes k1 off the reward"),
        (GRPOConfig, {"rule": "rloo", "combine": "normalised"}, "the KL would be lost"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    kind: Any, settings: dict[str, Any], said: str, policy: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=said):
        online_config(kind, policy, tmp_path / "out", **settings)


@pytest.mark.slow
@ADAPTED
@pytest.mark.parametrize("build", [grpo, odpo])
def test_they_learn_what_is_planted_at_a_bounded_kl(
    build: Any, lora: dict[str, Any] | None, policy: Path, tmp_path: Path
) -> None:
    """Answers of ten bytes, of which small letters are wanted: a tenth at first, 0.3 or more within 20 nats of it."""
    own: dict[str, Any] = {"kl_coef": 0.0} if build is grpo else {"beta": 0.02, "scale": 0.1}
    trainer = build(
        policy, tmp_path / "out", Planted(share_of(ascii_lowercase)), lora=lora, max_steps=12, prompts_per_step=8,
        samples_per_prompt=8, rollout_batch=64, per_device_train_batch_size=8, learning_rate=0.01 if lora else 0.002,
        alarm_kl=None, alarm_phrase=None, alarm_repetition=None, alarm_entropy=None, **own,
    )  # fmt: skip
    trainer.train()
    trainer.close()
    logs = [row for row in metrics.read(tmp_path / "out") if "reward" in row]
    assert logs[0]["reward"] < 0.15
    assert max(row["reward"] for row in logs if row["kl"] < 20) > 0.3
