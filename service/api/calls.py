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
class ApiCall(Generic[T]):
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
) -> ApiCall[Given | BatchGiven]:
    """Store one label, or a list of up to 10,000: see `service.labels.label_form` for what may be left out."""
    return ApiCall("POST", path_of("feedback"), _read_given, rows, idempotency_key=idempotency_key)


def feedback(id: str) -> ApiCall[StoredFeedback]:
    """One label."""
    return ApiCall("GET", path_of("feedback", id), read_feedback)


def all_feedback(**filters: Any) -> ApiCall[Page[StoredFeedback]]:
    """Labels in the order in which they were stored, by the filters of ``GET /v1/feedback``."""
    return ApiCall("GET", path_of("feedback"), _read_feedback_page, params=filters)


def history(id: str) -> ApiCall[Page[StoredFeedback]]:
    """All versions of a label, the oldest first."""
    return ApiCall("GET", path_of("feedback", id, "history"), _read_feedback_page)


def retract(id: str, reason: str) -> ApiCall[StoredFeedback]:
    """Withdraw a label."""
    return ApiCall("POST", path_of("feedback", id, "retract"), read_feedback, {"reason": reason})


def make_key(name: str, scopes: Sequence[str], annotator: str | None = None) -> ApiCall[KeyMade]:
    """Make an API key; its text is told only now."""
    return ApiCall(
        "POST", path_of("keys"), _reader(KeyMade), {"name": name, "scopes": list(scopes), "annotator": annotator}
    )


def keys() -> ApiCall[Page[Key]]:
    """All API keys, without their texts."""
    return ApiCall("GET", path_of("keys"), _page(Key))


def revoke_key(id: str) -> ApiCall[Key]:
    """Revoke an API key."""
    return ApiCall("DELETE", path_of("keys", id), _reader(Key))


def make_annotator(name: str, **more: Any) -> ApiCall[Annotator]:
    """Make an annotator: ``group`` and ``attributes`` may be given."""
    return ApiCall("POST", path_of("annotators"), _reader(Annotator), {"name": name, **more})


def annotator(id: str) -> ApiCall[Annotator]:
    """One annotator."""
    return ApiCall("GET", path_of("annotators", id), _reader(Annotator))


def annotators(name: str | None = None) -> ApiCall[Page[Annotator]]:
    """All annotators, or the one with this name."""
    return ApiCall("GET", path_of("annotators"), _page(Annotator), params={"name": name})


def erase_annotator(id: str) -> ApiCall[Annotator]:
    """Erase who an annotator is. Labels stay."""
    return ApiCall("DELETE", path_of("annotators", id), _reader(Annotator))


def make_project(name: str, kind: str, **more: Any) -> ApiCall[Project]:
    """Make a labelling project: ``items``, ``guidelines``, ``labels_per_item`` and more as in ``POST /v1/projects``."""
    return ApiCall("POST", path_of("projects"), _reader(Project), {"name": name, "kind": kind, **more})


def project(id: str) -> ApiCall[Project]:
    """One project, with its progress."""
    return ApiCall("GET", path_of("projects", id), _reader(Project))


def projects() -> ApiCall[Page[Project]]:
    """All projects."""
    return ApiCall("GET", path_of("projects"), _page(Project))


def change_project(id: str, **changes: Any) -> ApiCall[Project]:
    """Assign, close or open a project."""
    return ApiCall("PATCH", path_of("projects", id), _reader(Project), changes)


def add_items(project: str, items: Sequence[dict[str, Any]]) -> ApiCall[ItemsAdded]:
    """Add items to a project."""
    return ApiCall("POST", path_of("projects", project, "items"), _reader(ItemsAdded), {"items": list(items)})


def agreement(project: str) -> ApiCall[ProjectAgreement]:
    """A project's figures."""
    return ApiCall("GET", path_of("projects", project, "agreement"), _reader(ProjectAgreement))


def next_task(project: str) -> ApiCall[NextTask]:
    """Lease the next task of a project to the key's annotator."""
    return ApiCall("POST", path_of("projects", project, "tasks", "next"), _reader(NextTask))


def task(id: str) -> ApiCall[OwnTask]:
    """A task that the key's annotator has or had, with the answer that stands."""
    return ApiCall("GET", path_of("tasks", id), _reader(OwnTask))


def answer(task: str, label: Any, **beside: Any) -> ApiCall[Given]:
    """Answer a task, in the order in which its responses were shown; ``beside`` may say ``seconds`` and the like."""
    return ApiCall("POST", path_of("tasks", task, "answer"), _reader(Given), {"label": label, **beside})


def skip(task: str, **why: Any) -> ApiCall[Done]:
    """Leave a task to others; ``reason``, ``note`` and ``seconds`` may be said."""
    return ApiCall("POST", path_of("tasks", task, "skip"), _reader(Done), why)


def unskip(task: str) -> ApiCall[NextTask]:
    """Take back that one left a task to others."""
    return ApiCall("POST", path_of("tasks", task, "unskip"), _reader(NextTask))


def skips(project: str) -> ApiCall[Page[Skipped]]:
    """Who left which of a project's tasks to others, and why."""
    return ApiCall("GET", path_of("projects", project, "skips"), _page(Skipped))


def release(task: str) -> ApiCall[Done]:
    """Give a task back."""
    return ApiCall("POST", path_of("tasks", task, "release"), _reader(Done))


def make_dataset(name: str, aggregation: str, **more: Any) -> ApiCall[Dataset]:
    """Build a version of a data set: ``filter`` and ``pool_groups`` may be given."""
    return ApiCall("POST", path_of("datasets"), _reader(Dataset), {"name": name, "aggregation": aggregation, **more})


def dataset(name: str, version: int) -> ApiCall[Dataset]:
    """One version of a data set."""
    return ApiCall("GET", path_of("datasets", name, version), _reader(Dataset))


def datasets(name: str | None = None) -> ApiCall[Page[Dataset]]:
    """All versions of all data sets, or of one."""
    return ApiCall("GET", path_of("datasets"), _page(Dataset), params={"name": name})


def audit(**filters: Any) -> ApiCall[Page[AuditEntry]]:
    """Who did what, by the filters of ``GET /v1/audit``."""
    return ApiCall("GET", path_of("audit"), _page(AuditEntry), params=filters)


def constitutions() -> ApiCall[Page[Summary]]:
    """All published versions."""
    return ApiCall("GET", path_of("constitutions"), _page(Summary))


def constitution(ref: str) -> ApiCall[Shown]:
    """A constitution, by ``NAME`` (the newest version) or ``NAME@VERSION``."""
    return ApiCall("GET", path_of("constitutions", ref), _reader(Shown), params={"format": "json"})


def publish(constitution: dict[str, Any]) -> ApiCall[Summary]:
    """Publish a version of a constitution: what its file holds."""
    return ApiCall("POST", path_of("constitutions"), _reader(Summary), constitution)


def compare(prompt: Any, responses: Sequence[Any], constitution: str, **more: Any) -> ApiCall[ComparisonAnswer]:
    """Let a judge compare two or more responses; ``more`` is what ``POST /v1/comparisons`` takes beside."""
    asked = {"prompt": prompt, "responses": list(responses), "constitution": constitution, **more}
    return ApiCall("POST", path_of("comparisons"), _reader(ComparisonAnswer), asked)


def critique(prompt: Any, response: Any, constitution: str, **more: Any) -> ApiCall[CritiqueAnswer]:
    """Let a judge critique a response, and revise it with ``revise=True``."""
    asked = {"prompt": prompt, "response": response, "constitution": constitution, **more}
    return ApiCall("POST", path_of("critiques"), _reader(CritiqueAnswer), asked)


def reward(prompts: Sequence[Any], responses: Sequence[str], **where: str) -> ApiCall[RewardAnswer]:
    """Reward answers; ``where`` names an ``engine``, a ``constitution`` and a ``group``."""
    asked = {"prompts": list(prompts), "responses": list(responses)}
    return ApiCall("POST", path_of("rewards"), _reader(RewardAnswer), asked, params=dict(where))


def submit(request: dict[str, Any], *, idempotency_key: str | None = None) -> ApiCall[Job]:
    """Put a job into the queue."""
    return ApiCall("POST", path_of("jobs"), _reader(Job), request, idempotency_key=idempotency_key)


def job(id: str) -> ApiCall[Job]:
    """One job, with its progress."""
    return ApiCall("GET", path_of("jobs", id), _reader(Job))


def jobs(state: str | None = None) -> ApiCall[Page[Job]]:
    """All jobs, from the newest."""
    return ApiCall("GET", path_of("jobs"), _page(Job), params={"state": state})


def cancel(job: str) -> ApiCall[Job]:
    """End a job."""
    return ApiCall("POST", path_of("jobs", job, "cancel"), _reader(Job))


def retry(job: str) -> ApiCall[Job]:
    """Do an ended job again: what is done stays."""
    return ApiCall("POST", path_of("jobs", job, "retry"), _reader(Job))


def models() -> ApiCall[Page[Model]]:
    """All models that were trained here."""
    return ApiCall("GET", path_of("models"), _page(Model))


def engines() -> ApiCall[Page[EngineShown]]:
    """The engines that requests can name."""
    return ApiCall("GET", path_of("engines"), _page(EngineShown))
