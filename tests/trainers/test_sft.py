"""SFT: the loss is the weighted mean over answer tokens, and what was shown is written, end of turn included."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from critic.engine import Request, Sampling
from critic.local.language_model import open_engine
from tests.factories import prompt
from trainers.batches.examples import Demonstration
from trainers.methods.sft import SFTConfig, SFTTrainer

from .tiny import build, config_of, demonstrations, question

ANSWER = "It is a river."


def test_the_loss_is_the_weighted_mean_over_answer_tokens(policy: Path, tmp_path: Path) -> None:
    """Against transformers' own model, one example at a time: sum w_i NLL_i / sum w_i n_i."""
    shown = demonstrations(5)
    trainer = build(SFTTrainer, config_of(SFTConfig, policy, tmp_path), shown, shown)
    model = AutoModelForCausalLM.from_pretrained(policy, dtype=torch.float32)
    total, count = 0.0, 0.0
    for example in shown:
        tree = trainer.encoder.policy(example.prompt, example.answers)
        prompt_ids, answer_ids = (list(segment.ids) for segment in tree.segments)
        logprobs = model(torch.tensor([prompt_ids + answer_ids])).logits[0, len(prompt_ids) - 1 : -1].log_softmax(-1)
        total -= example.weight * logprobs.gather(-1, torch.tensor(answer_ids)[:, None]).sum().item()
        count += example.weight * len(answer_ids)
    metrics = trainer.evaluate()
    assert metrics["eval_loss"] == pytest.approx(total / count, rel=1e-5)
    assert trainer.evaluate()["eval_loss"] == metrics["eval_loss"], "evaluating changes nothing"


@pytest.mark.slow
async def test_what_was_shown_is_written_and_ended(policy: Path, tmp_path: Path) -> None:
    """After SFT on one answer to many questions, the engine writes it to another question, and stops by itself."""
    shown = [Demonstration(prompt=prompt(question(i)), answer=ANSWER) for i in range(40)]
    config = config_of(SFTConfig, policy, tmp_path, learning_rate=3e-3, num_train_epochs=8)
    trainer = build(SFTTrainer, config, shown)
    trainer.train()
    trainer.save_model(str(tmp_path / "model"))
    engine = open_engine(str(tmp_path / "model"), {"dtype": "float32"})
    try:
        written = await engine.complete(Request(prompt(question(77)).messages, Sampling(40, temperature=0), seed=0))
    finally:
        await engine.close()
    assert (written.text.strip(), written.finish) == (ANSWER, "stop")
