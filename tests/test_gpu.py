"""`make gpu` on a CPU, with a tiny model and small numbers: so that it runs where a card is at last."""

import gc
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch.nn.attention import flex_attention
from transformers import AutoTokenizer

from benchmarks import gpu, grpo_steps, memory, plans, prefix_tree, training
from benchmarks.figures import Measurement
from critic.local import embedded, processor
from tests.trainers.tiny import write_model

CPU = torch.device("cpu")
SMALL = gpu.Size(
    trees=2, prompt=24, answer=12, pairs=1, written=4, longest=20, rows=4, batch=2, runs=1, prompts=2, samples=2, new=6,
    matrix=64, row=1024,
)  # fmt: skip
PARTS = (
    "matrix products", "packed and padded: log-probabilities (float32)", "packed and padded: gradients (bfloat16)",
    "FlexAttention, plain: what it gives", "FlexAttention, sinks: gradient of values", "judging is packed",
    "prefix tree",    "joining / static", "dpo / TRL", "reward / TRL", "grpo: TRL's step / ours",
    "dpo, LoRA: peak", "grpo, LoRA: peak",
    "dpo, LoRA, 8B: peak",
)  # fmt: skip
"""How figures of all parts begin."""


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny model in the embedded one's place, small numbers, and FlexAttention's gradient step by step."""
    folder = write_model(tmp_path / "tiny", max_position_embeddings=4096)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.pad_token is not None
    monkeypatch.setattr(embedded, "fetch", lambda: folder)
    monkeypatch.setattr(processor, "multiplies_bfloat16", lambda: True)
    monkeypatch.setattr(flex_attention, "_validate_device", lambda *states: None)
    monkeypatch.setattr(gpu, "has_gradient", lambda device: True)
    monkeypatch.setattr(gpu, "memory_of", lambda device: 2 * gpu.NEEDED)
    monkeypatch.setattr(gpu, "LONG", 224)
    monkeypatch.setitem(plans.SHAPES, "8B", {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 8})
    own: list[tuple[ModuleType, dict[str, Any]]] = [
        (prefix_tree, {"PRINCIPLES": 2}),
        (training, {"PROMPT": (3, 8), "ANSWER": (2, 6)}),
        (memory, {"LENGTH": 224, "ANSWER": 8, "words": lambda tokens, number: f"{number}" + " time" * (tokens // 8)}),
        (grpo_steps, {"WORDS": 10}),
    ]
    for module, sizes in own:
        for name, value in sizes.items():
            monkeypatch.setattr(module, name, value)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of TRL, of kernels that are not compiled, and of a gradient on CPUs
def test_all_of_it_runs_small_on_a_cpu(small: None) -> None:
    figures = gpu.measure(SMALL, CPU)
    names = [figure.name for figure in figures]
    assert not [figure for figure in figures if "failed" in figure.name or "not begun" in figure.name]
    for part in PARTS:
        assert any(name.startswith(part) for name in names), part
    exact = [figure for figure in figures if figure.name.endswith(", apart")]
    assert len(exact) == 24 and all(figure.reached for figure in exact), exact
    assert all(math.isfinite(figure.value) for figure in figures)
    text = gpu.section(figures, 1.0)
    assert text.startswith("## On a GPU\n\nPacked rows beside padded ones;") and "cores" in text
    gc.collect()


def test_a_part_that_fails_costs_no_other_and_misses() -> None:
    def broken() -> list[Measurement]:
        raise RuntimeError("no kernel image is available\nand more")

    [figure] = gpu.attempted("flex", broken)
    assert figure.name == "flex: failed" and figure.note == "RuntimeError: no kernel image is available"
    assert not figure.reached


def test_what_differs_misses() -> None:
    ones = torch.ones(4)
    assert gpu.apart("same", ones, ones, False).reached
    assert not gpu.apart("other", ones + 0.01, ones, False).reached
    assert not gpu.apart("other", 1.2 * ones, ones, True).reached


def test_without_a_card_it_says_so(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "default_device", lambda: CPU)
    assert gpu.main() == 2
    assert "no GPU here" in capsys.readouterr().err
