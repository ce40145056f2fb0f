"""This project's reward model on people's labels of harmlessness, with the split and budget of TRL's.

``python -m benchmarks.reward_hh OUT`` does what `benchmarks.reward_model` does with TRL: the same rows, batch, learning
rate, epochs and lengths, the same held-out conversations, judged through the engine ``rm``. It takes a quarter of an
hour.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path

from transformers import set_seed

from benchmarks import data, reward_model
from benchmarks.figures import Measurement
from benchmarks.run import render
from critic.evaluation.accuracy import Labelled
from trainers import models
from trainers.batches.data import Data
from trainers.batches.examples import Pair
from trainers.methods.reward import RewardConfig, RewardTrainer

TITLE = "Reward model on HH harmless"
TRL = "TRL .629, .576 to .683"
"""What `benchmarks.reward_model` reached on the same held-out pairs (2026-11-22)."""
TRL_LOW = 0.576


def train_and_measure(out: Path, limit: int | None = None, trl_minutes: float | None = None) -> list[Measurement]:
    """Train a model into ``out`` and judge the held-out pairs with it; ``limit`` takes only so many of each."""
    labels, _ = data.harmless(data.data_folder())
    held_out = [label for label in labels if data.is_held_out(label)][:limit]
    trainer = trainer_of([label for label in labels if not data.is_held_out(label)][:limit], out)
    began = time.perf_counter()
    trainer.train()
    minutes = (time.perf_counter() - began) / 60
    trainer.save_model(str(out))
    trained = [example.where for example in trainer.examples.examples]
    too_long = [row.where for row in trainer.examples.refused]
    split = {
        "trained": trained,
        "held_out": [label.id for label in held_out],
        "too_long": too_long,
    }
    (out / "split.json").write_text(json.dumps(split, indent=1) + "\n", encoding="utf-8")
    accuracy, *others = reward_model.agreement(asyncio.run(reward_model.judge(out, held_out)))
    note = f"{accuracy.note}; {TRL}"
    rows = f"{len(trainer.examples)} pairs of up to {reward_model.MAX_TOKENS} tokens"
    beside = "" if trl_minutes is None else f"; TRL {trl_minutes:.1f} min"
    return [
        Measurement("training", minutes, "min", trl_minutes, rows + beside, "at most"),
        Measurement(accuracy.name, accuracy.value, "", TRL_LOW, note),
        *others,
    ]


def trainer_of(labels: Sequence[Labelled], out: Path) -> RewardTrainer:
    """Return a trainer of the embedded model with the settings of `benchmarks.reward_model.train`."""
    config = RewardConfig(
        output_dir=str(out),
        seed=reward_model.SEED,
        num_train_epochs=1,
        per_device_train_batch_size=reward_model.BATCH,
        learning_rate=reward_model.LEARNING_RATE,
        lr_scheduler_type="cosine",
        warmup_steps=0.1,
        max_length=reward_model.MAX_TOKENS,
        logging_steps=5,
        report_to="none",
        save_strategy="no",
    )
    pairs = (Pair(prompt=label.prompt, chosen=label.better, rejected=label.worse, where=label.id) for label in labels)
    set_seed(config.seed)  # the new head's weights are drawn when the model is loaded
    parent = models.reward_model(config, heads=1)
    return RewardTrainer(parent.model, config, Data(tuple(pairs)), parent.tokenizer)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reward_hh", description=__doc__)
    parser.add_argument("out", type=Path, help="the folder for the model")
    parser.add_argument("--limit", type=int, help="train and judge so many pairs only, to try it out")
    parser.add_argument("--trl-minutes", type=float, help="how long TRL's training took on this machine")
    asked = parser.parse_args()
    print(render(TITLE, "", train_and_measure(asked.out, asked.limit, asked.trl_minutes)))
