"""What people write by hand, and the record that it means.

A prompt may be a text or a list of messages, a response a text, and a label the one value that it is about:
``{"kind": "comparison", "prompt": "Name a river.", "responses": ["The Po.", "Paris."], "label": "first"}``.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from critic.feedback import KINDS, AnyLabel, Flag, Kind, Source
from critic.feedback.feedback import Name, Seconds
from critic.records import Message, Prompt
from service.refusals import Fault

FAULTS = 20  # of one record that are named: one that is wrong all through has as many as it has values
MOST_MESSAGES = MOST_RESPONSES = 10_000  # of one prompt or label: each value that is wrong is an error to be told
GIVEN = "given"  # the writer of a response where nobody is named


class ResponseForm(BaseModel):
    """A response and who wrote it."""

    model_config = ConfigDict(extra="forbid")

    text: str
    model: str = GIVEN
    finish: Literal["stop", "length", "given"] = "given"


def _not_endless(prompt: Any) -> Any:
    messages = prompt.get("messages") if isinstance(prompt, dict) else prompt
    if isinstance(messages, list) and len(messages) > MOST_MESSAGES:
        raise ValueError(f"a prompt has at most {MOST_MESSAGES:,} messages; this one has {len(messages):,}")
    return prompt


PromptForm = Annotated[str | list[Message] | Prompt, BeforeValidator(_not_endless)]
ResponsesForm = Annotated[list[str | ResponseForm], Field(max_length=MOST_RESPONSES)]
LabelForm = AnyLabel | str | list[int | None]
Id = Annotated[str, Field(pattern="^[0-9a-f]{1,64}$")]


class FeedbackRequest(BaseModel):
    """One label. ``annotator`` is a person's id, or a judge's name; ``constitution`` is ``NAME@VERSION``.

    The server binds the label to the constitution's hash, and to the annotator's group where none is given. ``nth`` is
    for imports that may be repeated: which of several equal labels of the file this is, from 1. A label of which so
    many are stored already, by whatever way, is not stored again. Without it, each label is stored.

    ``seconds`` is how long a person worked on it, without pauses; ``flag`` asks someone to look at it. ``replaces`` is
    the id of a label that this one corrects: of the same kind, by the same annotator, about the same prompt and
    responses, and not the answer to a task, which is corrected there. The earlier one is kept, and plays no part any
    more.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "kind": "comparison",
                    "prompt": "How do I keep basil alive in winter?",
                    "responses": ["On a bright window sill, with little water.", "Buy a new one in spring."],
                    "label": "first",
                },
                {
                    "kind": "rating",
                    "prompt": [{"role": "user", "content": "Name a river."}],
                    "responses": [{"text": "The Po.", "model": "policy-1"}],
                    "label": {"value": 4, "scale": {"min": 1, "max": 5}},
                    "group": "geographers",
                },
            ]
        },
    )

    kind: Kind
    prompt: PromptForm
    responses: ResponsesForm = []
    label: LabelForm
    source: Source = "human"
    annotator: Name | None = None
    group: Name | None = None
    constitution: Name | None = None
    constitution_hash: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    principle: Name | None = None
    seconds: Seconds | None = None
    flag: Flag | None = None
    replaces: Id | None = None
    nth: Annotated[int, Field(ge=1, strict=True)] | None = None


def long_form(row: Any) -> Any:
    """Return ``row`` as `critic.feedback.Feedback` reads it; what is malformed is left for that to refuse."""
    if not isinstance(row, dict):
        return row
    form = {"source": "human"} | row
    if "prompt" in row:
        form["prompt"] = prompt_of(row["prompt"])
    if "responses" in row:
        form["responses"] = responses_of(row["responses"])
    if "label" in row:
        form["label"] = label_of(row.get("kind"), row["label"])
    return form


def prompt_of(prompt: Any) -> Any:
    """The long form of a prompt."""
    if isinstance(prompt, str):
        return {"messages": [{"role": "user", "content": prompt}]}
    return {"messages": prompt} if isinstance(prompt, list) else prompt


def responses_of(responses: Any) -> Any:
    """The long form of a list of responses."""
    return [_response(response) for response in responses] if isinstance(responses, list) else responses


def _response(response: Any) -> Any:
    if isinstance(response, str):
        return {"text": response, "model": GIVEN}
    return {"model": GIVEN} | response if isinstance(response, dict) else response


def label_of(kind: Any, label: Any) -> Any:
    """The long form of a label."""
    return KINDS[kind].long_form(label) if isinstance(kind, str) and kind in KINDS else label


def faults_of(error: ValidationError, at: str = "") -> list[Fault]:
    """What is wrong with a record, by JSON pointers below ``at``: the first of them, and how many more there are."""
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    faults = []
    for fault in errors[:FAULTS]:
        faults.append(Fault(where=at + "".join(f"/{part}" for part in fault["loc"]), problem=_sentence(fault["msg"])))
    if len(errors) > FAULTS:
        faults.append(Fault(where=at, problem=f"and {len(errors) - FAULTS:,} more faults"))
    return faults


def _sentence(message: str) -> str:
    return message.removeprefix("Value error, ")
