"""What the disk has left: files of a client's making leave some of it, so that labels can still be stored."""

import shutil
from pathlib import Path

from service.problems import Problem


def must_be_spare(place: Path, spare: int, more: int = 0) -> None:
    """Raise `Problem` 507 where ``more`` bytes on the disk of ``place`` would leave less than ``spare``."""
    free = shutil.disk_usage(place).free
    if free - more < spare:
        raise Problem(
            507,
            "disk_full",
            f"the disk has {free:,} bytes left, of which {spare:,} are kept for labels; nothing was stored",
            "An administrator has to make room. Then repeat it.",
        )
