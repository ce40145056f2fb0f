import contextlib
import functools
import itertools
import random
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch._dynamo.utils import counters
from torch.nn.attention import flex_attention
from transformers.masking_utils import chunked_causal_mask_function, sliding_window_causal_mask_function

from critic.chats.tokens import Segment, TokenTree, pack
from critic.local.trees import flex
from critic.local.trees.attention import AttentionPlan, AttentionRule, Mask, TreePlan
from critic.local.trees.flex import FlexPlan, tree_plan


def forest(rng: random.Random) -> list[TokenTree]:
    """Two to four trees of up to three levels; some segments are empty."""
    trees = []
    for _ in range(rng.randint(2, 4)):
        segments = [Segment(tuple(range(rng.randint(1, 9))), -1)]
        for _ in range(rng.randint(0, 3)):
            segments.append(Segment(tuple(range(rng.randint(0, 5))), 0))
            if rng.random() < 0.5:
                segments.append(Segment(tuple(range(rng.randint(1, 4))), len(segments) - 1))
        trees.append(TokenTree(tuple(segments), ()))
    return trees


RULES = {
    "plain": AttentionRule(0.3),
    "window": AttentionRule(0.3, Mask(sliding_window_causal_mask_function(4), 4)),
    "chunks": AttentionRule(0.3, Mask(chunked_causal_mask_function(5, torch.zeros(1, dtype=torch.long)), 5)),
    "cap": AttentionRule(0.3, softcap=0.5),
    "sinks": AttentionRule(0.3, sinks=torch.tensor([0.5, -1.0, 2.0, 0.0])),
}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("seed", range(2))
@torch.no_grad()
def test_flex_attention_sees_what_the_tree_plan_sees(seed: int, rule: AttentionRule) -> None:
    row = pack(forest(random.Random(seed)))
    torch.manual_seed(seed)
    query = torch.randn(4, len(row.ids), 8)
    key, value = torch.randn(2, len(row.ids), 8), torch.randn(2, len(row.ids), 8)
    cpu = torch.device("cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that it is slow unless it is compiled, which takes a compiler
        flex = FlexPlan(row.spans, cpu).attend(0, query, key, value, rule)
    torch.testing.assert_close(flex, TreePlan(row.spans, cpu).attend(0, query, key, value, rule), rtol=0, atol=1e-5)


@contextlib.contextmanager
def gradients_on_cpus(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """PyTorch refuses FlexAttention's gradient on CPUs; computed step by step it is right there, too."""
    with warnings.catch_warnings(), monkeypatch.context() as patched:
        warnings.simplefilter("ignore")  # as above
        patched.setattr(flex_attention, "_validate_device", lambda *states: None)
        yield


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("mixed", [False, True], ids=["float32", "autocast"])
def test_its_gradient_is_that_of_the_tree_plan(
    mixed: bool, rule: AttentionRule, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under autocast layers give queries and keys in float32, as rotary embeddings do, and values in bfloat16."""
    row, cpu = pack(forest(random.Random(1))), torch.device("cpu")
    torch.manual_seed(1)
    query, key, value = (torch.randn(heads, len(row.ids), 8) for heads in (4, 2, 2))
    value, upstream = value.to(torch.bfloat16 if mixed else torch.float32), torch.randn(len(row.ids), 4, 8)
    results = []
    with gradients_on_cpus(monkeypatch), torch.autocast("cpu", torch.bfloat16, enabled=mixed):
        plans: tuple[AttentionPlan, AttentionPlan] = (FlexPlan(row.spans, cpu), TreePlan(row.spans, cpu))
        for plan in plans:
            states = [state.clone().requires_grad_() for state in (query, key, value)]
            out = plan.attend(0, states[0], states[1], states[2], rule)
            assert out.dtype == (torch.bfloat16 if mixed else torch.float32)
            results.append([out.detach(), *torch.autograd.grad((out.float() * upstream).sum(), states)])
    for ours, theirs in zip(*results, strict=True):
        assert ours.dtype == theirs.dtype
        scale = float(theirs.float().abs().max())
        torch.testing.assert_close(ours.float(), theirs.float(), rtol=0, atol=scale * (0.05 if mixed else 1e-5))


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The kernel that GPUs have, but for what is generated: it is traced, guarded and compiled again as it is there."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    flex._compiled.cache_clear()
    yield flex._compiled()
    flex._compiled.cache_clear()


def test_one_process_has_a_kernel_for_each_mask_type_and_gradient(kernel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch gives up after eight, and then computes all scores one by one, in silence."""
    row, cpu = pack(forest(random.Random(2))), torch.device("cpu")
    compiled = counters["stats"]["unique_graphs"]
    torch.manual_seed(2)
    states = [torch.randn(heads, len(row.ids), 8) for heads in (4, 2, 2)]
    with gradients_on_cpus(monkeypatch):
        for dtype, learns, rule in itertools.product((torch.float32, torch.bfloat16), (False, True), RULES.values()):
            plans = FlexPlan(row.spans, cpu), TreePlan(row.spans, cpu)
            plans[0]._kernel = kernel
            query, key, value = (state.to(dtype, copy=True).requires_grad_(learns) for state in states)
            with torch.set_grad_enabled(learns):
                ours, theirs = (plan.attend(0, query, key, value, rule) for plan in plans)
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5 if dtype == torch.float32 else 0.03)
    assert counters["stats"]["unique_graphs"] - compiled >= 2 * 2 * len(RULES) - 4


def test_a_kernel_serves_calls_with_autocast_and_without(kernel: Any) -> None:
    row, cpu = pack(forest(random.Random(2))), torch.device("cpu")
    query, key, value = (torch.randn(heads, len(row.ids), 8, dtype=torch.bfloat16) for heads in (4, 2, 2))
    plan = FlexPlan(row.spans, cpu)
    plan._kernel = kernel
    compiled = counters["stats"]["unique_graphs"]
    for mixed in (False, True):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            plan.attend(0, query, key, value, RULES["plain"])
    assert counters["stats"]["unique_graphs"] == compiled + 1


def test_cpus_have_the_plan_with_a_gradient() -> None:
    row = pack(forest(random.Random(0)))
    assert isinstance(tree_plan(row.spans, torch.device("cpu")), TreePlan)
