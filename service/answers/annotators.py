"""What the API tells of annotators."""

from datetime import datetime

from pydantic import BaseModel


class Annotator(BaseModel):
    """A person who labels. ``name`` is null once erased."""

    id: str
    name: str | None
    group: str | None
    attributes: dict[str, str]
    created_at: datetime
    erased_at: datetime | None
