"""What the disk has left: files of a client's making leave some of it, so that labels can still be stored."""

import errno
import shutil
from pathlib import Path


class DiskFull(OSError):
    """The disk has too little left for something that is not a label."""

    def __init__(self, free: int, spare: int) -> None:
        kept = f"the disk has {free:,} bytes left, of which {spare:,} are kept for labels; nothing was stored"
        super().__init__(errno.ENOSPC, kept)


def must_be_spare(place: Path, spare: int) -> None:
    """Raise `DiskFull` where less than ``spare`` bytes are left on the disk of ``place``."""
    free = shutil.disk_usage(place).free
    if free < spare:
        raise DiskFull(free, spare)
