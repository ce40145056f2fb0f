"""Every call of the API as the client makes it: what is sent, and how the answer is read."""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from pydantic import TypeAdapter

from service.answers.agreement import ProjectAgreement
from service.answers.annotators import Annotator
from service.answers.constitutions import Shown, Summary
from service.answers.datasets import Dataset
from service.answers.feedback import BatchGiven, Given
from service.answers.judges import ComparisonAnswer, CritiqueAnswer, EngineShown, RewardAnswer
from service.answers.keys import AuditEntry, Key, KeyMade
from service.answers.models import Model
from service.answers.page import Page
from service.answers.projects import ItemsAdded, Project
from service.answers.tasks import Done, NextTask, OwnTask, Skipped
from service.jobs.job import Job
from service.labels.label_query import StoredFeedback

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request, and how its answer is read."""

    method: str
    path: str
    read: Callable[[Any], T]
    json: Any = None
    params: dict[str, Any] = field(default_factory=dict)
    idempotency_key: str | None = None

    def request(self) -> dict[str, Any]:
        """What is sent, every time that it is."""
        headers = {"Idempotency-Key": self.idempotency_key or str(uuid.uuid4())} if self.method == "POST" else {}
        params = {name: value for name, value in self.params.items() if value is not None}
        body = {} if self.json is None else {"json": self.json}
        return {"method": self.method, "url": self.path, "headers": headers, "params": params, **body}


def _reader(model: Any) -> Callable[[Any], Any]:
    return TypeAdapter(model).validate_python


def _page(model: Any) -> Callable[[Any], Any]:
    return _reader(Page[model])


def path_of(*parts: object) -> str:
    return "/v1/" + "/".join(quote(str(part), safe="") for part in parts)


def read_feedback(row: dict[str, Any]) -> StoredFeedback:
    """Read one label of an answer."""
    return StoredFeedback.model_validate({name: row[name] for name in row if name in StoredFeedback.model_fields})


def _read_feedback_page(page: dict[str, Any]) -> Page[StoredFeedback]:
    return Page(items=[read_feedback(row) for row in page["items"]], next=page["next"])


def _read_given(answer: dict[str, Any]) -> Given | BatchGiven:
    return Given.model_validate(answer) if "id" in answer else BatchGiven.model_validate(answer)


def give(
    rows: dict[str, Any] | Sequence[dict[str, Any]], *, idempotency_key: str | None = None
) -> Call[Given | BatchGiven]:
    """Store one label, or a list of up to 10,000: see `service.labels.label_form` for what may be left out."""
    return Call("POST", path_of("feedback"), _read_given, rows, idempotency_key=idempotency_key)


def feedback(id: str) -> Call[StoredFeedback]:
    """One label."""
    return Call("GET", path_of("feedback", id), read_feedback)


def all_feedback(**filters: Any) -> Call[Page[StoredFeedback]]:
    """Labels in the order in which they were stored, by the filters of ``GET /v1/feedback``."""
    return Call("GET", path_of("feedback"), _read_feedback_page, params=filters)


def history(id: str) -> Call[Page[StoredFeedback]]:
    """All versions of a label, the oldest first."""
    return Call("GET", path_of("feedback", id, "history"), _read_feedback_page)


def retract(id: str, reason: str) -> Call[StoredFeedback]:
    """Withdraw a label."""
    return Call("POST", path_of("feedback", id, "retract"), read_feedback, {"reason": reason})


def make_key(name: str, scopes: Sequence[str], annotator: str | None = None) -> Call[KeyMade]:
    """Make an API key; its text is told only now."""
    return Call(
        "POST", path_of("keys"), _reader(KeyMade), {"name": name, "scopes": list(scopes), "annotator": annotator}
    )


def keys() -> Call[Page[Key]]:
    """All API keys, without their texts."""
    return Call("GET", path_of("keys"), _page(Key))


def revoke_key(id: str) -> Call[Key]:
    """Revoke an API key."""
    return Call("DELETE", path_of("keys", id), _reader(Key))


def make_annotator(name: str, **more: Any) -> Call[Annotator]:
    """Make an annotator: ``group`` and ``attributes`` may be given."""
    return Call("POST", path_of("annotators"), _reader(Annotator), {"name": name, **more})


def annotator(id: str) -> Call[Annotator]:
    """One annotator."""
    return Call("GET", path_of("annotators", id), _reader(Annotator))


def annotators(name: str | None = None) -> Call[Page[Annotator]]:
    """All annotators, or the one with this name."""
    return Call("GET", path_of("annotators"), _page(Annotator), params={"name": name})


def erase_annotator(id: str) -> Call[Annotator]:
    """Erase who an annotator is. Labels stay."""
    return Call("DELETE", path_of("annotators", id), _reader(Annotator))


def make_project(name: str, kind: str, **more: Any) -> Call[Project]:
    """Make a labelling project: ``items``, ``guidelines``, ``labels_per_item`` and more as in ``POST /v1/projects``."""
    return Call("POST", path_of("projects"), _reader(Project), {"name": name, "kind": kind, **more})


def project(id: str) -> Call[Project]:
    """One project, with its progress."""
    return Call("GET", path_of("projects", id), _reader(Project))


def projects() -> Call[Page[Project]]:
    """All projects."""
    return Call("GET", path_of("projects"), _page(Project))


def change_project(id: str, **changes: Any) -> Call[Project]:
    """Assign, close or open a project."""
    return Call("PATCH", path_of("projects", id), _reader(Project), changes)


def add_items(project: str, items: Sequence[dict[str, Any]]) -> Call[ItemsAdded]:
    """Add items to a project."""
    return Call("POST", path_of("projects", project, "items"), _reader(ItemsAdded), {"items": list(items)})


def agreement(project: str) -> Call[ProjectAgreement]:
    """A project's figures."""
    return Call("GET", path_of("projects", project, "agreement"), _reader(ProjectAgreement))


def next_task(project: str) -> Call[NextTask]:
    """Lease the next task of a project to the key's annotator."""
    return Call("POST", path_of("projects", project, "tasks", "next"), _reader(NextTask))


def task(id: str) -> Call[OwnTask]:
    """A task that the key's annotator has or had, with the answer that stands."""
    return Call("GET", path_of("tasks", id), _reader(OwnTask))


def answer(task: str, label: Any, **beside: Any) -> Call[Given]:
    """Answer a task, in the order in which its responses were shown; ``beside`` may say ``seconds`` and the like."""
    return Call("POST", path_of("tasks", task, "answer"), _reader(Given), {"label": label, **beside})


def skip(task: str, **why: Any) -> Call[Done]:
    """Leave a task to others; ``reason``, ``note`` and ``seconds`` may be said."""
    return Call("POST", path_of("tasks", task, "skip"), _reader(Done), why)


def unskip(task: str) -> Call[NextTask]:
    """Take back that one left a task to others."""
    return Call("POST", path_of("tasks", task, "unskip"), _reader(NextTask))


def skips(project: str) -> Call[Page[Skipped]]:
    """Who left which of a project's tasks to others, and why."""
    return Call("GET", path_of("projects", project, "skips"), _page(Skipped))


def release(task: str) -> Call[Done]:
    """Give a task back."""
    return Call("POST", path_of("tasks", task, "release"), _reader(Done))


def make_dataset(name: str, aggregation: str, **more: Any) -> Call[Dataset]:
    """Build a version of a data set: ``filter`` and ``pool_groups`` may be given."""
    return Call("POST", path_of("datasets"), _reader(Dataset), {"name": name, "aggregation": aggregation, **more})


def dataset(name: str, version: int) -> Call[Dataset]:
    """One version of a data set."""
    return Call("GET", path_of("datasets", name, version), _reader(Dataset))


def datasets(name: str | None = None) -> Call[Page[Dataset]]:
    """All versions of all data sets, or of one."""
    return Call("GET", path_of("datasets"), _page(Dataset), params={"name": name})


def audit(**filters: Any) -> Call[Page[AuditEntry]]:
    """Who did what, by the filters of ``GET /v1/audit``."""
    return Call("GET", path_of("audit"), _page(AuditEntry), params=filters)


def constitutions() -> Call[Page[Summary]]:
    """All published versions."""
    return Call("GET", path_of("constitutions"), _page(Summary))


def constitution(ref: str) -> Call[Shown]:
    """A constitution, by ``NAME`` (the newest version) or ``NAME@VERSION``."""
    return Call("GET", path_of("constitutions", ref), _reader(Shown), params={"format": "json"})


def publish(constitution: dict[str, Any]) -> Call[Summary]:
    """Publish a version of a constitution: what its file holds."""
    return Call("POST", path_of("constitutions"), _reader(Summary), constitution)


def compare(prompt: Any, responses: Sequence[Any], constitution: str, **more: Any) -> Call[ComparisonAnswer]:
    """Let a judge compare two or more responses; ``more`` is what ``POST /v1/comparisons`` takes beside."""
    asked = {"prompt": prompt, "responses": list(responses), "constitution": constitution, **more}
    return Call("POST", path_of("comparisons"), _reader(ComparisonAnswer), asked)


def critique(prompt: Any, response: Any, constitution: str, **more: Any) -> Call[CritiqueAnswer]:
    """Let a judge critique a response, and revise it with ``revise=True``."""
    asked = {"prompt": prompt, "response": response, "constitution": constitution, **more}
    return Call("POST", path_of("critiques"), _reader(CritiqueAnswer), asked)


def reward(prompts: Sequence[Any], responses: Sequence[str], **where: str) -> Call[RewardAnswer]:
    """Reward answers; ``where`` names an ``engine``, a ``constitution`` and a ``group``."""
    asked = {"prompts": list(prompts), "responses": list(responses)}
    return Call("POST", path_of("rewards"), _reader(RewardAnswer), asked, params=dict(where))


def submit(request: dict[str, Any], *, idempotency_key: str | None = None) -> Call[Job]:
    """Put a job into the queue."""
    return Call("POST", path_of("jobs"), _reader(Job), request, idempotency_key=idempotency_key)


def job(id: str) -> Call[Job]:
    """One job, with its progress."""
    return Call("GET", path_of("jobs", id), _reader(Job))


def jobs(state: str | None = None) -> Call[Page[Job]]:
    """All jobs, from the newest."""
    return Call("GET", path_of("jobs"), _page(Job), params={"state": state})


def cancel(job: str) -> Call[Job]:
    """End a job."""
    return Call("POST", path_of("jobs", job, "cancel"), _reader(Job))


def retry(job: str) -> Call[Job]:
    """Do an ended job again: what is done stays."""
    return Call("POST", path_of("jobs", job, "retry"), _reader(Job))


def models() -> Call[Page[Model]]:
    """All models that were trained here."""
    return Call("GET", path_of("models"), _page(Model))


def engines() -> Call[Page[EngineShown]]:
    """The engines that requests can name."""
    return Call("GET", path_of("engines"), _page(EngineShown))
