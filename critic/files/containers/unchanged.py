"""A file that is written to while it is read gives rows of two states of it, or half a row: that is told."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from base.errors import InputError

if TYPE_CHECKING:
    from upath import UPath


@contextmanager
def unchanged(path: "Path | UPath", name: str) -> Iterator[None]:
    """Raise `InputError` at the end of the ``with`` where a file of this machine isn't the same as at its beginning.

    Who leaves off before the end doesn't ask: what was read is what was there.
    """
    before = _state(path)
    yield
    after = _state(path)
    if before != after:
        sizes = "" if before is None or after is None else f": {before[0]:,} bytes before, {after[0]:,} after"
        raise InputError(
            f"it was changed while it was read{sizes}",
            where=name,
            fix="Wait until it is written, or copy it, and start again.",
        )


def _state(path: "Path | UPath") -> tuple[int, int, int] | None:
    """Return size, time and identity; None where the file is gone, or on another machine."""
    if not isinstance(path, Path):
        return None
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns, stat.st_ino
