"""Losses of the same batches, by these trainers and by another checkout's: ``benchmarks.training --beside`` ends so.

Both sides start from the same weights and take the same steps on this checkout's batches, each with its own trainer:
loss, gradient, clipping, optimiser and schedule. In float32 the losses are to be the same but for the order of sums.

In bfloat16 they can't be: what a loss reads of an answer is rounded at every layer, which moves it more than the first
steps do, and two orders of the same sums round otherwise. How much that is stands beside the figure: how far the other
checkout's losses are from its own, where its weights begin a millionth of each apart.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.figures import Measurement
from critic.local import embedded

STEPS = 20
SAME = 1e-3
MILLIONTH = 1e-6
SEED = 3
ROOT = Path(__file__).parents[1]

Batches = list[dict[str, Any]]
"""Batches as plain JSON: see `benchmarks.replayed`."""


def beside(methods: Sequence[str], checkout: Path) -> Iterator[Measurement]:
    """Yield how far the losses of each of ``methods`` are apart, in float32 and in bfloat16."""
    with tempfile.TemporaryDirectory() as scratch:
        moved = str(nudged(Path(scratch)))
        for method in methods:
            mine, batches = losses(method, "float32", "embedded", None, ROOT)
            other, _ = losses(method, "float32", "embedded", batches, checkout)
            note = f"{STEPS} steps on the same batches"
            yield Measurement(f"{method}, losses in float32", apart(mine, other), "apart", SAME, note, "at most")
            mine, _ = losses(method, "bfloat16", "embedded", batches, ROOT)
            other, _ = losses(method, "bfloat16", "embedded", batches, checkout)
            near, _ = losses(method, "bfloat16", moved, batches, checkout)
            note = f"the other checkout from weights a millionth apart: {apart(other, near):.2g} from itself"
            yield Measurement(f"{method}, losses in bfloat16", apart(mine, other), "apart", note=note)


def apart(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the largest difference of the losses of a step."""
    return max(abs(first - second) for first, second in zip(one, other, strict=True))


def nudged(folder: Path) -> Path:
    """Write the embedded model with each weight changed by about a millionth of itself, and return its folder."""
    source = embedded.fetch()
    model: Any = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    generator = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1 + MILLIONTH * torch.randn(weight.shape, generator=generator))
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    return folder


def losses(method: str, dtype: str, model: str, batches: Batches | None, root: Path) -> tuple[list[float], Batches]:
    """Return what `benchmarks.replayed` does, in a process of its own that imports from the checkout at ``root``."""
    environment = os.environ | {"PYTHONPATH": str(root)}
    script = ROOT / "benchmarks" / "replayed.py"  # also for a checkout that has none
    command = [sys.executable, "-P", str(script), method, dtype, model, str(STEPS)]
    given = json.dumps(batches)
    done = subprocess.run(
        command, cwd=root, env=environment, input=given, stdout=subprocess.PIPE, text=True, check=True
    )
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured["losses"], measured["batches"]
