"""Alarms: what each sees, when none may ring, and that a reward with a planted flaw is caught in time."""

import dataclasses
import json
import random
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from trainers.folder import metrics
from trainers.methods.ppo import PPOConfig
from trainers.online.alarms import Alarm, Audit, History, alarms, common_phrases, refuses, repetition
from trainers.online.writing.rollout import Sample

from .online_tiny import Planted, ppo_config, ppo_trainer
from .tiny import question, write_model

CALM = {
    "kl": 2.0,
    "length": 40.0,
    "repetition": 0.1,
    "refusals": 0.05,
    "entropy": 1.5,
    "reward_std": 1.0,
    "length_correlation": 0.0,
}
LONGEST = 40


@pytest.fixture
def config(tmp_path: Path) -> PPOConfig:
    return ppo_config(tmp_path, tmp_path / "out", alarm_window=2)


def after(**figures: float) -> History:
    """Two calm steps, then two with these figures."""
    return History([CALM, CALM, CALM | figures, CALM | figures])


def test_a_calm_run_rings_nothing(config: PPOConfig) -> None:
    assert alarms(History(), config) == []
    assert alarms(after(), config) == []
    assert alarms(after(kl=50.0, length=79.0, repetition=0.39, refusals=0.34, entropy=0.31), config) == []


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        ({"kl": 51.0}, "the policy is 51 nats per answer away from the reference (alarm_kl 50)"),
        ({"length": 81.0}, "answers have 81 tokens, and had 40 in the first steps (alarm_length 2)"),
        ({"length": 19.0}, "answers have 19 tokens, and had 40 in the first steps (alarm_length 2)"),
        ({"repetition": 0.41}, "41% of the answers' runs of four tokens are repetitions, and 10% in the first steps"),
        ({"refusals": 0.36}, "36% of the answers are refusals, and 5% in the first steps (alarm_refusals 0.3)"),
        ({"entropy": 0.29}, "a token's entropy is 0.29 nats, and was 1.5 in the first steps (alarm_entropy 0.2)"),
    ],
)
def test_each_alarm_says_what_it_saw(config: PPOConfig, figures: dict[str, float], said: str) -> None:
    [message] = alarms(after(**figures), config)
    assert message.startswith(said)
    setattr(config, f"alarm_{next(iter(figures))}", None)
    assert alarms(after(**figures), config) == []


def test_one_wild_step_is_averaged_away(config: PPOConfig) -> None:
    assert alarms(History([CALM, CALM, CALM | {"length": 110.0}]), config) == []


def audits(reward: list[float], heldout: list[float], count: int = 50) -> History:
    """Audits whose prompts differ by noise around the given means."""
    noise = random.Random(0)
    audited = []
    for i, pair in enumerate(zip(reward, heldout, strict=True)):
        rewarded, held_out = pair
        own = {str(k): rewarded + noise.gauss(0, 1) for k in range(count)}
        audited.append(Audit(i, own, {str(k): held_out + noise.gauss(0, 1) for k in range(count)}))
    return History([CALM], audited)


def test_a_second_opinion_that_falls_while_the_reward_rises_is_told(config: PPOConfig) -> None:
    [message] = alarms(audits([0, 1, 2], [0, 1, 0]), config)
    assert "on held-out prompts the second opinion has fallen by" in message and "since step 1" in message


@pytest.mark.parametrize(
    ("reward", "heldout"), [([0, 1, 2], [0, 1, 2]), ([0, 0, 0], [0, 0, -1]), ([2, 1, 0], [2, 1, 0]), ([0], [0])]
)
def test_no_disagreement_no_alarm(config: PPOConfig, reward: list[float], heldout: list[float]) -> None:
    assert alarms(audits(reward, heldout), config) == []


def test_noise_alone_does_not_ring(config: PPOConfig) -> None:
    assert alarms(audits([0] * 40, [0] * 40), config) == []


def test_prompts_are_compared_with_themselves(config: PPOConfig) -> None:
    """Prompts that only one of the audits could read don't count."""
    one = Audit(0, {"a": 0.0, "b": 1.0}, {"a": 1.0, "b": 2.0, "lost": 100.0})
    two = Audit(1, {"a": 1.0, "b": 2.5}, {"a": 1.5, "b": 2.0})
    assert alarms(History([CALM], [one, two]), config) == []


def test_answers_that_a_second_opinion_likes_the_less_the_higher_their_reward_ring_at_once(config: PPOConfig) -> None:
    """Of 50 answers, a correlation of -.6 lies 5.2 standard errors below 0, and one of -.3 lies 2.2 below."""
    noise = random.Random(1)
    first = {str(i): noise.gauss(0, 1) for i in range(50)}
    for share, rings in ((-0.9, True), (-0.1, False), (0.9, False)):
        second = {key: share * value + noise.gauss(0, 1) * (1 - abs(share)) for key, value in first.items()}
        messages = alarms(History([CALM], [Audit(0, first, second)]), config)
        assert bool(messages) is rings and all("alarm_disagreement 3" in message for message in messages)
    assert alarms(History([CALM], [Audit(0, first, dict.fromkeys(first, 1.0))]), config) == []


def test_a_phrase_that_most_answers_come_to_hold_is_told(config: PPOConfig) -> None:
    texts = [f"It is {i}, and the river is long." for i in range(10)]
    hacked = [f"{text} Thanks for your trust!" for text in texts[:7]] + texts[7:]
    before, now = common_phrases(texts, [1.0] * 10), common_phrases(hacked, [1.0] * 10)
    assert before["the river is"] == [1.0, 0.0] and "thanks for your" not in before
    assert now["thanks for your"] == [0.7, 0.0]
    [message] = alarms(History([CALM] * 4, phrases=[before, before, now, now]), config)
    assert message.startswith("70% of the answers hold 'thanks for your'") and "0% did in the first steps" in message
    assert alarms(History([CALM] * 4, phrases=[now, now, now, now]), config) == []
    few = texts[:7] + hacked[:3]
    for rewards, rings in (([0.0] * 7 + [1.0] * 3, True), ([0.0, 1.0] * 5, False)):
        now = common_phrases(few, rewards)
        assert bool(alarms(History([CALM] * 4, phrases=[before, before, now, now]), config)) is rings


def test_length_that_is_paid_for_rings_before_it_has_doubled(config: PPOConfig) -> None:
    [message] = alarms(after(length=49.0, length_correlation=0.6), config)
    assert message.startswith("answers have 49 tokens, and had 40") and "correlate by 0.60" in message
    assert alarms(after(length=47.0, length_correlation=0.9), config) == []
    assert alarms(after(length=60.0, length_correlation=0.4), config) == []


@pytest.mark.parametrize(
    ("ids", "share"), [([1, 2, 3], 0), ([1, 2, 3, 4, 5], 0), ([7] * 8, 0.8), ([1, 2, 3, 4, 1, 2, 3, 4], 0.2)]
)
def test_repetition_by_hand(ids: list[int], share: float) -> None:
    assert repetition(ids) == pytest.approx(share)


@pytest.mark.parametrize(
    "text",
    ["I'm sorry, but no.", "I can\u2019t help with that.", "I cannot say.", "Sorry, I won't.", "As an AI, I rest.",
     " I am very sorry.", "Unfortunately, I must pass.", "I must decline."],
)  # fmt: skip
def test_refusals_are_seen(text: str) -> None:
    assert refuses(text)


@pytest.mark.parametrize("text", ["", "I can help.", "Sorrel grows here.", "They said: I cannot.", "I canoe."])
def test_other_answers_are_no_refusals(text: str) -> None:
    assert not refuses(text)


@pytest.fixture(scope="module")
def talker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny policy that ends its answers after some ten tokens: its head finds the end in what all tokens share."""
    folder = write_model(tmp_path_factory.mktemp("models") / "talker", tie_word_embeddings=False)
    model, end = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder).eos_token_id
    with torch.no_grad():
        direction = torch.ones(model.config.hidden_size)
        model.model.embed_tokens.weight += direction
        model.lm_head.weight[end] = 0.06 * direction
    model.save_pretrained(folder)
    return folder


def longer(sample: Sample) -> float:
    return len(sample.ids) / LONGEST


def shorter(sample: Sample) -> float:
    return 1 - len(sample.ids) / LONGEST


def exploited(talker: Path, out: Path, **settings: Any) -> list[dict[str, Any]]:
    """Train for length while short answers are what is really wanted, and return what was logged."""
    others = ("alarm_disagreement", "alarm_length_correlation", "alarm_phrase")  # they ring before a fall is seen
    settings = dict.fromkeys(others) | {"learning_rate": 0.0003, "eval_steps": 1} | settings
    held_out = out.parent / "held-out.jsonl"
    held_out.write_text("".join(json.dumps({"prompt": question(1000 + i)}) + "\n" for i in range(256)))
    config = ppo_config(
        talker, out, eval_data=[str(held_out)], max_new_tokens=LONGEST, rollout_batch=64, max_steps=20,
        prompts_per_step=8, samples_per_prompt=4, per_device_train_batch_size=8, kl_coef=0.0, **settings,
    )  # fmt: skip
    trainer = ppo_trainer(config, reward=Planted(longer, "longer"), heldout=Planted(shorter, "shorter"))
    try:
        trainer.train()
    finally:
        trainer.close()
    return metrics.read(out)


@pytest.mark.slow
def test_a_flawed_reward_is_caught_before_the_true_one_has_fallen_by_a_tenth(talker: Path, tmp_path: Path) -> None:
    with pytest.raises(Alarm, match="the second opinion has fallen") as told:
        exploited(talker, tmp_path / "out", learning_rate=0.00015)
    true = [row["eval_heldout"] for row in metrics.read(tmp_path / "out") if "eval_heldout" in row]
    assert true[-1] > 0.9 * true[0]
    step = len(true) - 1
    assert f"step {step}" in str(told.value) and (tmp_path / "out" / f"checkpoint-{step}" / "state.pt").is_file()


@pytest.mark.slow
def test_a_second_opinion_that_says_the_reverse_rings_before_the_first_step(talker: Path, tmp_path: Path) -> None:
    with pytest.raises(Alarm, match="step 0: the held-out answers of a higher reward are worse"):
        exploited(talker, tmp_path / "out", alarm_disagreement=3.0)


@pytest.mark.slow
def test_without_alarms_the_same_run_ruins_it(talker: Path, tmp_path: Path) -> None:
    names = [field.name for field in dataclasses.fields(PPOConfig) if field.name.startswith("alarm_")]
    silent = dict.fromkeys(name for name in names if name != "alarm_window")
    logs = exploited(talker, tmp_path / "out", eval_steps=20, **silent)  # nobody acts on what lies between
    true = [row["eval_heldout"] for row in logs if "eval_heldout" in row]
    assert true[-1] < 0.7 * true[0]
    assert fmean(row["reward"] for row in logs if row["step"] == 20 and "reward" in row) > 0.5


def test_an_alarm_rings_again_until_its_limit_is_raised(talker: Path, tmp_path: Path) -> None:
    """A start with the same limit stops at once; with a higher one it goes on."""
    stopped = []
    for limit in (0.5, 0.5, None):
        config = ppo_config(talker, tmp_path / "out", alarm_kl=limit, learning_rate=0.05, alarm_entropy=None)
        trainer = ppo_trainer(config, reward=Planted(longer))
        if limit is None:
            trainer.train()
            assert trainer.state.global_step == config.max_steps
        else:
            with pytest.raises(Alarm, match="nats per answer away"):
                trainer.train()
            stopped.append(trainer.state.global_step)
        trainer.close()
    assert stopped[0] == stopped[1] < 4
