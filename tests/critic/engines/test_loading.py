"""A device that fails is told in words, and nobody who waits for it is forgotten."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import torch

from base.errors import InputError
from critic.engine import EngineError, Request, Sampling
from critic.local import language_model
from critic.local.language_model import open_engine
from critic.local.loading import load
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
