"""How many processes share a step changes nothing: what makes a minibatch, and a process whose answers have no reward.

Whole runs by two processes are in `tests.trainers.test_ppo_runs`; here the other process is pretended.
"""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch

from trainers.methods.grpo import GRPOConfig, GRPOTrainer
from trainers.methods.online_dpo import OnlineDPOConfig, OnlineDPOTrainer
from trainers.methods.ppo import PPOConfig, PPOTrainer
from trainers.online import experience
from trainers.online.experience import NoReward, Siblings

from .online_tiny import Planted, len_of, online_config, online_trainer, samples_of, trained_weights
from .tiny import farthest

METHODS = pytest.mark.parametrize(
    ("config", "trainer"),
    [(PPOConfig, PPOTrainer), (GRPOConfig, GRPOTrainer), (OnlineDPOConfig, OnlineDPOTrainer)],
    ids=["ppo", "grpo", "online-dpo"],
)


def test_a_minibatch_has_the_same_prompts_by_however_many_processes(
    policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = online_config(GRPOConfig, policy, tmp_path / "out", rule="grpo", minibatches=2, epochs=2)
    trainer = online_trainer(GRPOTrainer, config, reward=Planted(len_of))
    groups = trainer.measure(samples_of(trainer)).groups
    trainer.close()
    everyone = [group.key for group in groups]

    def shared_out(among: int) -> list[set[str]]:
        monkeypatch.setattr(experience, "gather_object", lambda mine: everyone)
        by_process = []
        for number in range(among):
            by_process.append(list(experience.minibatches(groups[number::among], config, 0)))
        return [_keys(parts) for parts in zip(*by_process, strict=True)]

    assert shared_out(1) == shared_out(2) == shared_out(4)
    assert [len(keys) for keys in shared_out(2)] == [2, 2, 2, 2]


def _keys(parts: tuple[list[Siblings], ...]) -> set[str]:
    return {group.key for part in parts for group in part}


@METHODS
def test_a_process_without_any_reward_learns_with_the_others(
    config: Any, trainer: Any, policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of this process's answers none can be read, and another's can: the step is not to be stopped."""
    made = online_trainer(trainer, online_config(config, policy, tmp_path / "out"), reward=Planted(lambda sample: None))
    before = trained_weights(made)
    with ExitStack() as opened:
        opened.callback(made.close)
        with pytest.raises(NoReward, match="no word"):
            samples_of(made)
        with monkeypatch.context() as others:
            others.setattr(experience, "gather_object", lambda mine: [*mine, None])
            samples = samples_of(made)
        monkeypatch.setattr(made, "gathered", lambda mine: torch.cat([mine, torch.ones(*mine.shape[:-1], 2)], -1))
        measured = made.measure(samples)
        made._learn(measured.groups)
    assert not measured.groups and [row["problem"] for row in measured.rows] == ["no word"] * len(samples)
    assert farthest(before, trained_weights(made)) == 0
