"""Figures as JSON has them: plain data, in which what has no bounds, or is no number, is None."""

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any


def plain(value: Any) -> Any:
    """Return dataclasses, mappings and sequences as JSON's objects and lists."""
    if is_dataclass(value) and not isinstance(value, type):
        # `asdict` would rebuild a Counter from its items, and count those.
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
