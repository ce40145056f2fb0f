"""What an installation may lack: packages that come with an extra, and the sentence that says which."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from base.errors import InputError

# pyproject.toml's extras. A package that is in none of them is a dependency of all.
EXTRAS = {
    "accelerate": "train",
    "bitsandbytes": "qlora",
    "gguf": "local",
    "peft": "train",
    "ray": "ray",
    "safetensors": "local",
    "tokenizers": "local",
    "torch": "local",
    "transformers": "local",
    "vllm": "vllm",
}


def require(extra: str, where: str = "") -> None:
    """Raise `InputError` where a package of ``extra`` is not installed: before anything is read or imported."""
    for package, its_extra in EXTRAS.items():
        if its_extra == extra and find_spec(package) is None:
            raise _lacking(package, where)


def _lacking(package: str, where: str) -> InputError:
    extra = EXTRAS[package]
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
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        raise _lacking(package, where) from error
