"""An answer to a task, as feedback: read in the order in which the responses were shown, and turned back to their own.

Whoever takes answers reads them here: nothing else knows how what an annotator saw is undone.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from critic.feedback import KINDS, Feedback, Flag
from critic.feedback.base import Form, FormField
from critic.feedback.feedback import Seconds
from critic.records import Prompt, Response
from service.keys.auth import Caller
from service.labels.label_form import MOST_RESPONSES, Id, faults_of
from service.labels.labels import Labels, must_say_something
from service.labels.tasks import tasking
from service.labels.tasks.shown import Order, order, turned_back
from service.refusals import Invalid
from service.store.database import Row


class AnswerRequest(BaseModel):
    """A label in the order in which the responses were shown; in short: ``"first"``, ``[2, 1, 3]``, ``"up"``, ``4``.

    ``seconds`` is how long it took, without pauses; ``flag`` asks those who run the project to look at it.
    ``replaces`` is the id of one's own answer to this task, which this one corrects.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"label": "first"},
                {"label": "both_bad", "seconds": 12.5, "flag": {"note": "Both name a lake."}},
                {"label": {"value": 4, "response": 0}},
            ]
        },
    )

    label: dict[str, Any] | str | Annotated[list[int | None], Field(max_length=MOST_RESPONSES)] | float
    seconds: Seconds | None = None
    flag: Flag | None = None
    replaces: Id | None = None


async def read(labels: Labels, project: Row, task: Row, caller: Caller, asked: AnswerRequest) -> tuple[Feedback, Order]:
    """Return the feedback that an answer means, in the item's own order, and the order that was shown.

    Raises `Invalid`, and `InputError` for what the project doesn't ask.
    """
    responses = tuple(Response.model_validate(response) for response in task["responses"])
    shown = order(task["id"], tasking.require_annotator(caller.annotator), len(responses))
    labels.texts.check(asked.label, "/label")
    form = form_of(project)
    try:
        as_shown = Feedback(
            kind=project["kind"],
            prompt=Prompt.model_validate(task["prompt"]),
            responses=tuple(responses[position] for position in shown),
            label=KINDS[project["kind"]].complete(asked.label, form),
            source="human",
            annotator=caller.annotator,
            group=caller.group,
            constitution=project["constitution"],
            constitution_hash=project["constitution_hash"],
            seconds=asked.seconds,
            flag=asked.flag,
        )
    except ValidationError as error:
        faults = faults_of(error)
        raise Invalid(f"{faults[0].where}: {faults[0].problem}", "The task's form says what is asked.") from None
    must_say_something(label=as_shown.label)  # the responses are the project's
    as_shown.label.fits_form(form)
    await labels.must_be_principles(as_shown)
    own = {"responses": responses, "label": turned_back(as_shown.label, shown)}
    return as_shown.model_copy(update=own), shown


def form_of(project: Row) -> Form:
    """The questions of a project, by their names."""
    return {field["name"]: FormField.model_validate(field) for field in project["form"]}
