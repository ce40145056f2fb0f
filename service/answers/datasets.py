"""What the API tells of data sets."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel


class Table(BaseModel):
    """One file of a data set."""

    rows: int
    sha256: str


class Counts(BaseModel):
    """What a data set was made of: labels read, rows by table, and labels that gave no row, by reason."""

    labels: int
    tables: dict[str, Table]
    dropped: dict[str, int]


class Dataset(BaseModel):
    """One version. ``sha256`` is of its tables' hashes; ``request`` is what it was built from."""

    name: str
    version: int
    sha256: str
    request: dict[str, Any]
    counts: Counts
    created_at: datetime
