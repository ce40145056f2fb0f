import random
import warnings

import pytest
import torch
from transformers.masking_utils import chunked_causal_mask_function, sliding_window_causal_mask_function

from critic.chats.tokens import Segment, TokenTree, pack
from critic.local.trees.attention import Mask, Rule, TreePlan
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
    "plain": Rule(0.3),
    "window": Rule(0.3, Mask(sliding_window_causal_mask_function(4), 4)),
    "chunks": Rule(0.3, Mask(chunked_causal_mask_function(5, torch.zeros(1, dtype=torch.long)), 5)),
    "cap": Rule(0.3, softcap=0.5),
    "sinks": Rule(0.3, sinks=torch.tensor([0.5, -1.0, 2.0, 0.0])),
}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("seed", range(2))
@torch.no_grad()
def test_flex_attention_sees_what_the_tree_plan_sees(seed: int, rule: Rule) -> None:
    row = pack(forest(random.Random(seed)))
    torch.manual_seed(seed)
    query = torch.randn(4, len(row.ids), 8)
    key, value = torch.randn(2, len(row.ids), 8), torch.randn(2, len(row.ids), 8)
    cpu = torch.device("cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that it is slow unless it is compiled, which takes a compiler
        flex = FlexPlan(row.spans, cpu).attend(0, query, key, value, rule)
    torch.testing.assert_close(flex, TreePlan(row.spans, cpu).attend(0, query, key, value, rule), rtol=0, atol=1e-5)


def test_cpus_have_the_plan_with_a_gradient() -> None:
    row = pack(forest(random.Random(0)))
    assert isinstance(tree_plan(row.spans, torch.device("cpu")), TreePlan)
