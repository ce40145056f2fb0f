"""Rotary positions by one function, against transformers' own with a cast behind it."""

import copy
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaModel
from transformers.models.cohere import modeling_cohere
from transformers.models.llama import modeling_llama

from trainers.batches import rotation


def model() -> Any:
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=24,
        intermediate_size=40,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=6,
    )
    return LlamaModel(config).eval()


def states(dtype: torch.dtype) -> list[Tensor]:
    """Return a query and a key as attention layers make them, and the angles' cosines and sines."""
    generator = torch.Generator().manual_seed(2)
    query, key = (torch.randn(1, 9, heads, 16, generator=generator).to(dtype) for heads in (3, 1))
    angles = torch.randn(1, 9, 8, generator=generator).repeat(1, 1, 2)
    return [query.transpose(1, 2).requires_grad_(), key.transpose(1, 2).requires_grad_(), angles.cos(), angles.sin()]


def hidden_states(made: Any, autocast: bool) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        states: Tensor = made(input_ids=torch.arange(11)[None], use_cache=False).last_hidden_state
    return states


def test_the_values_are_those_of_transformers_rounded_and_so_are_the_gradients() -> None:
    given = states(torch.bfloat16)
    own = [turned.bfloat16() for turned in modeling_llama.apply_rotary_pos_emb(*given)]
    mine = [rotation.rotated(turned, *given[2:]) for turned in given[:2]]
    weights = [torch.randn(turned.shape, generator=torch.Generator().manual_seed(3)).bfloat16() for turned in own]
    for one, other in zip(mine, own, strict=True):
        assert one.dtype == torch.bfloat16 and torch.equal(one, other)
    gradients = torch.autograd.grad(mine, given[:2], weights)
    expected = torch.autograd.grad(own, given[:2], weights)
    for one, other in zip(gradients, expected, strict=True):
        assert one.dtype == torch.bfloat16
        # Of transformers' both halves are rounded before they are added.
        assert float((one.float() - other.float()).norm() / other.float().norm()) < 1e-2


def test_the_gradient_is_that_of_the_formula_in_float64() -> None:
    query, _, cos, sin = states(torch.float32)
    weights = torch.randn(query.shape, generator=torch.Generator().manual_seed(4))
    exact = query.detach().double().requires_grad_()
    own, _ = modeling_llama.apply_rotary_pos_emb(exact, exact, cos.double(), sin.double())
    [expected] = torch.autograd.grad((own * weights).sum(), exact)
    [gradient] = torch.autograd.grad((rotation.rotated(query, cos, sin) * weights).sum(), query)
    torch.testing.assert_close(gradient, expected.float(), rtol=1e-5, atol=1e-6)


def test_a_model_gives_the_same_under_autocast_and_without_it_and_so_does_a_copy() -> None:
    made = model()
    expected = {autocast: hidden_states(made, autocast) for autocast in (False, True)}
    assert rotation.rotate_once(made) == 2
    assert rotation.rotate_once(made) == 0  # they have a forward of their own by now
    other = copy.deepcopy(made)
    for autocast, states in expected.items():
        assert torch.equal(hidden_states(made, autocast), states)
        assert torch.equal(hidden_states(other, autocast), states)
    with torch.no_grad():
        other.layers[0].self_attn.q_proj.weight.zero_()
    assert not torch.equal(hidden_states(other, True), expected[True])
    assert torch.equal(hidden_states(made, True), expected[True])


def test_only_what_autocast_gives_is_rotated_here(monkeypatch: Any) -> None:
    made = model()
    calls: list[torch.dtype] = []

    def counted(states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        calls.append(states.dtype)
        return own(states, cos, sin)

    rotation.rotate_once(made)
    own = rotation.rotated
    monkeypatch.setattr(rotation, "rotated", counted)
    hidden_states(made, False)
    assert calls == []
    hidden_states(made, True)
    assert calls == [torch.bfloat16] * 4


def test_another_formula_is_left_alone() -> None:
    """Cohere's turns neighbours, where others turn halves; a norm behind it would get rounded numbers."""
    made = model()
    made.layers[0].self_attn.query_norm = torch.nn.Identity()
    assert rotation.rotate_once(made) == 1
    assert rotation._turns(modeling_llama.apply_rotary_pos_emb)
    assert not rotation._turns(modeling_cohere.apply_rotary_pos_emb)
