"""The benchmark of PPO at a tiny size, and that its plain loop computes what this trainer's does."""

from contextlib import closing
from pathlib import Path

import pytest
import torch

from benchmarks import ppo
from critic.local.trees import attention
from tests.trainers.tiny import write_model


@pytest.mark.slow
def test_the_plain_loop_measures_the_same_answers_alike(tmp_path: Path) -> None:
    """Log-probabilities, values and advantages of the same tokens, in float32."""
    model = write_model(tmp_path / "model", max_position_embeddings=2048)
    reward = ppo.reward_model(model, tmp_path / "reward")
    config = ppo.settings(model, reward, tmp_path, (3, 9), 8, torch.float32)
    with closing(ppo.MeasuredTrainer.opened(config, (3, 8))) as ours:
        plain = ppo.PlainLoop(ours)
        plain.attend("sdpa")
        rows, mask, answers = plain.rollout(ppo.lengths((3, 8), 0))
        samples = ours._write(ours._asks_of_step(), ppo.SAMPLES)
        order = {ask: i for i, ask in enumerate(plain.asks)}
        for number, sample in enumerate(samples):
            row = order[sample.task.ask] * ppo.SAMPLES + number % ppo.SAMPLES
            length = int(answers[row].sum())
            sample.ids = tuple(rows[row, -answers.shape[1] :][:length].tolist())
            sample.logprobs = (0.0,) * length
            sample.text = str(ours.tokenizer.decode(list(sample.ids)))
        expected = plain.score(rows, mask, answers)
        plain.attend(attention.NAME)
        for sample in samples:
            sample.reward = 0.5
        ours.state.global_step = 1  # before the first step values are shifted to the rewards
        groups = ours.measure(samples).groups
        for group in groups:
            first = order[group.samples[0].task.ask] * ppo.SAMPLES
            at = answers[first : first + ppo.SAMPLES]
            for name in ("old", "values"):
                theirs = expected[name][first : first + ppo.SAMPLES][at]
                assert torch.allclose(group.tokens[name], theirs, atol=1e-4), name


@pytest.mark.slow
def test_a_step_of_each_side_is_timed(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model", max_position_embeddings=2048)
    figures = ppo.compare(model, tmp_path, (3, 9), (2, 8), 1, torch.float32)
    assert [figure.name for figure in figures] == [
        "a step", "a step of the plain loop", "rollout", "scoring", "update", "plain / ours",
    ]  # fmt: skip
    assert all(figure.value > 0 for figure in figures)
    assert figures[-1].target == 1.5
