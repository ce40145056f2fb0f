"""Opens a model that vLLM runs, in processes of its own (`critic.engines.vllm`)."""

import asyncio
import os
from typing import TYPE_CHECKING

from pydantic import ValidationError
from safetensors import SafetensorError

from base.errors import InputError
from critic.local.loading import first_line, model_folder
from critic.vllm.process_log import ProcessLog
from critic.vllm.settings import VllmSettings

if TYPE_CHECKING:
    from critic.vllm.engine import VllmEngine

# Asked once: starting vLLM sets it.
_IS_SHOWN = "VLLM_LOGGING_LEVEL" in os.environ


def open_engine(path_or_id: str, chosen: VllmSettings) -> "VllmEngine":
    """Load a model and start vLLM's processes.

    They inherit the calling program's main module, which must not start the program again when it is imported: a
    script needs its ``if __name__ == "__main__"``. What they print is kept from the terminal, unless the environment
    sets ``VLLM_LOGGING_LEVEL``. Raises `InputError` for a model that can't be used.
    """
    folder = model_folder(path_or_id)
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
    return first_line(error)


def _is_interrupted() -> bool:
    """Whether this task is to end: a Ctrl-C reaches vLLM's processes at once, but this one waits for them to load."""
    try:
        task = asyncio.current_task()
    except RuntimeError:  # called outside of any event loop
        return False
    return task is not None and task.cancelling() > 0
