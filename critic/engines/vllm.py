"""The `vllm` engine: a model that vLLM runs, on GPUs or CPUs, in processes of its own. It was run on CPUs so far.

Spec: ``vllm:PATH_OR_ID?context=8192&dtype=bfloat16&gpus=1&kv_gib=4``, with the options of `critic.vllm.settings`.
"""

import importlib.util

from base.errors import InputError
from critic.engine import Engine
from critic.engine_kinds.kind import EngineKind
from critic.vllm.settings import OPTIONS, settings


def _open(path_or_id: str, options: dict[str, str]) -> Engine:
    chosen = settings(options, path_or_id)
    if importlib.util.find_spec("vllm") is None:
        raise InputError(
            "vLLM is not installed beside this program",
            where=f"vllm:{path_or_id}",
            fix="for CPUs `make vllm` makes .venv-vllm; its bin/cai has it; for GPUs pip install 'cai-feedback[vllm]'",
        )
    from critic.vllm.opening import open_engine  # loads torch

    return open_engine(path_or_id, chosen)


def _check(path_or_id: str, options: dict[str, str]) -> None:
    settings(options, path_or_id)


ENGINE = EngineKind(
    name="vllm",
    open=_open,
    check=_check,
    target="PATH_OR_ID",
    options=OPTIONS,
    whole_trees=False,
    is_trainable=True,
    holds_weights=True,
)
