"""The `vllm` engine: a model that vLLM runs, on GPUs or CPUs, in processes of its own. It was run on CPUs so far.

Spec: ``vllm:PATH_OR_ID?context=8192&dtype=bfloat16&gpus=1&kv_gib=4``, with the options of `OPTIONS`.
"""

import asyncio
import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError
from safetensors import SafetensorError

from constitution.errors import InputError
from critic.engines.loading import _first_line, _folder
from critic.engines.options import Option, check_known
from critic.engines.process_log import ProcessLog
from critic.engines.template_options import NO_OPTIONS, TEMPLATE_OPTIONS, TemplateOptions, read_template_options

if TYPE_CHECKING:
    from critic.engines.vllm_engine import VllmEngine

# Asked once: starting vLLM sets it.
_IS_SHOWN = "VLLM_LOGGING_LEVEL" in os.environ
_DTYPES = ("bfloat16", "float32")
_NUMBERS = ("context", "gpus", "kv_gib")
OPTIONS = (
    Option("context", "all that the model was made for", "how many tokens of a chat the model sees at once"),
    Option("dtype", "bfloat16 where the hardware multiplies it, else float32", "bfloat16 or float32"),
    Option("gpus", "1", "over how many GPUs the model is spread"),
    Option(
        "kv_gib",
        "4 on CPUs; on GPUs what vLLM takes, nearly all",
        "memory for keys and values, in GiB; two engines on one GPU both need it",
    ),
    *TEMPLATE_OPTIONS,
)


@dataclass(frozen=True, slots=True)
class Settings:
    """A spec's options, read; None where vLLM or the hardware decides."""

    dtype: str | None
    context: int | None
    gpus: int | None
    kv_gib: int | None
    template: TemplateOptions = NO_OPTIONS


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
            from critic.engines.vllm_engine import VllmEngine

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


def settings(options: Mapping[str, str], where: str) -> Settings:
    """Read a spec's options. Raises `InputError` for unknown ones and bad values."""
    check_known(options, OPTIONS, where)
    for key in _NUMBERS:
        if not (options.get(key, "1").isdecimal() and int(options.get(key, "1")) > 0):
            raise InputError(f"{key}={options[key]} is not a whole number above 0", where=where)
    if options.get("dtype", _DTYPES[0]) not in _DTYPES:
        raise InputError(f"dtype={options['dtype']} is none of {', '.join(_DTYPES)}", where=where)
    numbers = {key: int(options[key]) if key in options else None for key in _NUMBERS}
    return Settings(options.get("dtype"), **numbers, template=read_template_options(options, where))
