"""PPO on tiny models: what it learns from, and that it learns."""

from pathlib import Path
from string import ascii_lowercase
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from critic.local.loading import load
from trainers.folder import metrics
from trainers.methods.ppo import advantages
from trainers.online import experience

from .online_tiny import LORA, Planted, len_of, ppo_config, ppo_trainer, samples_of, share_of, trained_weights
from .tiny import farthest


@pytest.mark.parametrize("lora", [None, LORA], ids=["whole", "adapted"])
def test_tokens_are_measured_as_the_model_alone_does_it(
    lora: dict[str, Any] | None, policy: Path, tmp_path: Path
) -> None:
    """Against transformers' own attention, one answer at a time: log-probability and entropy at the temperature."""
    trainer = ppo_trainer(ppo_config(policy, tmp_path / "out", lora=lora, temperature=0.7), reward=Planted(len_of))
    samples = samples_of(trainer)
    prompts = [samples[i : i + 3] for i in range(0, len(samples), 3)]
    measured = experience.read(trainer.models, prompts, trainer.args, trainer.accelerator)
    lengths = [len(sample.ids) for sample in samples]
    old, entropy, reference = (torch.split(tensor, lengths) for tensor in measured)
    plain = AutoModelForCausalLM.from_pretrained(policy, attn_implementation="eager").eval()
    for i, sample in enumerate(samples):
        ids = torch.tensor([[*sample.task.ask.ids, *sample.ids]])
        with torch.no_grad():
            logits = plain(ids).logits[0, len(sample.task.ask.ids) - 1 : -1] / 0.7
        logp = logits.log_softmax(-1)
        expected = logp[range(len(sample.ids)), list(sample.ids)]
        assert torch.allclose(old[i], expected, atol=1e-5)
        assert torch.allclose(torch.tensor(sample.logprobs), expected, atol=1e-5)
        assert torch.allclose(entropy[i], -(logp.exp() * logp).sum(-1), atol=1e-5)
        assert torch.equal(reference[i], old[i])  # before the first update
    trainer.close()


@pytest.mark.parametrize("lora", [None, LORA], ids=["whole", "adapted"])
def test_the_reference_stays_and_the_writer_follows(lora: dict[str, Any] | None, policy: Path, tmp_path: Path) -> None:
    config = ppo_config(policy, tmp_path / "out", lora=lora, max_steps=2, learning_rate=0.01)
    trainer = ppo_trainer(config, reward=Planted(share_of("aeiou")))
    samples = samples_of(trainer)
    prompts = [samples[i : i + 3] for i in range(0, len(samples), 3)]
    before = experience.read(trainer.models, prompts, trainer.args, trainer.accelerator)
    trainer.train()
    after = experience.read(trainer.models, prompts, trainer.args, trainer.accelerator)
    assert torch.equal(before[2], after[2])
    assert float((before[0] - after[0]).abs().max()) > 1e-3
    again = samples_of(trainer)
    assert (
        max(row["drift"] for row in trainer.measure(again).rows) < 1e-5
    )  # the writer drew from the policy as it is now
    trainer.close()


def test_what_an_update_computes_is_ppo_by_hand(policy: Path, tmp_path: Path) -> None:
    """One minibatch of one epoch is a step on the gradient of the clipped losses at ratio 1."""
    config = ppo_config(
        policy, tmp_path / "out", epochs=1, minibatches=1, optim="sgd", learning_rate=0.1, max_grad_norm=0.0,
        value_coef=0.0, whiten=False,
    )  # fmt: skip
    trainer = ppo_trainer(config, reward=Planted(share_of("aeiou")))
    groups = trainer.measure(samples_of(trainer)).groups
    before = trained_weights(trainer)
    trainer._learn(groups)
    after = trained_weights(trainer)
    model = load(str(policy), torch.float32, torch.device("cpu"), "eager").model
    total = sum(len(group.tokens["old"]) for group in groups)
    for group in groups:
        gains = torch.split(group.tokens["advantages"], [len(s.ids) for s in group.samples])
        for sample, advantage in zip(group.samples, gains, strict=True):
            ids = torch.tensor([[*sample.task.ask.ids, *sample.ids]])
            logits = model(ids).logits[0, len(sample.task.ask.ids) - 1 : -1]
            logp = logits.log_softmax(-1)[range(len(sample.ids)), list(sample.ids)]
            (-(logp * advantage).sum() / total).backward()  # the gradient of -ratio * A at ratio 1
    for name, weight in model.named_parameters():
        assert weight.grad is not None
        moved = before[f"policy.{name}"] - after[f"policy.{name}"]
        assert torch.allclose(moved, 0.1 * weight.grad, atol=1e-6), name
    trainer.close()


def test_the_score_of_an_answer_reaches_its_last_token_less_the_kl(policy: Path, tmp_path: Path) -> None:
    config = ppo_config(policy, tmp_path / "out", gamma=1.0, lam=1.0, kl_coef=0.5)
    trainer = ppo_trainer(config, reward=Planted(len_of))
    samples = samples_of(trainer)[:2]
    lengths = [len(sample.ids) for sample in samples]
    kl = torch.linspace(-1, 1, sum(lengths))
    by_token = advantages(samples, kl, torch.zeros(sum(lengths)), 0.5, config)
    for part, of_kl, length in zip(by_token.split(lengths), kl.split(lengths), lengths, strict=True):
        expected = [length - 0.5 * float(of_kl[t:].sum()) for t in range(length)]
        assert part.tolist() == pytest.approx(expected, abs=1e-5)
    trainer.close()


@pytest.mark.parametrize("size", [1, 4])
def test_how_many_prompts_go_through_at_once_changes_nothing(size: int, policy: Path, tmp_path: Path) -> None:
    weights = []
    for count in (2, size):
        config = ppo_config(
            policy, tmp_path / f"out{count}", per_device_train_batch_size=count, max_steps=1, optim="sgd"
        )
        trainer = ppo_trainer(config, reward=Planted(share_of("aeiou")))
        trainer.train()
        weights.append(trained_weights(trainer))
        trainer.close()
    assert farthest(*weights) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("lora", [None, LORA], ids=["whole", "adapted"])
def test_it_learns_what_is_planted_at_a_bounded_kl(lora: dict[str, Any] | None, policy: Path, tmp_path: Path) -> None:
    """Answers of ten bytes, of which small letters are wanted: a tenth at first, and 0.4 or more in the end."""
    config = ppo_config(
        policy, tmp_path / "out", lora=lora, max_steps=25, prompts_per_step=8, samples_per_prompt=8, rollout_batch=64,
        per_device_train_batch_size=8, learning_rate=0.01 if lora else 0.002, kl_coef=0.015 if lora else 0.02,
        alarm_kl=20.0, alarm_phrase=None,
    )  # fmt: skip
    trainer = ppo_trainer(config, reward=Planted(share_of(ascii_lowercase)))
    trainer.train()
    trainer.close()
    logs = [row for row in metrics.read(tmp_path / "out") if "reward" in row]
    assert logs[0]["reward"] < 0.15
    assert logs[-1]["reward"] > 0.4
    assert max(row["kl"] for row in logs) < 20


def test_prompts_come_all_once_before_one_comes_again(policy: Path, tmp_path: Path) -> None:
    trainer = ppo_trainer(ppo_config(policy, tmp_path / "out"), reward=Planted(len_of))
    asks = trainer.asks
    keys = []
    for step in range(4):
        keys.append([ask.prompt.key for ask in asks.of_step(step, 4, seed=0)])
    assert sorted(keys[0] + keys[1]) == sorted(keys[2] + keys[3]) == sorted(ask.prompt.key for ask in asks.asks)
    assert keys[:2] != keys[2:]
    trainer.close()
