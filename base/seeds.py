"""Where all chance comes from: hashes of what it is for."""

from typing import Any

from base.digest import digest


def seed_of(*parts: Any) -> int:
    """A request's seed: 31 bits of the hash of what it is for."""
    return int(digest(list(parts))[:8], 16) >> 1
