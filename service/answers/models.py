"""What the API tells of models."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel


class Model(BaseModel):
    """A model. ``lineage`` holds its parents, and the hashes of data and constitutions that it learnt from.

    ``engine`` is how requests name a reward model; others have to be served and configured first.
    """

    id: str
    name: str
    trainer: str
    engine: str | None
    lineage: dict[str, Any]
    job: str | None
    created_at: datetime
