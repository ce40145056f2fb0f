"""Rows of files that hold feedback, as feedback: records as the service gives them, and what a run exports.

A run's ``feedback`` file has a row for each critique, correction, comparison and ranking (`critic.run.folder.tables`),
whose label is in columns of its own. Everyone who reads feedback from files reads it here; `Feedback.rows` then says
what trainers can learn from it.
"""

import json
from collections.abc import Mapping
from typing import Any, get_args

from critic.feedback.base import Columns, expect_list
from critic.feedback.feedback import Feedback, Source
from critic.feedback.kinds import KINDS
from critic.rows import RowError

ORIGIN = ("annotator", "principle", "constitution", "constitution_hash")
GIVEN = "given"
"""The model of a response whose writer the file doesn't name."""
TIMES = ("created_at", "at", "time", "timestamp")
"""Columns that say when a label was given, as an ISO date or seconds since 1970."""
STORED = frozenset(("id", "item", *TIMES, "project", "task", "job", "shown", "replaces", "retracted"))
"""What is said of a label beside the label itself, by the service when it gives it out."""


def is_feedback(columns: Mapping[str, Any]) -> bool:
    """Whether a row says of which kind of feedback it is, and what it is about."""
    kind = columns.get("kind")
    return isinstance(kind, str) and kind in KINDS and ("label" in columns or "responses" in columns)


def from_file(columns: Columns, where: str, source: Source) -> Feedback:
    """Return the feedback of a row; ``source`` says who gave it, where the row doesn't.

    Raises `RowError`, and the `ValueError` of a record that can't be built.
    """
    given = {name: value for name, value in columns.items() if value is not None}
    if "label" not in columns:
        return _exported(given, where)
    if "label" not in given:
        raise RowError("no_label", "the label is empty")
    if "retracted" in given:
        raise RowError("retracted", "this label was withdrawn, or corrected by another")
    if isinstance(given["label"], str):  # tables without types of their own hold it as a text
        given["label"] = _json(given["label"])
    own = {name: value for name, value in given.items() if name not in STORED}
    return Feedback.model_validate({"source": source} | own | {"where": given.get("where") or where})


def origin(columns: Mapping[str, Any], where: str, source: Source) -> Columns:
    """Return the envelope's fields that say where a label comes from, in one of two ways: alone or as a list of one."""
    given: Columns = {name: _alone(columns, name) for name in ORIGIN}
    said = _alone(columns, "source")  # in foreign files it names the data set that a row was taken from
    by = said if said in get_args(Source) else source
    if given["annotator"] is None and said == "ai":
        given["annotator"] = columns.get("judge")  # as a run's pairs name who compared
    return given | {"source": by, "where": str(columns.get("where") or where)}


def _alone(columns: Mapping[str, Any], name: str) -> object:
    """Return a column, or the one member of the list that rows of a data set have instead."""
    if (value := columns.get(name)) is None:
        several = columns.get(f"{name}s" if name != "constitution_hash" else "constitution_hashes")
        value = several[0] if isinstance(several, list) and len(several) == 1 else None
    return value


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise RowError("broken_line", "label is not JSON") from None


def _exported(columns: Columns, where: str) -> Feedback:
    texts = expect_list(columns, "responses")
    asked = columns.get("prompt")
    messages = [{"role": "user", "content": asked}] if isinstance(asked, str) else expect_list(columns, "prompt")
    prompt = {"messages": messages, "tags": columns.get("tags") or (), "id": columns.get("prompt_id")}
    label, shown = KINDS[columns["kind"]].exported(columns, texts)
    given = origin(columns, where, "ai") | {"annotator": columns.get("model") or columns.get("judge")}
    return Feedback.model_validate(
        {
            "kind": columns["kind"],
            "prompt": prompt,
            "responses": [{"text": text, "model": columns.get("policy") or GIVEN} for text in shown],
            "label": label,
            "group": columns.get("group"),
            **given,
        }
    )
