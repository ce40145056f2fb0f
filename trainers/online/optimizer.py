"""The optimiser of a loop of our own, with its schedule; and how long parts of a step take."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from transformers import Trainer, TrainingArguments, get_scheduler


def make_optimizer(
    args: TrainingArguments, weights: Iterable[nn.Parameter], updates: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """Return the optimiser that ``args`` names for ``weights``, and its schedule over ``updates``.

    Norms and biases, which are vectors, don't decay.
    """
    kind, settings = Trainer.get_optimizer_cls_and_kwargs(args)
    every = list(weights)
    groups = [
        {"params": [weight for weight in every if weight.ndim > 1], "weight_decay": args.weight_decay},
        {"params": [weight for weight in every if weight.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = kind([group for group in groups if group["params"]], **settings)
    scheduler = get_scheduler(
        args.lr_scheduler_type,
        optimizer,
        args.get_warmup_steps(updates),
        updates,
        dict(args.lr_scheduler_kwargs or {}),  # type: ignore[arg-type]  # the config has made it a dictionary
    )
    return optimizer, scheduler


@contextmanager
def timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Note under ``name`` how many seconds the block took, what it asked of a GPU included."""
    started = time.perf_counter()
    yield
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    seconds[name] = time.perf_counter() - started
