"""A page of a list."""

from collections.abc import Sequence
from typing import Generic, TypeVar

from pydantic import BaseModel

T = TypeVar("T")


class Page(BaseModel, Generic[T]):
    """Part of a list. ``next`` is the cursor of the page that follows; null where this is the last."""

    items: Sequence[T]
    next: str | None = None
