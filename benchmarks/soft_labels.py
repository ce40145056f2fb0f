"""Soft labels against hard ones: reward models that learn from a noisy judge whose pairs have known probabilities.

An answer's strength is half the number of its good words less that of its bad ones; the first of two is better with the
probability sigma(difference). The judge says that probability with noise on its log-odds. One model learns from what
it says, the other only from which side it takes; same pairs, weights, order. Five seeds draw all of it anew.
"""

import random
import tempfile
from collections.abc import Sequence
from math import exp
from statistics import fmean, stdev
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import (
    AutoTokenizer,
    LlamaConfig,
    LlamaForSequenceClassification,
    PreTrainedTokenizerBase,
    PrinterCallback,
    set_seed,
)

from benchmarks.figures import Measurement
from critic.local import embedded
from critic.local.trees import attention
from critic.records import Message, Prompt
from trainers.batches.data import Data
from trainers.batches.examples import Pair
from trainers.batches.packing import packed
from trainers.methods.reward import RewardConfig, RewardTrainer

TITLE = "Soft labels"
SEEDS, PAIRS, HELD_OUT, EPOCHS = 5, 400, 400, 3
NOISE = 1.0
"""The standard deviation of the judge's error, in log-odds."""
WORDS = 6
GOOD, BAD = ("kindly", "gladly", "surely", "clearly"), ("never", "badly", "rudely", "vaguely")
NEUTRAL = ("river", "garden", "letter", "winter", "window", "teacher", "stone", "morning")

Truth = tuple[Pair, float]
"""A pair, and the probability that its first answer (``chosen``) is better."""


def measure() -> list[Measurement]:
    """See the module's docstring."""
    tokenizer = AutoTokenizer.from_pretrained(embedded.fetch())
    assert isinstance(tokenizer, PreTrainedTokenizerBase)
    errors = [compare(seed, tokenizer, PAIRS, EPOCHS) for seed in range(SEEDS)]
    soft = [run[0] for run in errors]
    hard = [run[1] for run in errors]
    floor = fmean(run[2] for run in errors)
    figures = []
    for i, name in enumerate(("held-out NLL", "calibration error")):
        limit = (
            f"the probabilities' own entropy is {floor:.3f}" if i == 0 else "mean distance from the true probability"
        )
        figures.append(_spread(f"{name}, soft labels", [run[i] for run in soft], limit))
        figures.append(_spread(f"{name}, hard labels", [run[i] for run in hard]))
        gains = [one[i] - other[i] for one, other in zip(hard, soft, strict=True)]
        worst = f"of {SEEDS} seeds, mean {fmean(gains):.3f} ± {stdev(gains):.3f}"
        figures.append(Measurement(f"{name}, least gain of soft labels", min(gains), "", 0.0, worst))
    return figures


def compare(
    seed: int, tokenizer: PreTrainedTokenizerBase, pairs: int, epochs: int
) -> tuple[tuple[float, float], tuple[float, float], float]:
    """Return (NLL, calibration error) with soft labels and with hard ones, and the lowest NLL that there can be."""
    train, held_out = drawn(f"train {seed}", pairs), drawn(f"held out {seed}", HELD_OUT)
    judge = random.Random(f"judge {seed}")
    said = [_sigma(_log_odds(p) + judge.gauss(0, NOISE)) for _, p in train]
    soft = [pair.model_copy(update={"probability": p}) for (pair, _), p in zip(train, said, strict=True)]
    hard = [pair.model_copy(update={"probability": float(p > 0.5)}) for (pair, _), p in zip(train, said, strict=True)]
    truth = np.array([p for _, p in held_out])
    sides = [quality(predicted(learnt, held_out, tokenizer, seed, epochs), truth) for learnt in (soft, hard)]
    return sides[0], sides[1], quality(truth, truth)[0]


def drawn(seed: str, count: int) -> list[Truth]:
    """Draw pairs of different answers, with their true probabilities."""
    rng = random.Random(seed)
    truths: list[Truth] = []
    while len(truths) < count:
        first, second = (rng.choices((*GOOD, *BAD, *NEUTRAL), k=WORDS) for _ in range(2))
        asked = Prompt(messages=(Message(role="user", content=f"Tell me of {rng.choice(NEUTRAL)} {len(truths)}."),))
        if first != second:
            pair = Pair(prompt=asked, chosen=" ".join(first), rejected=" ".join(second))
            truths.append((pair, _sigma(_strength(first) - _strength(second))))
    return truths


def predicted(
    pairs: Sequence[Pair], held_out: Sequence[Truth], tokenizer: PreTrainedTokenizerBase, seed: int, epochs: int
) -> NDArray[np.float64]:
    """Train a reward model on ``pairs`` and return the probability that it gives to each pair held out."""
    with tempfile.TemporaryDirectory() as folder:
        config = RewardConfig(
            output_dir=folder,
            seed=seed,
            num_train_epochs=epochs,
            per_device_train_batch_size=16,
            learning_rate=3e-3,
            lr_scheduler_type="cosine",
            bf16=False,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        trainer = RewardTrainer(tiny(tokenizer, seed), config, Data(tuple(pairs)), tokenizer)
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    model: Any = trainer.model
    model.eval()
    probabilities: list[float] = []
    for pair, _ in held_out:
        batch = packed([trainer.encoder.reward(pair.prompt, pair.answers)]).to(trainer.args.device)
        with torch.no_grad():
            first, second = model(batch=batch).squeeze(-1).tolist()
        probabilities.append(_sigma(first - second))
    return np.array(probabilities)


def tiny(tokenizer: PreTrainedTokenizerBase, seed: int) -> LlamaForSequenceClassification:
    """A random reward model of two layers."""
    set_seed(seed)
    config = LlamaConfig(  # type: ignore[call-arg]  # its fields have no types
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=512,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        num_labels=1,
        attn_implementation=attention.NAME,
    )
    return LlamaForSequenceClassification(config)


def quality(predicted: NDArray[np.float64], truth: NDArray[np.float64]) -> tuple[float, float]:
    """Return the expected negative log-likelihood under the true probabilities, and the mean distance from them."""
    p = predicted.clip(1e-12, 1 - 1e-12)
    nll = -(truth * np.log(p) + (1 - truth) * np.log(1 - p))
    return float(nll.mean()), float(np.abs(predicted - truth).mean())


def _strength(words: Sequence[str]) -> float:
    return sum((word in GOOD) - (word in BAD) for word in words) / 2


def _log_odds(p: float) -> float:
    return float(np.log(p) - np.log1p(-p))


def _sigma(x: float) -> float:
    return 1 / (1 + exp(-x))


def _spread(name: str, values: Sequence[float], note: str = "") -> Measurement:
    return Measurement(name, fmean(values), "", note=f"± {stdev(values):.3f} over seeds{'; ' if note else ''}{note}")
