"""Parquet in this project's own columns: feedback as it is, or the tables of a data set. Nothing of those is lost.

A label is written as JSON text, because each kind has other fields. Columns that a run exports beside these are lost.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import ClassVar

import pyarrow as pa

from critic.feedback import KINDS, Feedback, Source
from critic.feedback.base import Columns
from critic.run.folder.export import Parquet
from service.formats.base import Entry, Reading, ShapedFormat, Table, count_lost, read_rows
from service.formats.jsonl import from_own
from service.formats.parts.columns import OWN_COLUMNS

_TEXT, _TEXTS = pa.string(), pa.list_(pa.string())
_MESSAGES = pa.list_(pa.struct([("role", _TEXT), ("content", _TEXT)]))
_PROMPT = pa.struct([("messages", _MESSAGES), ("tags", _TEXTS), ("id", _TEXT)])
_RESPONSES = pa.list_(pa.struct([("text", _TEXT), ("model", _TEXT), ("finish", _TEXT)]))
_CHOICES = pa.list_(pa.struct([("principle", _TEXT), ("choice", _TEXT)]))
_RATINGS = pa.list_(pa.struct([("principle", _TEXT), ("rating", pa.float64())]))
_COMMON = [
    ("prompt", _MESSAGES),
    ("prompt_id", _TEXT),
    ("tags", _TEXTS),
    ("weight", pa.float64()),
    ("group", _TEXT),
    ("labels", pa.int64()),
    ("where", _TEXT),
    *((name, _TEXTS) for name in ("sources", "annotators", "principles", "constitutions", "constitution_hashes")),
]
_ENVELOPE = ("source", "annotator", "group", "constitution", "constitution_hash", "principle", "where")

SCHEMAS: dict[Table, pa.Schema] = {
    "feedback": pa.schema(
        [
            ("kind", _TEXT),
            ("prompt", _PROMPT),
            ("responses", _RESPONSES),
            ("label", _TEXT),
            *((name, _TEXT) for name in _ENVELOPE),
            ("seconds", pa.float64()),
            ("flag", pa.struct([("note", _TEXT)])),
        ]
    ),
    "pairs": pa.schema(
        [
            *_COMMON,
            ("chosen", _MESSAGES),
            ("rejected", _MESSAGES),
            ("probability", pa.float64()),
            ("chosen_model", _TEXT),
            ("rejected_model", _TEXT),
            ("by_principle", _CHOICES),
            ("deciding", _TEXTS),
        ]
    ),
    "rankings": pa.schema([*_COMMON, ("responses", _TEXTS), ("ranks", pa.list_(pa.int64()))]),
    "ratings": pa.schema(
        [
            *_COMMON,
            ("completion", _MESSAGES),
            ("label", pa.bool_()),
            ("rating", pa.float64()),
            ("scale", pa.list_(pa.float64())),
            ("model", _TEXT),
            ("by_principle", _RATINGS),
        ]
    ),
    "sft": pa.schema([*_COMMON, ("completion", _MESSAGES)]),
}


class ParquetFormat(ShapedFormat):
    """See the module's docstring."""

    name: ClassVar[str] = "parquet"
    title: ClassVar[str] = "This project's own, as Parquet"
    suffixes: ClassVar[tuple[str, ...]] = (".parquet",)
    reads: ClassVar[tuple[str, ...]] = tuple(KINDS)
    tables: ClassVar[Mapping[Table, tuple[str, ...]]] = OWN_COLUMNS
    loses: ClassVar[str] = (
        "The columns that a run exports in addition to those of a data set. A prompt whose history calls tools is "
        "refused: such rows need JSON Lines."
    )

    def read(self, path: Path, source: Source = "human") -> Reading:
        """Yield the feedback of each row."""
        return read_rows(path, source, from_own, self.naming())

    def save(self, table: Table, entries: Iterable[Entry], path: Path) -> Counter[str]:
        """Write the entries, a column for each name in the table's schema."""
        lost: Counter[str] = Counter()
        with path.open("wb") as file, closing(Parquet(file, SCHEMAS[table])) as writer:
            for entry in entries:
                record = _record(entry) if isinstance(entry, Feedback) else entry
                count_lost(record, SCHEMAS[table].names, lost)
                writer.write(record)
        return lost


def _record(feedback: Feedback) -> Columns:
    record = feedback.model_dump(mode="json")
    return record | {"label": feedback.label.model_dump_json()}
