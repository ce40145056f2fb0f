"""Norms that round once, against transformers' own with a cast before each linear layer."""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from transformers.models.gemma.modeling_gemma import GemmaRMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from trainers.batches import norms


class Layer(nn.Module):
    """Has the children of a decoder's layer that norms what goes into its attention and its MLP."""

    def __init__(self, kind: Any) -> None:
        super().__init__()
        self.self_attn = nn.Identity()
        self.input_layernorm = kind(24, eps=1e-5)
        self.post_attention_layernorm = kind(24, eps=1e-5)


def layer() -> Layer:
    made = Layer(LlamaRMSNorm)
    with torch.no_grad():
        made.input_layernorm.weight.copy_(torch.linspace(0.3, 1.7, 24))
    return made


def states() -> Tensor:
    return torch.randn(1, 7, 24, generator=torch.Generator().manual_seed(1)).requires_grad_()


def values_and_gradients(norm: Any, states: Tensor) -> list[Tensor]:
    """Return what three linear layers make of the normed states, and the gradients, in bfloat16 compute."""
    generator = torch.Generator().manual_seed(2)
    weights = [torch.randn(5, 24, generator=generator) for _ in range(3)]
    with torch.autocast("cpu", torch.bfloat16):
        normed = norm(states)
        out = torch.cat([linear(normed, weight) for weight in weights], -1)
    factors = torch.linspace(-1, 1, out.numel()).view(out.shape)
    grads = torch.autograd.grad((out.float() * factors).sum(), [states, norm.weight])
    return [out.detach(), *grads]


def test_a_norm_that_rounds_once_gives_the_same_values_and_gradients() -> None:
    """The values are equal bit for bit; the gradient of three layers is added in bfloat16 instead of float32."""
    one, other = layer(), layer()
    assert norms.round_once(one) == 2  # type: ignore[arg-type]  # any module has layers
    mine, own = (values_and_gradients(made.input_layernorm, states()) for made in (one, other))
    assert torch.equal(mine[0], own[0])
    for gradient, expected in zip(mine[1:], own[1:], strict=True):
        assert gradient.dtype == torch.float32
        assert float((gradient - expected).norm() / expected.norm()) < 1e-2


def test_the_formula_has_the_gradient_of_the_norm_in_float32() -> None:
    norm, given = layer().input_layernorm, states()
    factors = torch.linspace(-1, 1, given.numel()).view(given.shape)
    mine = norms.rms_norm(given, norm.weight, 1e-5, torch.float32)
    for gradient, expected in zip(
        torch.autograd.grad((mine * factors).sum(), [given, norm.weight]),
        torch.autograd.grad((norm(given) * factors).sum(), [given, norm.weight]),
        strict=True,
    ):
        torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-5)


def test_without_autocast_a_norm_stays_what_it_was_and_a_copy_has_weights_of_its_own() -> None:
    made = layer()
    expected = made.input_layernorm(states())
    norms.round_once(made)  # type: ignore[arg-type]  # any module has layers
    assert torch.equal(made.input_layernorm(states()), expected)
    other = copy.deepcopy(made)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        other.input_layernorm.weight.zero_()
        assert other.input_layernorm(states()).abs().max() == 0
        assert made.input_layernorm(states()).abs().max() > 0


def test_other_formulas_and_other_places_are_left_alone() -> None:
    """Gemma's norm adds 1 to its weights; a layer with more norms adds what some give to what goes around it."""
    more = layer()
    more.post_feedforward_layernorm = LlamaRMSNorm(24)
    for made in (Layer(GemmaRMSNorm), Layer(nn.LayerNorm), more):
        assert norms.round_once(made) == 0  # type: ignore[arg-type]  # any module has layers
