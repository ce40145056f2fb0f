"""What the API tells of feedback that is given."""

from pydantic import BaseModel

from service.refusals import Fault


class Given(BaseModel):
    """A label was stored."""

    id: str


class BatchGiven(BaseModel):
    """What became of each row of a batch: its id, or null and its ``faults``, by JSON pointers.

    ``there`` are the positions of rows with ``nth`` that were stored already; their ids are those of then.
    """

    ids: list[str | None]
    faults: list[Fault] = []
    there: list[int] = []
