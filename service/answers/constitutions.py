"""What the API tells of constitutions."""

from pydantic import BaseModel

from constitution import Constitution


class Summary(BaseModel):
    """One published version. ``hash`` is that of its content, includes and all."""

    ref: str
    name: str
    version: str
    title: str
    hash: str
    principles: int


class Shown(BaseModel):
    """A constitution with the principles that it includes, and the hash of what a model reads of each."""

    ref: str
    hash: str
    constitution: Constitution
    principle_hashes: dict[str, str]
