"""Steps of GRPO with the embedded model: this trainer's and TRL's, with answers of one length and the same reward.

Both write with the policy, read it and its reference, and take one update a step, of all answers. TRL writes by
transformers' ``generate``.
"""

import json
import random
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback

from benchmarks.prefix_tree import text
from critic.local import embedded
from critic.local.loading import default_device
from trainers.methods.grpo import GRPOConfig, GRPOTrainer
from trainers.online.run import load_policy, read_prompts
from trainers.online.writing.rollout import HfWriter

WORDS = 60
"""Of a prompt."""


class StepClock(TrainerCallback):
    """Notes when each step ends."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *args: Any, **named: Any) -> None:
        """See the class."""
        self.ends.append(time.perf_counter())

    @property
    def seconds(self) -> float:
        """What a step takes, without the first."""
        return median(after - before for before, after in zip(self.ends, self.ends[1:], strict=False))


def questions(count: int) -> list[str]:
    """Return prompts of random words."""
    rng = random.Random("grpo")
    return [text(rng, WORDS) for _ in range(count)]


def ours(folder: Path, prompts: int, samples: int, new: int, steps: int) -> float:
    """Return the seconds of a step of this trainer."""
    folder.mkdir(parents=True)
    rows = [json.dumps({"prompt": prompt}) for prompt in questions(prompts)]
    (folder / "prompts.jsonl").write_text("\n".join(rows) + "\n")
    config = GRPOConfig(
        output_dir=str(folder / "out"), model=str(embedded.fetch()), data=[str(folder / "prompts.jsonl")],
        reward="verify:max-words=20", rule="grpo", kl_estimator="k3", kl_coef=0.02, unfinished="reward",
        prompts_per_step=prompts, samples_per_prompt=samples, max_new_tokens=new, max_length=new + 256,
        rollout_batch=prompts * samples, per_device_train_batch_size=prompts, max_steps=steps, bf16=True,
        use_cpu=default_device().type == "cpu", report_to="none", disable_tqdm=True, save_strategy="no",
        alarm_kl=None, alarm_length=None, alarm_entropy=None, alarm_phrase=None, alarm_repetition=None,
    )  # fmt: skip
    trainee = load_policy(config)
    model: Any = trainee.model  # without adapters it is transformers' own
    clock = StepClock()
    asks = read_prompts(config, trainee.tokenizer)[0]
    trainer = GRPOTrainer(model, config, asks, trainee.tokenizer, callbacks=[clock])
    assert isinstance(trainer._writer, HfWriter)
    trainer._writer.stop_ids = frozenset()  # all answers are as long as they may be
    try:
        trainer.train()
    finally:
        trainer.close()
    return clock.seconds


def trl(folder: Path, prompts: int, samples: int, new: int, steps: int) -> float:
    """Return the seconds of a step of TRL's trainer."""
    from datasets import Dataset
    from trl.trainer.grpo_config import GRPOConfig as TheirConfig
    from trl.trainer.grpo_trainer import GRPOTrainer as TheirTrainer

    source = embedded.fetch()
    clock = StepClock()
    rewards: list[Any] = [reward]  # TRL's type wants lists that may hold None
    args = TheirConfig(
        output_dir=str(folder), loss_type="grpo", beta=0.02, num_generations=samples, max_completion_length=new,
        per_device_train_batch_size=prompts * samples, max_steps=steps, bf16=True, gradient_checkpointing=False,
        use_cpu=default_device().type == "cpu", report_to="none", disable_tqdm=True, save_strategy="no",
        generation_kwargs={"min_new_tokens": new}, dataloader_pin_memory=False,
    )  # fmt: skip
    trainer = TheirTrainer(
        model=AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32),
        args=args,
        reward_funcs=rewards,
        train_dataset=Dataset.from_list([{"prompt": [{"role": "user", "content": q}]} for q in questions(prompts)]),
        processing_class=AutoTokenizer.from_pretrained(source),
        callbacks=[clock],
    )
    trainer.train()
    return clock.seconds


def reward(completions: list[Any], **columns: Any) -> list[float]:
    """Give what the rule gives on the other side: something that depends on an answer's words."""
    return [4.0 if len(turns[0]["content"].split()) <= 20 else 0.0 for turns in completions]
