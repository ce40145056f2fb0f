"""The `vllm` engine: a model that vLLM runs, on GPUs or CPUs, in processes of its own. It was run on CPUs so far.

Spec: ``vllm:PATH_OR_ID?context=8192&dtype=bfloat16&gpus=1&kv_gib=4``, with the options of `OPTIONS`.
"""

import asyncio
import importlib.util
import os
from typing import TYPE_CHECKING

from pydantic import ValidationError
from safetensors import SafetensorError

from base.errors import InputError
from critic.local.loading import _first_line, _folder
from critic.vllm.process_log import ProcessLog
from critic.vllm.settings import OPTIONS as OPTIONS
from critic.vllm.settings import settings

if TYPE_CHECKING:
    from critic.vllm.engine import VllmEngine

# Asked once: starting vLLM sets it.
_IS_SHOWN = "VLLM_LOGGING_LEVEL" in os.environ


def open_engine(path_or_id: str, options: dict[str, str]) -> "VllmEngine":
    """Load a model and start vLLM's processes; see the module's docstring for the options.

    They inherit the calling program's main module, which must not start the program again when it is imported: a
    script needs its ``if __name__ == "__main__"``. What they print is kept from the terminal, unless the environment
    sets ``VLLM_LOGGING_LEVEL``. Raises `InputError` for an unknown option or value, for a model that can't be used,
    and where vLLM is not installed.
    """
    chosen = settings(options, path_or_id)
    if importlib.util.find_spec("vllm") is None:
        raise InputError(
            "vLLM is not installed beside this program",
            where=f"vllm:{path_or_id}",
            fix="for CPUs `make vllm` makes .venv-vllm; its bin/cai has it; for GPUs pip install 'cai-feedback[vllm]'",
        )
    folder = _folder(path_or_id)
    log = ProcessLog(is_shown=_IS_SHOWN)
    try:
        with log.taking():
            # Importing vLLM prints, too, and what it reads from the environment is set before.
            from critic.vllm.engine import VllmEngine

            return VllmEngine(folder, path_or_id, chosen, log)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        reason = log.reason() or _said(error)
        log.close()
        if _is_interrupted():
            raise asyncio.CancelledError from error
        raise InputError(
            f"vLLM can't run it: {reason}",
            where=path_or_id,
            fix="a Hugging Face folder with safetensors is expected; the spec's options: context, dtype, gpus, kv_gib",
        ) from error


def _said(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return error.errors()[0]["msg"].removeprefix("Value error, ")
    return _first_line(error)


def _is_interrupted() -> bool:
    """Whether this task is to end: a Ctrl-C reaches vLLM's processes at once, but this one waits for them to load."""
    try:
        task = asyncio.current_task()
    except RuntimeError:  # called outside of any event loop
        return False
    return task is not None and task.cancelling() > 0
