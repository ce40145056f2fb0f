"""JSON Lines in this project's own columns: feedback as it is, or the tables of a data set. Nothing is lost.

Reading takes feedback, and also what `cai generate` exports (``feedback``, ``pairs``, ``sft``) and rows of a data set.
A data set's row comes back as one label: how many labels it was aggregated from is what reading it loses.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from critic.feedback import KINDS, Feedback, Source
from critic.feedback.base import Columns
from critic.run.inputs import RowError
from service.formats.base import Found, ShapedFormat, Table, expect_list, expect_text, present, read_rows
from service.formats.columns import GIVEN, OWN_COLUMNS, from_columns, origin


class JsonlFormat(ShapedFormat):
    """See the module's docstring."""

    name: ClassVar[str] = "jsonl"
    title: ClassVar[str] = "This project's own, as JSON Lines"
    suffixes: ClassVar[tuple[str, ...]] = (".jsonl", ".json", ".ndjson")
    reads: ClassVar[tuple[str, ...]] = tuple(KINDS)
    tables: ClassVar[Mapping[Table, tuple[str, ...]]] = OWN_COLUMNS
    loses: ClassVar[str] = (
        "Nothing. Read back as a label, a data set's row loses how many labels it was aggregated from, and by whom "
        "where there were several."
    )

    def read(self, path: Path, source: Source = "human") -> Iterator[Found]:
        """Yield the feedback of each line."""
        return read_rows(path, source, from_own, self.naming())

    def records(self, table: Table, entry: Any, lost: Counter[str]) -> Iterator[Columns]:
        """Yield the entry as it is."""
        yield entry.model_dump(mode="json") if isinstance(entry, Feedback) else entry


def from_own(columns: Columns, where: str, source: Source) -> Iterator[Found]:
    """Read a row of this project's: feedback, a run's export, or a data set's row."""
    if columns.get("kind") is None:
        yield from from_columns(columns, where, source)
    elif "label" in columns:
        if columns["label"] is None:
            raise RowError("no_label", "the label is empty")
        given = present(columns)
        yield Feedback.model_validate({"source": source} | given | {"where": given.get("where") or where})
    else:
        yield _exported(present(columns), where)


def _exported(columns: Columns, where: str) -> Feedback:
    """Read a row of the ``feedback`` file that a run exports (`critic.run.tables`)."""
    texts = expect_list(columns, "responses")
    prompt = {
        "messages": expect_list(columns, "prompt"),
        "tags": columns.get("tags") or (),
        "id": columns.get("prompt_id"),
    }
    label, shown = _exported_label(columns, texts)
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


def _exported_label(columns: Columns, texts: list[Any]) -> tuple[Columns, list[Any]]:
    """Return the label, and the responses that it is about."""
    match columns["kind"]:
        case "critique":
            return {"text": expect_text(columns, "text"), "outcome": columns.get("outcome")}, texts
        case "correction":
            if len(texts) != 2:
                raise RowError("bad_responses", f"{len(texts)} responses; a correction has one before and one after")
            return {"text": texts[1], "better": False}, texts[:1]
        case "ranking":
            return {"ranks": columns.get("ranks"), "strengths": columns.get("strengths")}, texts
        case _:
            return _exported_comparison(columns), texts


def _exported_comparison(columns: Columns) -> Columns:
    probability, outcome = columns.get("probability"), columns.get("outcome")
    choice = None
    if isinstance(probability, int | float):
        choice = "tie" if outcome == "tie" else "first" if probability > 0.5 else "second"
    votes = columns.get("votes") or ()
    return {"choice": choice, "outcome": outcome, "probability": probability, "votes": votes}
