"""A job, as the API tells of it."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel

State = Literal["queued", "running", "done", "failed", "cancelled"]
ENDED: tuple[State, ...] = ("done", "failed", "cancelled")


class JobProgress(BaseModel):
    """Where a job stands. ``total`` is None where it isn't known beforehand, ``seconds_left`` before the first rows.

    On a cluster rows and calls are those of finished shards, pairs are counted at the end, and the log tells the rest.
    """

    rows: int = 0
    quarantined: int = 0
    pairs: int = 0
    calls: int = 0
    cost: float = 0.0
    total: int | None = None
    seconds_left: float | None = None


class Job(BaseModel):
    """A job. ``request`` is what was asked for, with its rows as files; ``result`` is there once it is done.

    ``kind`` is one of those that can be submitted, or was one when the job was.
    """

    id: str
    kind: str
    request: dict[str, Any]
    state: State
    attempt: int
    worker: str | None
    progress: JobProgress
    error: str | None
    result: dict[str, Any] | None
    key: str | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


class JobEvent(BaseModel):
    """Something that happened to a job; ``seq`` goes up."""

    seq: int
    at: datetime
    kind: str
    body: dict[str, Any]

    def line(self) -> str:
        """As a line of a log."""
        said = [f"{key}={value}" for key, value in self.body.items() if not isinstance(value, dict | list | None)]
        text = self.body["text"] if self.kind == "log" else " ".join(said)
        return f"{self.at.isoformat(timespec='seconds')} {self.kind} {text}".rstrip() + "\n"


class JobEvents(BaseModel):
    """Events, oldest first. Ask again with ``after`` for those that follow."""

    items: list[JobEvent]
    after: int
