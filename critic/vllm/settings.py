"""The options of a spec of vLLM in this process, read."""

from collections.abc import Mapping
from dataclasses import dataclass

from base.errors import InputError
from critic.chats.template_options import NO_OPTIONS, TEMPLATE_OPTIONS, TemplateOptions, read_template_options
from critic.engine_kinds.options import SpecOption, check_known

_DTYPES = ("bfloat16", "float32")
_NUMBERS = ("context", "gpus", "kv_gib")
OPTIONS = (
    SpecOption("context", "all that the model was made for", "how many tokens of a chat the model sees at once"),
    SpecOption("dtype", "bfloat16 where the hardware multiplies it, else float32", "bfloat16 or float32"),
    SpecOption("gpus", "1", "over how many GPUs the model is spread"),
    SpecOption(
        "kv_gib",
        "4 on CPUs; on GPUs what vLLM takes, nearly all",
        "memory for keys and values, in GiB; two engines on one GPU both need it",
    ),
    *TEMPLATE_OPTIONS,
)


@dataclass(frozen=True, slots=True)
class VllmSettings:
    """A spec's options, read; None where vLLM or the hardware decides."""

    dtype: str | None
    context: int | None
    gpus: int | None
    kv_gib: int | None
    template: TemplateOptions = NO_OPTIONS


def settings(options: Mapping[str, str], where: str) -> VllmSettings:
    """Read a spec's options. Raises `InputError` for unknown ones and bad values."""
    check_known(options, OPTIONS, where)
    for key in _NUMBERS:
        if not (options.get(key, "1").isdecimal() and int(options.get(key, "1")) > 0):
            raise InputError(f"{key}={options[key]} is not a whole number above 0", where=where)
    if options.get("dtype", _DTYPES[0]) not in _DTYPES:
        raise InputError(f"dtype={options['dtype']} is none of {', '.join(_DTYPES)}", where=where)
    numbers = {key: int(options[key]) if key in options else None for key in _NUMBERS}
    return VllmSettings(options.get("dtype"), **numbers, template=read_template_options(options, where))
