"""A model in bfloat16, computed in float32: as the same weights in float32, and with nothing changed afterwards."""

import copy

import pytest
import torch

from critic.local.proving.float32 import InFloat32
from tests import zoo


@pytest.mark.parametrize("name", ["llama", "mixtral", "gpt_oss", "lfm2"])
def test_it_is_what_the_same_weights_give_in_float32(name: str) -> None:
    narrow = zoo.build(name).bfloat16()
    wide = copy.deepcopy(narrow).float()
    ids = torch.arange(5, 45)[None]
    with torch.inference_mode():
        with InFloat32():
            logits = narrow(ids, use_cache=False).logits
        own = wide(ids, use_cache=False).logits
        rounded = narrow(ids, use_cache=False).logits
    assert logits.dtype == torch.float32
    assert float((logits - own).abs().max()) < 1e-4 < float((rounded - own).abs().max())
    assert {weight.dtype for weight in narrow.parameters()} == {torch.bfloat16}


def test_tensors_are_made_and_asked_about_as_float32() -> None:
    narrow = torch.ones(2, dtype=torch.bfloat16)
    with InFloat32():
        assert narrow.dtype == torch.float32
        assert torch.zeros(2, dtype=torch.float16).dtype == torch.float32
        assert narrow.to(torch.bfloat16).dtype == torch.float32
        assert torch.tensor([1]).dtype == torch.int64
        narrow[0] = 3.0
    assert narrow.dtype == torch.bfloat16
