"""What the API tells of data sets."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from critic.feedback.base import not_given


class Table(BaseModel):
    """One file of a data set."""

    rows: int
    sha256: str


class Counts(BaseModel):
    """What a data set was made of: labels read, rows by table, and labels that gave no row, by reason.

    ``certificates`` are the hashes of those that cover its judges' labels, where it was built under them.
    """

    labels: int
    tables: dict[str, Table]
    dropped: dict[str, int]
    certificates: list[str] | None = Field(default=None, exclude_if=not_given)


class Dataset(BaseModel):
    """One version. ``sha256`` is of its tables' hashes; ``request`` is what it was built from."""

    name: str
    version: int
    sha256: str
    request: dict[str, Any]
    counts: Counts
    created_at: datetime
