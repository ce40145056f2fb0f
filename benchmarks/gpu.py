"""What only a GPU can tell: ``make gpu``, on one card, in at most eight minutes.

Packed rows beside padded ones; FlexAttention under autocast, forward and backward; judging through it; writing; steps
of DPO, reward models and GRPO beside TRL's, with their share of the bfloat16 peak; memory beside its plan. All with the
embedded model, float32 weights and bfloat16 products, and where the card has room for it the memory of a model of eight
billion random weights, too.

A part that fails is a line of the section, with its traceback printed, and the other parts still run. No part begins
after `LAST_START`. Tests run all of it on a CPU, with a tiny model and small numbers (`tests/test_gpu.py`).
"""

import gc
import inspect
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.masking_utils import chunked_causal_mask_function, sliding_window_causal_mask_function

from benchmarks import grpo_steps, memory, plans, prefix_tree, training, writing
from benchmarks.figures import Measurement, alternate, peak_memory
from benchmarks.run import render, row, write_section
from critic.chats.tokens import Segment, TokenTree
from critic.local import embedded
from critic.local.language_model import open_engine
from critic.local.loading import default_device, embedding_rows, first_line, load
from critic.local.trees import attention
from critic.local.trees.attention import AttentionPlan, AttentionRule, Mask, TreePlan
from critic.local.trees.flex import FlexPlan
from trainers.batches import forward
from trainers.batches.packing import Batch, packed, padded
from trainers.method import load as method_of
from trainers.planning.dry_run import case_of
from trainers.planning.settings import this_machine
from trainers.run import train

TITLE = "On a GPU"
NAME = "gpu"
LAST_START = 400
"""Seconds: the longest part takes a minute, and all together have eight."""
EXACT, ROUNDED = 1e-3, 0.05
"""How far apart two ways to compute the same may be, of its size: in float32, and where products are bfloat16."""
GIVEN = ("what it gives", "gradient of queries", "gradient of keys", "gradient of values")
NEAR = 20
"""Tokens of a window and of a chunk."""
LONG, NEEDED = 4096, 60e9
"""Tokens of a chat for a model of eight billion weights, and the bytes of a card that it is tried on."""


@dataclass(frozen=True)
class Size:
    """How much is computed: ``prompt``, ``answer``, ``longest``, ``new`` are tokens, ``matrix`` rows of a product."""

    trees: int = 8
    prompt: int = 512
    answer: int = 256
    pairs: int = 4
    written: int = 32
    longest: int = 128
    rows: int = 128
    batch: int = 16
    runs: int = 2
    prompts: int = 8
    samples: int = 8
    new: int = 96
    matrix: int = 8192
    row: int = 16384


def measure(size: Size, device: torch.device) -> list[Measurement]:
    """Run all parts. See the module's docstring."""
    began, figures = time.monotonic(), list[Measurement]()
    fastest = peak(size, device)
    figures.append(Measurement("matrix products in bfloat16: the peak", fastest / 1e12, "10^12 operations/s"))
    parts: dict[str, Callable[[], list[Measurement]]] = {
        "packed and padded": partial(parity, size, device),
        "FlexAttention": partial(flex, size, device),
        "judging": partial(judging, size, device),
        "writing": partial(writing.compare, embedded.fetch(), size.written, 16, size.longest, 1),
        "dpo": partial(steps, "dpo", size, fastest),
        "reward": partial(steps, "reward", size, fastest),
        "grpo": partial(grpo, size),
        "memory": partial(planned, device),
        "memory of 8B": partial(large, device),
    }
    for name, part in parts.items():
        if time.monotonic() - began > LAST_START:
            figures.append(Measurement(f"{name}: not begun", float("nan"), "", 0, f"{LAST_START} s had passed"))
            continue
        measured = attempted(name, part)
        print(f"{name}, {time.monotonic() - began:.0f} s:", *map(row, measured), sep="\n", flush=True)
        figures += measured
        gc.collect()
        torch.cuda.empty_cache()
    return figures


def attempted(name: str, part: Callable[[], list[Measurement]]) -> list[Measurement]:
    """Return the figures of a part; where it fails, a line that misses its target and says why."""
    try:
        return part()
    except Exception as error:  # kernels, compilers and drivers of unknown cards raise anything; the others still run
        traceback.print_exc()
        return [Measurement(f"{name}: failed", float("nan"), "", 0, f"{type(error).__name__}: {first_line(error)}")]


def peak(size: Size, device: torch.device) -> float:
    """Return how many operations a second matrix products in bfloat16 take here."""
    left, right = (torch.randn(size.matrix, size.matrix, device=device).bfloat16() for _ in range(2))
    taken = seconds(lambda: left @ right, device, 5)
    return 2 * size.matrix**3 / taken


def seconds(work: Callable[[], object], device: torch.device, runs: int) -> float:
    """Return how long ``work`` takes at its best, after one run to warm up."""
    taken = []
    for _ in range(runs + 1):
        started = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - started)
    return min(taken[1:])


def trees_of(size: Size, vocabulary: int) -> list[TokenTree]:
    """Return prompts of random tokens with two answers each, of several lengths."""
    draw = torch.Generator().manual_seed(0)

    def some(most: int) -> tuple[int, ...]:
        count = int(torch.randint(most // 2, most + 1, (1,), generator=draw))
        return tuple(torch.randint(0, vocabulary, (count,), generator=draw).tolist())

    return [
        TokenTree((Segment(some(size.prompt), -1), Segment(some(size.answer), 0), Segment(some(size.answer), 0)), ())
        for _ in range(size.trees)
    ]


def parity(size: Size, device: torch.device) -> list[Measurement]:
    """Log-probabilities and gradients of packed rows, beside those of the model's own way through padded ones."""
    model = load(str(embedded.fetch()), torch.float32, device, attention.NAME).model
    trees = trees_of(size, embedding_rows(model))
    figures = []
    for mixed in (False, True):
        ours = read(model, packed(trees).to(device), attention.NAME, mixed)
        theirs = read(model, padded(trees).to(device), attention.own(model), mixed)
        kind = "bfloat16" if mixed else "float32"
        for what, one, other in zip(("log-probabilities", "gradients"), ours, theirs, strict=True):
            figures.append(apart(f"packed and padded: {what} ({kind})", one, other, mixed))
    return figures


def read(model: PreTrainedModel, batch: Batch, attended: str, mixed: bool) -> tuple[Tensor, Tensor]:
    """Return the log-probability of each token that is read, and the gradient of a sum of them over all weights."""
    attention.attend_by(model, attended)
    model.zero_grad()
    with torch.autocast(batch.ids.device.type, torch.bfloat16, enabled=mixed):
        logprobs_M = forward.values(model, batch)
    counts_M = torch.linspace(-1, 1, len(logprobs_M), device=logprobs_M.device)
    (logprobs_M * counts_M).sum().backward()
    grads = [weight.grad.flatten() for weight in model.parameters() if weight.grad is not None]
    return logprobs_M.detach(), torch.cat(grads)


def apart(name: str, ours: Tensor, theirs: Tensor, mixed: bool) -> Measurement:
    """Return how far two tensors are apart, as a share of the length of the second."""
    share = float((ours.float() - theirs.float()).norm() / theirs.float().norm())
    return Measurement(f"{name}, apart", share, "", ROUNDED if mixed else EXACT, "of their length", "at most")


def has_gradient(device: torch.device) -> bool:
    """Whether FlexAttention has one: PyTorch refuses it on CPUs."""
    return device.type == "cuda"


def flex(size: Size, device: torch.device) -> list[Measurement]:
    """FlexAttention under autocast beside a call a span: what it gives, its gradient, and how long both take.

    Queries and keys come in float32 and values in bfloat16, as layers with rotary embeddings give them.
    """
    config = AutoConfig.from_pretrained(embedded.fetch()).get_text_config()
    heads, keyed = config.num_attention_heads, config.num_key_value_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    line = packed(trees_of(size, 100))
    draw = torch.Generator().manual_seed(1)
    query, key, value = (torch.randn(h, len(line.ids), width, generator=draw).to(device) for h in (heads, keyed, keyed))
    states = [state.requires_grad_(has_gradient(device)) for state in (query, key, value.bfloat16())]
    spans = list(line.spans)
    plans: tuple[AttentionPlan, AttentionPlan] = (FlexPlan(spans, device), TreePlan(spans, device))
    figures = []
    for kind, rule in rules(heads, width, device).items():
        both = [attended(plan, states, rule) for plan in plans]
        for name, ours, theirs in zip(GIVEN[: len(both[0])], *both, strict=True):
            figures.append(apart(f"FlexAttention, {kind}: {name}", ours, theirs, True))
    timed = [partial(attended, plan, states, AttentionRule(width**-0.5)) for plan in plans]
    fused, called = (seconds(work, device, size.runs) for work in timed)
    way = "forward and backward" if has_gradient(device) else "forward"
    note = f"a call a span: {1000 * called:.2f} ms; {len(line.ids):,} tokens, {way}"
    return [*figures, Measurement("FlexAttention, a layer", 1000 * fused, "ms", note=note)]


def rules(heads: int, width: int, device: torch.device) -> dict[str, AttentionRule]:
    """Return one rule of each kind that layers ask for."""
    scale, begin = width**-0.5, torch.zeros(1, dtype=torch.long, device=device)
    return {
        "plain": AttentionRule(scale),
        "window": AttentionRule(scale, Mask(sliding_window_causal_mask_function(NEAR), NEAR)),
        "chunks": AttentionRule(scale, Mask(chunked_causal_mask_function(NEAR, begin), NEAR)),
        "cap": AttentionRule(scale, softcap=1.0),
        "sinks": AttentionRule(scale, sinks=torch.linspace(-1, 1, heads, device=device)),
    }


def attended(plan: AttentionPlan, states: Sequence[Tensor], rule: AttentionRule) -> list[Tensor]:
    """Return what a layer gives, and its gradients where there are any."""
    with torch.autocast(states[0].device.type, torch.bfloat16):
        out = plan.attend(0, states[0], states[1], states[2], rule)
    if not out.requires_grad:
        return [out]
    return [out.detach(), *torch.autograd.grad(out.float().square().sum(), states)]


def judging(size: Size, device: torch.device) -> list[Measurement]:
    """Votes of prefix trees beside one prompt a vote, in rows of ``size.row`` tokens."""
    engine = open_engine(str(embedded.fetch()), {"dtype": "bfloat16", "row": str(size.row), "device": str(device)})
    with prefix_tree.closing(engine):
        how = engine.capabilities["scoring"]
        packs = Measurement("judging is packed", float(how.startswith("packed")), "", 1, how)
        return [packs, *prefix_tree.judging(engine, "bfloat16", size.pairs)]


def steps(method: str, size: Size, fastest: float) -> list[Measurement]:
    """Rows a second of a method beside TRL's, and the share of the peak."""
    rows = training.rows_of(method, size.rows)
    by_side: dict[str, list[dict[str, float]]] = {"ours": [], "trl": []}

    def rate(side: str) -> float:
        by_side[side].append(training.child(method, side, "bfloat16", rows, size.batch))
        return len(rows) / by_side[side][-1]["seconds"]

    for side in by_side:
        rate(side)  # what is compiled is compiled now
    measured = alternate(lambda: rate("ours"), lambda: rate("trl"), size.runs)
    notes = {}
    for side, results in by_side.items():
        shares = [result["operations"] / result["seconds"] / fastest for result in results[1:]]
        notes[side] = f"{results[0]['tokens']:,.0f} tokens; {median(shares):.1%} of the peak"
    return [
        Measurement(f"{method}", measured.a, "rows/s", note=notes["ours"]),
        Measurement(f"{method}, TRL", measured.b, "rows/s", note=notes["trl"]),
        Measurement(f"{method} / TRL", measured.ratio, "x", 1.0, measured.spread),
    ]


def grpo(size: Size) -> list[Measurement]:
    """Steps of GRPO beside TRL's: writing, rewards, references and update."""
    sizes = (size.prompts, size.samples, size.new)
    with tempfile.TemporaryDirectory() as folder:
        ours = grpo_steps.ours(Path(folder) / "ours", *sizes, steps=size.runs + 1)
        theirs = grpo_steps.trl(Path(folder) / "trl", *sizes, steps=size.runs + 1)
    answers = size.prompts * size.samples
    return [
        Measurement("grpo, a step", ours, "s", note=f"{answers} answers of {size.new} tokens"),
        Measurement("grpo, TRL's step", theirs, "s", note="by transformers' generate"),
        Measurement("grpo: TRL's step / ours", theirs / ours, "x", 1.0),
    ]


def planned(device: torch.device) -> list[Measurement]:
    """The most memory of a run beside what its plan says."""
    return [figure for method in ("dpo", "grpo") for figure in _planned(method, str(embedded.fetch()), device)]


def large(device: torch.device) -> list[Measurement]:
    """The same for DPO by LoRA of a Llama of eight billion random weights, with chats of `LONG` tokens."""
    name = "dpo, LoRA, 8B"
    if (room := memory_of(device)) < NEEDED:
        return [Measurement(f"{name}: not begun", room / 1e9, "GB", note=f"it needs {NEEDED / 1e9:.0f} GB")]
    with tempfile.TemporaryDirectory() as folder:
        config = plans.llama("8B", Path(folder) / "model")
        with device:
            model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(config), dtype=torch.bfloat16)
        model.save_pretrained(config)
        AutoTokenizer.from_pretrained(embedded.fetch()).save_pretrained(config)
        del model
        more = {"max_length": LONG, "gradient_checkpointing": True, "lora": plans.ADAPTERS}
        return _planned("dpo", str(config), device, name, more)


def memory_of(device: torch.device) -> int:
    """Return the bytes that a GPU has; 0 for a CPU."""
    return torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else 0


def _planned(
    method: str, model: str, device: torch.device, name: str = "", more: Mapping[str, Any] = MappingProxyType({})
) -> list[Measurement]:
    with tempfile.TemporaryDirectory() as folder:
        kind, on_cpu = method_of(method), device.type == "cpu"
        settings = memory.settings(method, True, Path(folder), more.get("max_length", memory.LENGTH))
        settings |= {"model": model, "use_cpu": on_cpu, "bf16": True} | dict(more)
        config = kind.config(**settings)
        plan = case_of(config, kind.plan, kind.work(config, 1), this_machine(config)).plan
        before = forget(device)
        train(config)
        measured = most(device) - before
    off = 100 * abs(plan.peak / max(measured, 1) - 1)
    bound = None if on_cpu else 100 * memory.WITHIN  # on CPUs each needs a process of its own: benchmarks.memory
    name = name or f"{method}, LoRA"
    return [
        Measurement(f"{name}: peak", measured / 1e9, "GB", note=f"planned {plan.peak / 1e9:.2f} GB"),
        Measurement(f"{name}: plan beside measurement", off, "%", bound, "off", "at most"),
    ]


def forget(device: torch.device) -> int:
    """Begin to measure anew; return the bytes that are held now."""
    if device.type == "cpu":
        return peak_memory()
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated()


def most(device: torch.device) -> int:
    """Return the most bytes that were held since."""
    return peak_memory() if device.type == "cpu" else torch.cuda.max_memory_allocated()


def section(figures: Sequence[Measurement], taken: float) -> str:
    """Return the section of RESULTS.md; its last line names the card."""
    about = " ".join((inspect.getdoc(sys.modules[__name__]) or "").split("\n\n")[1].split())
    return render(TITLE, about, figures, taken)


def main() -> int:
    """Measure on the card that is here, and write the section."""
    device = default_device()
    if device.type == "cpu":
        print("There is no GPU here. tests/test_gpu.py runs the same on a CPU, small.", file=sys.stderr)
        return 2
    began = time.monotonic()
    figures = measure(Size(), device)
    text = section(figures, time.monotonic() - began)
    print(text)
    write_section(NAME, text)
    return 0 if all(figure.reached for figure in figures) else 1


if __name__ == "__main__":
    raise SystemExit(main())
