"""Identity is content: canonical JSON, then SHA-256."""

import hashlib
import json
from typing import Any

# What goes round in circles ends at Python's limit of depth, all the same.
_CANONICAL = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, check_circular=False
)


def canonical_json(value: Any) -> str:
    """Return the one JSON text of ``value``, whatever the order of its keys: sorted, no spaces, no NaN."""
    return _CANONICAL.encode(value)


def digest(value: Any) -> str:
    """Return the SHA-256 (64 hex digits) of the canonical JSON of ``value``."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def unit_interval(*parts: Any) -> float:
    """Hash ``parts`` to a uniform number in (0, 1): the only source of chance that sampling and nonces use."""
    return (int(digest(list(parts))[:13], 16) + 0.5) / 16**13


def seed_of(*parts: Any) -> int:
    """A request's seed: 31 bits of the hash of what it is for."""
    return int(digest(list(parts))[:8], 16) >> 1
