"""The `vllm` engine: a model that vLLM runs, on GPUs or CPUs, in processes of its own. It was run on CPUs so far.

Spec: ``vllm:PATH_OR_ID?context=8192&dtype=bfloat16&gpus=1&kv_gib=4``, with the options of `critic.vllm.settings`.
"""

import importlib.util

from base.errors import InputError
from critic.engine import Engine
from critic.engine_kinds.kind import EngineKind
from critic.engine_kinds.model_files import expect_here, expect_to_load
from critic.vllm.settings import OPTIONS, settings


def _open(path_or_id: str, options: dict[str, str]) -> Engine:
    chosen = settings(options, path_or_id)
    _expect_vllm(path_or_id)
    from critic.vllm.opening import open_engine  # loads torch

    return open_engine(path_or_id, chosen)


def _expect_vllm(path_or_id: str) -> None:
    if importlib.util.find_spec("vllm") is None:
        raise InputError(
            "vLLM is not installed beside this program",
            where=f"vllm:{path_or_id}",
            fix="for CPUs `make vllm` makes .venv-vllm; its bin/cai has it; for GPUs pip install 'cai-feedback[vllm]'",
        )


def _expect_there(path_or_id: str, options: dict[str, str]) -> None:
    _expect_vllm(path_or_id)
    expect_to_load(path_or_id, options)


def _check(path_or_id: str, options: dict[str, str]) -> None:
    settings(options, path_or_id)


ENGINE = EngineKind(
    name="vllm",
    open=_open,
    check=_check,
    expect_here=expect_here,
    expect_there=_expect_there,
    target="PATH_OR_ID",
    options=OPTIONS,
    whole_trees=False,
    is_trainable=True,
    holds_weights=True,
)
