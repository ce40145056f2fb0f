"""The `vllm` engine without vLLM: its spec, and what is said where vLLM is not installed; e2e has the rest."""

import importlib.util

import pytest

from base.errors import InputError
from critic.engines import open_engine, parse_spec
from critic.vllm.settings import VllmSettings, settings


def test_options_are_read() -> None:
    given = {"dtype": "float32", "context": "4096", "gpus": "2", "kv_gib": "8"}
    assert settings(given, "m") == VllmSettings(dtype="float32", context=4096, gpus=2, kv_gib=8)
    assert settings({}, "m") == VllmSettings(dtype=None, context=None, gpus=None, kv_gib=None)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("batch=4", "unknown option 'batch'\n.*known options: context, dtype, gpus, kv_gib"),
        ("context=0", "context=0 is not a whole number above 0"),
        ("kv_gib=1.5", "kv_gib=1.5 is not a whole number above 0"),
        ("gpus=", "gpus= is not a whole number above 0"),
        ("dtype=int8", "dtype=int8 is none of bfloat16, float32"),
    ],
)
def test_bad_options_are_refused(option: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        open_engine(parse_spec(f"vllm:some/model?{option}"))


def test_without_vllm_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"vLLM is not installed beside this program\n.*`make vllm`"):
        open_engine(parse_spec("vllm:some/model"))
