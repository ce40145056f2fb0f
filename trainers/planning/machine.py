"""The main memory that this process may use: of the machine, or less where a control group bounds it (a container)."""

import os
from collections.abc import Iterator
from pathlib import Path

_GROUPS = Path("/proc/self/cgroup")
_MOUNTED = Path("/sys/fs/cgroup")
_UNBOUNDED = 1 << 60
"""Bytes: version 1 writes a number near 2^63 where there is no bound, version 2 writes ``max``."""


def main_memory(groups: Path = _GROUPS, mounted: Path = _MOUNTED) -> int:
    """Return the bytes of main memory that this process and its siblings in its control group share."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([physical, *_bounds(groups, mounted)])


def _bounds(groups: Path, mounted: Path) -> Iterator[int]:
    """Yield the bounds of the process's control group and of those that it is in."""
    try:
        lines = groups.read_text().splitlines()
    except OSError:  # no Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            yield from _of_parents(mounted, path, "memory.max")
        elif "memory" in controllers.split(","):
            yield from _of_parents(mounted / "memory", path, "memory.limit_in_bytes")


def _of_parents(root: Path, path: str, name: str) -> Iterator[int]:
    """Yield the bounds of a group and its parents. In a container the path may be the host's, and the root its own."""
    group = root / path.strip("/")
    for folder in (group, *group.parents):
        try:
            text = (folder / name).read_text().strip()
        except OSError:
            text = ""
        if text.isdecimal() and int(text) < _UNBOUNDED:
            yield int(text)
        if folder == root:
            return
