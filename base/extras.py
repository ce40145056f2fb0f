"""What an installation may lack: packages that come with an extra, and the sentence that says which."""

from collections.abc import Iterator
from contextlib import contextmanager

from base.errors import InputError

# pyproject.toml's extras. A package that is in none of them is a dependency of all.
_EXTRAS = {
    "accelerate": "train",
    "gguf": "local",
    "peft": "train",
    "ray": "ray",
    "safetensors": "local",
    "tokenizers": "local",
    "torch": "local",
    "transformers": "local",
    "vllm": "vllm",
}


def missing(error: ImportError, where: str = "") -> InputError | None:
    """Return what to say of a package that could not be imported; None where it belongs to no extra."""
    package = (error.name or "").partition(".")[0]
    if package not in _EXTRAS:
        return None
    extra = _EXTRAS[package]
    return InputError(
        f"this needs the package {package}, which is not installed",
        where=where,
        fix=f"pip install 'cai-feedback[{extra}]' (in a clone: pip install '.[{extra}]')",
    )


@contextmanager
def told_missing(where: str = "") -> Iterator[None]:
    """Raise `InputError` instead of `ModuleNotFoundError` where what is missing comes with an extra."""
    try:
        yield
    except ModuleNotFoundError as error:
        told = missing(error, where)
        if told is None:
            raise
        raise told from error
