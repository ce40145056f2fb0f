"""What a row of the database points to is on the disk before the row is: a file, and that it is in its folder.

Without the second a power cut can leave the row with nothing behind it, though the file itself was synced. What is kept
here is as private as the database: files and folders are their owner's alone, whatever the process's umask is.
"""

import os
from collections.abc import Iterable
from pathlib import Path

PRIVATE_FILE, PRIVATE_FOLDER = 0o600, 0o700


def sync_file(path: Path) -> None:
    """Return when a file's content is on the disk, and nobody else's to read."""
    path.chmod(PRIVATE_FILE)
    _sync(path, os.O_RDONLY)


def sync_folder(path: Path) -> None:
    """Return when the names in a folder are on the disk."""
    _sync(path, os.O_RDONLY | os.O_DIRECTORY)


def make_folder(path: Path) -> None:
    """Make a folder with all that lead to it, where they are missing, durably."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
    sync_folder(path.parent)


def sync_tree(path: Path) -> None:
    """Return when all that lies under a folder is on the disk, and nobody else's to read."""
    for folder, _, files in os.walk(path, topdown=False):
        for name in files:
            sync_file(Path(folder) / name)
        Path(folder).chmod(PRIVATE_FOLDER)
        sync_folder(Path(folder))


def close_to_others(path: Path, names: Iterable[str]) -> None:
    """Make those of these folders their owner's alone that are there: versions before left some open."""
    for name in names:
        if (path / name).is_dir():
            (path / name).chmod(PRIVATE_FOLDER)


def _sync(path: Path, flags: int) -> None:
    number = os.open(path, flags)
    try:
        os.fsync(number)
    finally:
        os.close(number)
