"""Writing weights: a full disk is told as what could not be saved."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError

from base.errors import InputError


@contextlib.contextmanager
def saving(what: str, folder: Path) -> Iterator[None]:
    """Turn what a full disk does to writers of weights into an `InputError` that says ``what`` could not be saved."""
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        raise InputError(
            f"{what} could not be saved: {error}",
            where=str(folder),
            fix="earlier checkpoints are whole; make room and run the same command again",
        ) from error
