"""What the calls share that ask an engine while their client waits."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, ValidationError

from constitution import Constitution, InputError, Principle
from critic.engine import EngineError
from critic.feedback import Feedback
from critic.feedback.from_run import from_row
from critic.records import Item, Message, Prompt, Provenance, Response, Row
from service.labels.label_form import GIVEN, ResponseForm, faults_of
from service.labels.labels import must_say_something
from service.refusals import Invalid

MOST_CHARACTERS = 1_000_000  # of a prompt and its responses together; models take far less

Ref = Annotated[str, Field(min_length=1, max_length=200, description="NAME@VERSION, or NAME: its newest version.")]
EngineName = Annotated[
    str | None,
    Field(min_length=1, max_length=250, description="One of GET /v1/engines, or models/NAME. None: the default."),
]
ModeSpec = Annotated[
    str | None, Field(min_length=1, max_length=200, description="For example `cot?samples=4`. None: the engine's own.")
]
Seed = Annotated[int, Field(ge=0, le=2**53)]
Ids = Annotated[list[Annotated[str, Field(max_length=200)]], Field(min_length=1, max_length=200)]


def item_of(prompt: str | list[Message] | Prompt, responses: Sequence[str | ResponseForm]) -> Item:
    """The record that a short or long form means. Raises `Invalid`, and `InputError` for a text that shows nothing."""
    asked = _prompt(prompt)
    given = [Response(text=r, model=GIVEN) if isinstance(r, str) else Response(**r.model_dump()) for r in responses]
    length = sum(len(m.content) for m in asked.messages)
    length += sum(len(r.text) for r in given)
    if length > MOST_CHARACTERS:
        detail = f"prompt and responses have {length:,} characters together, more than {MOST_CHARACTERS:,}"
        raise Invalid(detail, "Shorten the texts: nothing is cut silently.", slug="too_long")
    must_say_something(asked, given)
    return Item(prompt=asked, responses=tuple(given))


def _prompt(prompt: str | list[Message] | Prompt) -> Prompt:
    if isinstance(prompt, Prompt):
        return prompt
    try:
        turns = [Message(role="user", content=prompt)] if isinstance(prompt, str) else prompt
        return Prompt(messages=tuple(turns))
    except ValidationError as error:
        faults = faults_of(error, "/prompt")
        raise Invalid(f"/prompt: {faults[0].problem}", faults=faults) from None


def principles_of(constitution: Constitution, ids: Sequence[str]) -> list[Principle]:
    """The principles of these ids, in the order given. Raises `InputError` for one that isn't there."""
    known = {principle.id: principle for principle in constitution.principles}
    if unknown := [id for id in ids if id not in known]:
        raise InputError(
            f"{constitution.ref} has no principle {unknown[0]!r}",
            where="/principles",
            fix=f"GET /v1/constitutions/{constitution.ref} shows all {len(known)}",
        )
    return [known[id] for id in ids]


def feedback_of(row: Row, provenance: Provenance) -> list[Feedback]:
    """What the engine said, as feedback. Raises `EngineError` where it wrote what no database can hold."""
    try:
        return list(from_row(row, provenance))
    except ValidationError as error:
        raise EngineError(f"{provenance.judge} wrote what can't be stored: {error.errors()[0]['msg']}") from None
