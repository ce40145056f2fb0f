"""Loading a model: what fails is told in words, and a device that fails later leaves nobody waiting."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Gemma3TextConfig, LlamaConfig, RobertaConfig, RobertaForCausalLM

from base.errors import InputError
from critic.engine import Completion, EngineError, Request, Sampling
from critic.local import language_model
from critic.local.language_model import open_engine
from critic.local.loading import load, positions, unstretched
from critic.local.trees.decoding import Decoder
from critic.records import Message

CPU = torch.device("cpu")


def out_of_memory(*_: Any, **__: Any) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nof 1 GiB")


def test_a_model_that_does_not_fit_its_device(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.nn.Module, "to", out_of_memory)
    with pytest.raises(InputError, match=r"don't fit on cpu: CUDA out of memory.*\n.*smaller model"):
        load(str(tiny_model), torch.float32, CPU)


def test_a_gpu_that_another_program_holds(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*_: Any, **__: Any) -> None:
        raise RuntimeError("CUDA error: all CUDA-capable devices are busy or unavailable\nCUDA kernel errors ...")

    monkeypatch.setattr(language_model, "default_device", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch, "empty", busy)
    with pytest.raises(InputError, match=r"device=cuda can't be used on this machine: CUDA error: all.*\n.*device=cpu"):
        open_engine(str(tiny_model), {})


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_gpu_that_fails_for_good_leaves_nobody_waiting(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an error of a kernel, every further call to a GPU fails, that of freeing an answer's slot, too."""
    engine = open_engine(str(tiny_model), {"dtype": "float32"})

    def failed(*_: Any, **__: Any) -> None:
        raise RuntimeError("CUDA error: device-side assert triggered")

    monkeypatch.setattr(Decoder, "step", failed)
    monkeypatch.setattr(Decoder, "remove", failed)
    asked = Request((Message(role="user", content="Why?"),), Sampling(8), 0)
    answers = asyncio.gather(*(engine.complete(asked) for _ in range(3)), return_exceptions=True)
    for error in await asyncio.wait_for(answers, 20):
        assert isinstance(error, EngineError)
        assert "device-side assert" in str(error)
    await engine.close()


async def test_what_is_cancelled_before_its_turn_is_never_read(tiny_model: Path) -> None:
    engine = open_engine(str(tiny_model), {"dtype": "float32", "batch": "1"})

    def asked(text: str, tokens: int) -> asyncio.Task[Completion]:
        request = Request((Message(role="user", content=text),), Sampling(tokens), 0)
        return asyncio.create_task(engine.complete(request))

    endless, waiting = asked("a", 450), asked("x" * 90, 8)
    while not engine.usage.prompt_tokens:
        await asyncio.sleep(0.001)
    before = engine.usage.prompt_tokens
    waiting.cancel()
    endless.cancel()
    done = await asked("b", 8)
    assert engine.usage.prompt_tokens - before == done.prompt_tokens
    await engine.close()


def test_positions_after_the_one_of_padding_are_those_that_a_chat_may_have() -> None:
    config = RobertaConfig(
        vocab_size=20,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=18,
        is_decoder=True,
        pad_token_id=1,
    )
    model = RobertaForCausalLM(config)
    assert positions(model) == 16
    model(input_ids=torch.full((1, 16), 5))
    with pytest.raises((IndexError, RuntimeError)):
        model(input_ids=torch.full((1, 17), 5))


STRETCHING = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4, "original_max_position_embeddings": 64}
PLAIN = {"rope_type": "default", "rope_theta": 1e4}


def test_rotary_embeddings_that_change_in_long_rows_are_found_where_each_kind_of_layer_has_its_own() -> None:
    assert unstretched(LlamaConfig(max_position_embeddings=256)) is None
    assert unstretched(LlamaConfig(max_position_embeddings=256, rope_parameters=dict(STRETCHING))) == 64
    by_kind = {"full_attention": dict(STRETCHING), "sliding_attention": dict(PLAIN)}
    assert unstretched(Gemma3TextConfig(max_position_embeddings=256, rope_parameters=by_kind)) == 64
