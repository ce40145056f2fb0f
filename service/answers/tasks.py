"""What the API tells of tasks."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel

from critic.feedback import Flag, Kind
from critic.feedback.base import FormField
from critic.records import Message
from service.labels.tasks.tasking import SkipReason


class Task(BaseModel):
    """What an annotator is asked until ``until``. Answers have this ``form``, and count responses as they are here.

    ``skip_reasons`` are those that may be given for skipping it.
    """

    id: str
    project: str
    kind: Kind
    guidelines: str
    constitution: str | None
    form: list[FormField]
    prompt: list[Message]
    responses: list[str]
    skip_reasons: list[SkipReason]
    until: datetime


class OwnAnswer(BaseModel):
    """What an annotator answered, for the responses in the order in which they were shown."""

    id: str
    label: dict[str, Any]
    seconds: float | None
    flag: Flag | None


class OwnTask(Task):
    """A task that the key's annotator has, had or skipped, and the answer that stands, if any.

    ``state`` is ``leased``, ``answered`` or ``skipped``; of the latter two ``until`` is when that was.
    """

    state: str
    answer: OwnAnswer | None


class Skipped(BaseModel):
    """That an annotator left a task to others, and why. ``item`` is that of feedback."""

    task: str
    item: str
    annotator: str
    reason: SkipReason | None
    note: str
    seconds: float | None
    at: datetime


class NextTask(BaseModel):
    """The next task; null where none is left for this annotator now."""

    task: Task | None


class Done(BaseModel):
    """The task is closed for this annotator."""

    id: str
