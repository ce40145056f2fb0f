"""What the API tells of projects."""

from datetime import datetime

from pydantic import BaseModel

from critic.feedback import Kind
from critic.feedback.base import FormField
from service.labels.tasks.roles import PageSettings
from service.labels.tasks.tasking import SkipReason


class ProjectStanding(BaseModel):
    """How far a project is: items, those with all the labels that are wanted, labels, and tasks leased right now.

    ``skips`` has how often a task was left to others, by reason; those for which none was given are ``no_reason``.
    """

    items: int = 0
    done: int = 0
    labels: int = 0
    leased: int = 0
    skips: dict[str, int] = {}


class Project(BaseModel):
    """A labelling project. ``form`` is what an annotator is asked; who is ``paused`` gets no tasks for now."""

    id: str
    name: str
    kind: Kind
    constitution: str | None
    constitution_hash: str | None
    guidelines: str
    form: list[FormField]
    labels_per_item: int
    assigned: list[str]
    paused: list[str]
    skip_reasons: list[SkipReason]
    settings: PageSettings
    created_at: datetime
    closed_at: datetime | None
    progress: ProjectStanding


class ItemsAdded(BaseModel):
    """How many items became tasks."""

    added: int
