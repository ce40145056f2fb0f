"""Folders that go away again: at the end of what needs them, and at the next start where the process was killed.

They lie in ``.scratch`` beside what they become, so that they can be moved there, or in a folder of this user's among
the system's temporary files. Each is locked while its process lives. A lock ends with its process, however that went,
so whoever finds a folder without one may remove it, also beside other servers and workers.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

HIDDEN = ".scratch"
LOCK = ".lock"


def temporary() -> Path:
    """This user's folder among the system's temporary files."""
    place = Path(tempfile.gettempdir()) / f"cai-{os.getuid()}"
    place.mkdir(mode=0o700, exist_ok=True)
    return place


@contextmanager
def scratch(beside: Path) -> Iterator[Path]:
    """A new folder on the file system of ``beside``, for the length of a ``with``. What is moved out of it stays."""
    with _locked(beside):
        folder = Path(tempfile.mkdtemp(dir=beside / HIDDEN))
        lock = _lock(folder / LOCK)
    try:
        inside = folder / "files"
        inside.mkdir(mode=0o700)  # which it keeps where it is moved to
        yield inside
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def sweep(beside: Path) -> int:
    """Remove the folders of processes that are gone; return how many there were."""
    if not (beside / HIDDEN).is_dir():
        return 0
    removed = 0
    with _locked(beside):
        for folder in (beside / HIDDEN).iterdir():
            if folder.is_dir() and _is_left(folder):
                shutil.rmtree(folder, ignore_errors=True)
                removed += 1
    return removed


@contextmanager
def _locked(beside: Path) -> Iterator[None]:
    """Keep a sweep away from a folder that is made and not locked yet."""
    (beside / HIDDEN).mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = _lock(beside / HIDDEN / LOCK)
    try:
        yield
    finally:
        os.close(lock)


def _lock(file: Path) -> int:
    number = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(number, fcntl.LOCK_EX)
    return number


def _is_left(folder: Path) -> bool:
    with suppress(FileNotFoundError):
        number = os.open(folder / LOCK, os.O_RDWR)
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(number)
    return True
