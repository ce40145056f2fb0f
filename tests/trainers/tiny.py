"""Tiny models, made here, and data that can be learnt: what the tests of the trainers share."""

import math
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification, set_seed

from critic.local.rewards import Manifest
from tests.critic.engines.conftest import TEMPLATE, make_tokenizer
from tests.factories import prompt
from trainers import models
from trainers.batches.data import Data
from trainers.batches.examples import Demonstration, Example, Pair
from trainers.batches.inputs import Collator, Inputs
from trainers.config import TrainConfig
from trainers.methods.reward import RewardConfig
from trainers.trainer import TreeTrainer

C = TypeVar("C", bound=TrainConfig)
T = TypeVar("T", bound=TreeTrainer)

NOUNS = ("river", "garden", "letter", "winter", "window", "teacher", "stone", "morning", "answer", "bread")
KIND, UNKIND = ("gladly", "thanks", "please"), ("never", "stupid", "nonsense")


def write_model(folder: Path, heads: Sequence[str] | None = None, template: str = TEMPLATE, **config: Any) -> Path:
    """Write a random Llama of two layers: a language model, or a reward model with ``heads``."""
    torch.manual_seed(5)
    tokenizer = make_tokenizer()
    tokenizer.chat_template = template
    sizes: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "initializer_range": 0.1,
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": None,
        "tie_word_embeddings": heads is None,
    }
    labels = {} if heads is None else {"num_labels": len(heads)}
    kind = LlamaForCausalLM if heads is None else LlamaForSequenceClassification
    kind(LlamaConfig(**(sizes | labels | config))).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if heads is not None:
        Manifest(heads=tuple(heads)).write(folder)
    return folder


def config_of(kind: type[C], model: Path, out: Path, **settings: Any) -> C:
    """Settings for a small run in float32 on the CPU, without warm-up or decay."""
    small: dict[str, Any] = {
        "output_dir": str(out),
        "model": str(model),
        "data": ["given in the test"],
        "max_length": 256,
        "use_cpu": True,
        "bf16": False,
        "per_device_train_batch_size": 8,
        "per_device_eval_batch_size": 16,
        "lr_scheduler_type": "constant",
        "learning_rate": 1e-3,
        "num_train_epochs": 1,
        "save_strategy": "no",
        "logging_steps": 1,
        "report_to": "none",
        "disable_tqdm": True,
    }
    return kind(**(small | settings))


def build(
    kind: type[T],
    config: TrainConfig,
    train: Iterable[Example],
    held_out: Iterable[Example] | None = None,
    **named: Any,
) -> T:
    """A trainer of the model that ``config`` names; a reward model gets as many heads as the manifest names."""
    manifest = named.get("manifest", Manifest(heads=("reward",)))
    set_seed(config.seed)
    loaded = (
        models.reward_model(config, len(manifest.heads)) if isinstance(config, RewardConfig) else models.policy(config)
    )
    held = None if held_out is None else data(held_out)
    return kind(loaded.model, config, data(train), loaded.tokenizer, held, **named)


def data(examples: Iterable[Example]) -> Data:
    """Examples as `trainers.batches.data.read` would return them, each with a place of its own."""
    return Data(tuple(e.model_copy(update={"where": f"rows.jsonl:{i}"}) for i, e in enumerate(examples, start=1)))


def question(number: int) -> str:
    """The text of prompt ``number``, unlike any other's."""
    return f"Tell me of {NOUNS[number % len(NOUNS)]} {number}."


def said(rng: random.Random, words: Sequence[str]) -> str:
    """Three words, of which one is taken from ``words``, anywhere."""
    text = rng.sample(NOUNS, 2)
    text.insert(rng.randrange(3), rng.choice(words))
    return " ".join(text)


def planted(count: int, first: int = 0, **fields: Any) -> list[Pair]:
    """Pairs whose chosen answer has a kind word in it, and the rejected one an unkind one."""
    rng = random.Random(f"planted {first}")
    return [
        Pair(prompt=prompt(question(first + i)), chosen=said(rng, KIND), rejected=said(rng, UNKIND), **fields)
        for i in range(count)
    ]


def demonstrations(count: int) -> list[Demonstration]:
    """The chosen answers of planted pairs, with weights that differ."""
    return [
        Demonstration(prompt=pair.prompt, answer=pair.chosen, weight=1 + i % 3) for i, pair in enumerate(planted(count))
    ]


def weighted(count: int) -> list[Pair]:
    """Planted pairs whose soft labels, weights and lengths differ."""
    return [
        pair.model_copy(
            update={"probability": 0.6 + 0.1 * (i % 4), "weight": 1.0 + i % 3, "chosen": pair.chosen * (1 + i % 3)}
        )
        for i, pair in enumerate(planted(count))
    ]


def model_of(trainer: TreeTrainer) -> Any:
    """The trainer's model, of which types know nothing."""
    return trainer.model


def batch_of(trainer: TreeTrainer, count: int) -> Inputs:
    """The trainer's first ``count`` examples as one batch."""
    return Collator("packed")([trainer.examples[i] for i in range(count)])


def weights(model: torch.nn.Module | None) -> dict[str, torch.Tensor]:
    """A copy of all parameters, by name."""
    assert model is not None
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def farthest(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """The greatest difference of two models' parameters."""
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def apart(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], start: dict[str, torch.Tensor]) -> float:
    """How far apart two trainings of ``start`` ended, as a share of the way that the other one went.

    No single weight decides: Adam moves one by a whole step, either way, where rounding is all of its gradient. What
    ``start`` has not, as the head of a reward model, went no way.
    """
    assert one.keys() == other.keys()
    went = sum(float((other[name] - start[name]).square().sum()) for name in other.keys() & start.keys())
    return math.sqrt(sum(float((one[name] - other[name]).square().sum()) for name in one) / went)
