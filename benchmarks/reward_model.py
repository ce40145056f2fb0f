"""A small judge: the embedded model, trained on people's labels of harmlessness with TRL, and judged on other rows.

``python -m benchmarks.reward_model OUT`` makes a folder for ``rm:OUT``, with the split in it. Most rows of the HH set
train the model, the conversations that are held out measure it, through the engine ``rm`` and the mode ``rm``.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedTokenizerBase, set_seed
from trl.trainer.reward_config import RewardConfig
from trl.trainer.reward_trainer import RewardTrainer

from benchmarks import data
from benchmarks.figures import Measurement
from benchmarks.run import render
from constitution import load
from critic.chats.chat import Chat
from critic.evaluation import accuracy
from critic.evaluation.accuracy import Judged, Labelled
from critic.judging.modes.rm import Rm
from critic.local import embedded
from critic.local import reward_model as rm
from critic.local.loading import default_device, default_dtype
from critic.local.rewards import UNGROUPED, Manifest
from critic.records import Message

TITLE = "Reward model as a judge"
SEED = 0
BATCH = 8
LEARNING_RATE = 2e-5
MAX_TOKENS = 384
"""Of a chat that is trained on: on CPUs the long ones cost more time than they teach."""
TARGET = 0.55
MINUTES = 15


def train_and_measure(out: Path) -> list[Measurement]:
    """Train a model into ``out``, write its split beside it, and judge the held-out pairs with it."""
    labels, left_out = data.harmless(data.data_folder())
    held_out = [label for label in labels if data.is_held_out(label)]
    rows = encoded([label for label in labels if not data.is_held_out(label)])
    short = [row for row in rows if row["length"] <= MAX_TOKENS]
    trained = [row["id"] for row in short]
    too_long = [row["id"] for row in rows if row["length"] > MAX_TOKENS]
    reasons = {row.id: row.reason for row in left_out}
    split = {
        "trained": trained,
        "held_out": [label.id for label in held_out],
        "too_long": too_long,
        "left_out": reasons,
    }
    minutes = train(short, out) / 60
    (out / "split.json").write_text(json.dumps(split, indent=1) + "\n", encoding="utf-8")
    began = time.perf_counter()
    judged = asyncio.run(judge(out, held_out))
    rate = len(judged) / (time.perf_counter() - began)
    return [
        Measurement("training", minutes, "min", MINUTES, f"{len(short)} pairs of up to {MAX_TOKENS} tokens", "at most"),
        Measurement("judging", rate, "pairs/s", note="the model's loading included"),
        *agreement(judged),
    ]


def encoded(labels: Sequence[Labelled]) -> list[dict[str, Any]]:
    """Encode both chats of each pair as the engine ``rm`` does, and note the length of the longer one."""
    tokenizer = AutoTokenizer.from_pretrained(embedded.fetch())
    assert isinstance(tokenizer, PreTrainedTokenizerBase)
    chat = Chat(tokenizer, embedded.NAME)

    def ids(label: Labelled, answer: str) -> list[int]:
        messages = (*label.prompt.messages, Message(role="assistant", content=answer))
        return list(chat.whole(messages, "closed").ids)

    sides = [(label.id, ids(label, label.better), ids(label, label.worse)) for label in labels]
    return [
        {"id": id, "chosen_ids": chosen, "rejected_ids": rejected, "length": max(len(chosen), len(rejected))}
        for id, chosen, rejected in sides
    ]


def train(rows: Sequence[dict[str, Any]], out: Path) -> float:
    """Train on ``rows`` for one epoch, save the model into ``out``, and return the seconds that training took."""
    set_seed(SEED)  # the new head's weights are drawn when the model is loaded
    trainer = RewardTrainer(
        AutoModelForSequenceClassification.from_pretrained(embedded.fetch(), num_labels=1, dtype=torch.float32),
        args=settings(out),
        train_dataset=Dataset.from_list(list(rows)),
        processing_class=AutoTokenizer.from_pretrained(embedded.fetch()),
    )
    began = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - began
    trainer.save_model(str(out))
    Manifest(heads=(UNGROUPED,)).write(out)
    return seconds


def settings(out: Path) -> RewardConfig:
    """Return TRL's settings. It computes in bfloat16 where the hardware is fast at it, on a CPU only if told of it."""
    device = default_device()
    return RewardConfig(
        output_dir=str(out),
        seed=SEED,
        num_train_epochs=1,
        per_device_train_batch_size=BATCH,
        learning_rate=LEARNING_RATE,
        lr_scheduler_type="cosine",
        warmup_steps=0.1,
        train_sampling_strategy="group_by_length",
        remove_unused_columns=False,  # else "length" is gone before it is used
        use_cpu=device.type == "cpu",
        bf16=default_dtype(device) == torch.bfloat16,
        gradient_checkpointing=False,
        dataloader_pin_memory=device.type != "cpu",
        logging_steps=5,
        report_to="none",
        save_strategy="no",
    )


async def judge(folder: Path, labels: Sequence[Labelled]) -> list[Judged]:
    """Judge ``labels`` with the reward model in ``folder``."""
    engine = rm.open_engine(str(folder), {})
    # A reward model reads no principle; one is named all the same, because votes are asked for under principles.
    [principle, *_] = load("harmlessness@1.1.0").principles
    try:
        return await accuracy.judge(engine, Rm(), principle, labels)
    finally:
        await engine.close()


def agreement(judged: Sequence[Judged]) -> list[Measurement]:
    """How often the model, and length alone, agree with people; how far its probabilities are to be trusted."""
    measured = accuracy.figures(judged)
    shorter = accuracy.figures(accuracy.by_length([answer.label for answer in judged], longer=False))
    assert measured.accuracy and measured.calibration and shorter.accuracy
    interval = f"{len(judged)} held-out pairs, {measured.accuracy.low:.3f} to {measured.accuracy.high:.3f}"
    return [
        Measurement("agreement with people", measured.accuracy.estimate, "", TARGET, interval),
        Measurement("agreement of always the shorter answer", shorter.accuracy.estimate, ""),
        Measurement("expected calibration error", measured.calibration.estimate, ""),
        Measurement("pairs that could not be judged", measured.unreadable, "", 0, bound="at most"),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reward_model", description=__doc__)
    parser.add_argument("out", type=Path, help="the folder for the model")
    print(render(TITLE, "", train_and_measure(parser.parse_args().out)))
