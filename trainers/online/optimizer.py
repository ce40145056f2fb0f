"""The optimiser of a loop of our own, with its schedule; gradients of all processes; and how long parts take."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from accelerate import Accelerator
from torch import nn
from transformers import Trainer, TrainingArguments, get_scheduler

BUCKET = 1 << 24
"""Numbers that processes add up in one message: 64 MiB of float32, for which a network is at its full speed."""


def make_optimizer(
    args: TrainingArguments, weights: Iterable[nn.Parameter], updates: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """Return the optimiser that ``args`` names for ``weights``, and its schedule over ``updates``.

    Norms and biases, which are vectors, don't decay.
    """
    kind, settings = Trainer.get_optimizer_cls_and_kwargs(args)
    every = list(weights)
    params = [weight for weight in every if weight.ndim > 1]
    groups = [
        {"params": params, "weight_decay": args.weight_decay},
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


def add_up_gradients(accelerator: Accelerator, weights: Iterable[nn.Parameter]) -> None:
    """Give ``weights`` the sums of their gradients over all processes: many in one message, none a weight.

    A weight without a gradient in any of them, as that of an expert which no token went to, is left without one: with
    zeros in its place the optimiser would take a step, and decay it.
    """
    every = list(weights)
    here = [weight.grad is not None for weight in every]
    counts: torch.Tensor = accelerator.reduce(torch.tensor(here, dtype=torch.int32, device=accelerator.device))
    for bucket in _buckets(weight for weight, count in zip(every, counts.tolist(), strict=True) if count):
        grads = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in bucket]
        summed: torch.Tensor = accelerator.reduce(torch.cat([grad.flatten() for grad in grads]))
        for weight, part in zip(bucket, summed.split([weight.numel() for weight in bucket]), strict=True):
            weight.grad = part.view_as(weight)


def _buckets(weights: Iterable[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Yield the weights in their order, about so many together as make `BUCKET` numbers, of one type each."""
    bucket: list[nn.Parameter] = []
    size = 0
    for weight in weights:
        if bucket and (size + weight.numel() > BUCKET or weight.dtype != bucket[0].dtype):
            yield bucket
            bucket, size = [], 0
        bucket.append(weight)
        size += weight.numel()
    if bucket:
        yield bucket


@contextmanager
def timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Note under ``name`` how many seconds the block took, what it asked of a GPU included."""
    started = time.perf_counter()
    yield
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    seconds[name] = time.perf_counter() - started
