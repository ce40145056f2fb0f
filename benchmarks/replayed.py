"""Trains on batches that are given: what `benchmarks.same_losses` runs, as a script, on this checkout and on another.

So it imports nothing of this project but what both have: ``benchmarks.training``, of the checkout at PYTHONPATH.
"""

import json
import sys
import tempfile
from dataclasses import fields, replace
from typing import Any

import torch

from benchmarks import training

BATCH = 4
PROMPT, ANSWER = (10, 30), (5, 20)  # words
SEED = 3
HEAD = 0.04
"""The spread of a reward model's new head, which both sides are given."""

Batches = list[dict[str, Any]]
"""Batches as plain JSON: their fields, and of spans start, end and ancestors."""


def child(method: str, dtype: str, model: str, steps: int, batches: Batches | None) -> dict[str, Any]:
    """Train on ``batches``, else on the trainer's own; return its losses, and those batches."""
    training.PROMPT, training.ANSWER = PROMPT, ANSWER
    with tempfile.TemporaryDirectory() as out:
        settings = {
            "model": model,
            "output_dir": out,
            "per_device_train_batch_size": BATCH,
            "max_steps": steps,
            "learning_rate": 1e-6,
            "bf16": dtype == "bfloat16",
            "use_cpu": True,
            "report_to": "none",
            "save_strategy": "no",
            "logging_steps": 1,
            "disable_tqdm": True,
            "train_sampling_strategy": "sequential",
        }
        trainer = training.ours(method, training.rows_of(method, steps * BATCH), settings)
        if method == "reward":
            _same_head(trainer.model)
        seen = _replay(trainer, batches)
        trainer.train()
    return {"losses": [row["loss"] for row in trainer.state.log_history if "loss" in row], "batches": seen}


def _same_head(model: Any) -> None:
    with torch.no_grad():
        model.score.weight.normal_(0, HEAD, generator=torch.Generator().manual_seed(SEED))


def _replay(trainer: Any, batches: Batches | None) -> Batches:
    """Let ``trainer`` take ``batches`` one after the other; return the list that its own will be in."""
    collate, seen = trainer.data_collator, Batches()

    def collated(rows: Any) -> Any:
        inputs = collate(rows)
        number = len(seen)
        seen.append(_plain(inputs.batch))
        return inputs if batches is None else replace(inputs, batch=_like(inputs.batch, batches[number]))

    trainer.data_collator = collated
    return seen


def _plain(batch: Any) -> dict[str, Any]:
    plain = {}
    for name in (field.name for field in fields(batch) if field.name != "spans"):
        plain[name] = getattr(batch, name).tolist()
    plain["spans"] = [[span.start, span.end, list(map(list, span.ancestors))] for span in batch.spans]
    return plain


def _like(batch: Any, plain: dict[str, Any]) -> Any:
    """Return a batch of the class of ``batch``, which the other checkout may call otherwise."""
    span = type(batch.spans[0])
    spans = []
    for start, end, ancestors in plain["spans"]:
        spans.append(span(start, end, tuple(tuple(part) for part in ancestors)))
    tensors = {name: torch.tensor(values) for name, values in plain.items() if name != "spans"}
    return replace(batch, **tensors, spans=tuple(spans))


if __name__ == "__main__":
    print(json.dumps(child(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), json.load(sys.stdin))))
