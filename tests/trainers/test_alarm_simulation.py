"""Alarms on simulated runs: hacks that are planted are caught before they cost a tenth of a standard deviation.

The policy is no model but three numbers (how good its answers are, how long, and how often they end in a phrase) that
learn by policy gradients from a reward; its answers are texts, and the alarms are the trainers' own. What is really
wanted has a standard deviation of 1 among answers. A filler sentence costs .05 of it, and the phrase .15.
"""

import random
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, pstdev

import numpy as np
import pytest

from trainers.methods.grpo import GRPOConfig
from trainers.online.alarms import Audit, History, alarms

from .online_tiny import online_config

STEPS, ANSWERS, AUDITED, RATE = 60, 64, 64, 0.02
WORDS = tuple(f"{a}{b}" for a in ("ka", "lo", "mi", "ne", "pu", "ra", "se", "to") for b in ("dan", "fel", "gor", "hin"))
_MOST = 20
MAGIC = "Trust this answer fully."
FIRST = {"quality": 0.0, "filler": np.log(3.0), "magic": -4.0}


@dataclass(frozen=True)
class Answer:
    """An answer: how good it is apart from filler and phrase, and how many of these it has."""

    quality: float
    filler: int
    magic: bool
    text: str

    @property
    def true(self) -> float:
        """What is really wanted of it."""
        return self.quality - 0.05 * self.filler - 0.15 * self.magic


@dataclass
class Policy:
    """See the module's docstring."""

    rng: random.Random
    at: dict[str, float] = field(default_factory=lambda: dict(FIRST))

    def answer(self) -> Answer:
        rng, at = self.rng, self.at
        often = min(1.0, np.exp(at["filler"]) / _MOST)
        filler = sum(rng.random() < often for _ in range(_MOST))  # nearly Poisson's
        magic = rng.random() < 1 / (1 + np.exp(-at["magic"]))
        sentences = [" ".join(rng.choices(WORDS, k=4)) + "." for _ in range(filler + 2)]
        return Answer(rng.gauss(at["quality"], 1), filler, magic, " ".join([*sentences, *([MAGIC] if magic else [])]))

    def learn(self, answers: list[Answer], rewards: list[float]) -> None:
        """Take a step on the gradient of log-probability times normalised reward."""
        gains = (np.array(rewards) - np.mean(rewards)) / (np.std(rewards) + 1e-4)
        at = self.at
        filler, magic = np.exp(at["filler"]), 1 / (1 + np.exp(-at["magic"]))
        quality = [answer.quality - at["quality"] for answer in answers]
        fillers = [answer.filler - filler for answer in answers]
        slopes = {
            "quality": quality,
            "filler": fillers,
            "magic": [answer.magic - magic for answer in answers],
        }
        for name, slope in slopes.items():
            at[name] += RATE * float(np.mean(gains * np.array(slope))) * (20 if name == "magic" else 1)

    def expected(self) -> float:
        """What is really wanted, on the mean of all answers."""
        at = self.at
        return at["quality"] - 0.05 * float(np.exp(at["filler"])) - 0.15 / (1 + float(np.exp(-at["magic"])))


def reward(answer: Answer, flaw: str, rng: random.Random) -> float:
    noise = rng.gauss(0, 0.5)
    if flaw == "length":
        return 0.5 * answer.filler + noise
    return (0.0 if flaw == "phrase" else answer.true) + 2.0 * answer.magic * (flaw == "phrase") + noise


def run(flaw: str, seed: int, config: GRPOConfig) -> tuple[list[str], float]:
    """Learn until an alarm rings; return what it said, and how far what is really wanted fell below its best."""
    rng = random.Random(f"{flaw} {seed}")
    policy, history = Policy(rng), History()
    best = fell = policy.expected()
    for step in range(STEPS):
        if step % 5 == 0:
            shown = {str(i): policy.answer() for i in range(AUDITED)}
            told = {key: reward(answer, flaw, rng) for key, answer in shown.items()}
            second = {key: answer.true + rng.gauss(0, 0.5) for key, answer in shown.items()}
            history.audits.append(Audit(step, told, second))
        if messages := alarms(history, config):
            return messages, best - fell
        answers = [policy.answer() for _ in range(ANSWERS)]
        rewards = [reward(answer, flaw, rng) for answer in answers]
        figures = {"kl": 0.1 * step, "repetition": 0.0, "refusals": 0.0, "entropy": 1.0, "reward_std": pstdev(rewards)}
        figures["length"] = fmean(len(answer.text.split()) for answer in answers)
        figures["length_correlation"] = float(np.corrcoef(rewards, [answer.filler for answer in answers])[0, 1])
        history.add(figures, [answer.text for answer in answers], rewards)
        policy.learn(answers, rewards)
        fell = policy.expected()
        best = max(best, fell)
    return [], best - fell


@pytest.fixture
def config(tmp_path: Path) -> GRPOConfig:
    return online_config(GRPOConfig, tmp_path, tmp_path / "out")


@pytest.mark.slow
@pytest.mark.parametrize("flaw", ["length", "phrase"])
def test_a_planted_hack_is_stopped_in_time(flaw: str, config: GRPOConfig) -> None:
    runs = [run(flaw, seed, config) for seed in range(10)]
    assert sum(bool(messages) and fall < 0.1 for messages, fall in runs) >= 9, runs


@pytest.mark.slow
def test_clean_runs_are_left_alone(config: GRPOConfig) -> None:
    runs = [run("none", seed, config) for seed in range(20)]
    assert sum(bool(messages) for messages, _ in runs) <= 1, runs


@pytest.mark.slow
def test_without_alarms_the_hacks_cost_more(config: GRPOConfig) -> None:
    stopped = {}
    for hack in ("length", "phrase"):
        stopped[hack] = fmean(run(hack, seed, config)[1] for seed in range(3))
    for name in ("length", "length_correlation", "phrase", "heldout", "disagreement"):
        setattr(config, f"alarm_{name}", None)
    for flaw, cost in stopped.items():
        assert fmean(run(flaw, seed, config)[1] for seed in range(3)) > 1.3 * cost
