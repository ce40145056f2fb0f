"""The options of an engine's spec, as a table: what is known of each before anything is opened.

Every engine's module has its own as ``OPTIONS``. From them come the refusal of an unknown one, and docs/ENGINES.md.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from base.errors import InputError
from base.nearest import nearest

# A model's chat template has variables of its own: ``template.KEY`` stands for all of them.
TEMPLATE_PREFIX = "template."
TEMPLATE_KEY = f"{TEMPLATE_PREFIX}KEY"

# What others call these options.
_ALIASES = {
    "batch_size": "batch",
    "api_key_env": "key_env",
    "max_concurrency": "concurrency",
    "requests_per_minute": "rpm",
    "tokens_per_minute": "tpm",
    "tensor_parallel": "gpus",
    "max_model_len": "context",
    "max_length": "context",
    "thinking": "think",
    "enable_thinking": "think",
    "torch_dtype": "dtype",
}


@dataclass(frozen=True, slots=True)
class SpecOption:
    """One option: what it does, and what it is where it isn't given."""

    name: str
    default: str
    about: str


def name_of(key: str) -> str:
    """Return what option ``key`` is called in lists of known options: ``template.KEY`` for a template's variable."""
    return TEMPLATE_KEY if key.startswith(TEMPLATE_PREFIX) else key


def check_known(keys: Iterable[str], options: Sequence[SpecOption], where: str) -> None:
    """Raise `InputError` for a key that is none of ``options``, with the one that was meant, or all of them."""
    known = [option.name for option in options]
    for key in sorted(keys):
        if name_of(key) not in known:
            near = nearest(key, known, _ALIASES)
            listed = f"known options: {', '.join(known)}" if known else "it has none"
            fix = f"did you mean {near!r}? {listed}" if near else listed
            raise InputError(f"unknown option {key!r}", where=where, fix=fix)
