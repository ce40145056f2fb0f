"""Feedback as the service gives it: ``kind``, ``prompt`` (an object with messages), ``responses`` and ``label``.

Records of labelling tools hold many labels each, which are imported: as rows of prompts and answers they would lose
them.
"""

from pydantic import ValidationError

from critic.feedback.from_file import from_file, is_feedback
from critic.files.shapes.base import Columns, Shape
from critic.rows import RowError


def _fits(columns: Columns) -> bool:
    return is_feedback(columns) and isinstance(columns.get("prompt"), dict)


def _read(columns: Columns, labels: bool) -> Columns:
    """Return what the label is about, and with ``labels`` the first row that it gives trainers."""
    try:
        feedback = from_file(columns, "", "human")
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise RowError("bad_feedback", f"{place}: {first['msg']}".removeprefix(": ")) from None
    read = {
        "prompt": [message.model_dump() for message in feedback.prompt.messages],
        "id": feedback.prompt.id,
        "tags": list(feedback.prompt.tags),
    }
    if not labels:
        texts = [response.text for response in feedback.responses]
        return read | {"responses": texts, "models": [response.model for response in feedback.responses]}
    for _, row in feedback.rows(ties=True):
        return read | row
    raise RowError("no_label", f"this {feedback.kind} says of no answer that it is better or good")


_TOOLS: dict[str, tuple[str, str, type]] = {
    "label-studio": ("data", "annotations", list),
    "argilla": ("fields", "responses", dict),
    "annotated-pairs": ("annotators", "comparisons", list),
    "oasst": ("message_tree_id", "prompt", dict),
}
"""The formats of tools, and two columns that a record of each has; and what the second is."""


def _tool(columns: Columns) -> str | None:
    for name, (about, said, kind) in _TOOLS.items():
        if about in columns and isinstance(columns.get(said), kind):
            return name
    return None


def _refuse_record(columns: Columns, labels: bool) -> Columns:
    name = _tool(columns)
    raise RowError(
        "labels_of_a_tool", f"a record with people's labels: cai feedback import --format {name} reads it, to a server"
    )


RECORDS = Shape(
    "records of labelling tools",
    ("message_tree_id",),
    lambda columns: _tool(columns) is not None,
    _refuse_record,
    frozenset(about for about, *_ in _TOOLS.values()),
)
COLUMNS = ("kind", "prompt", "responses", "label", "retracted")
FEEDBACK = Shape("feedback", COLUMNS, _fits, _read, frozenset(("kind",)))
