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
from critic.feedback.from_file import from_file, is_feedback
from service.formats.base import Found, Reading, ShapedFormat, Table, read_rows
from service.formats.parts.columns import OWN_COLUMNS, from_columns


class JsonlFormat(ShapedFormat):
    """See the module's docstring."""

    name: ClassVar[str] = "jsonl"
    title: ClassVar[str] = "This project's own, as JSON Lines"
    suffixes: ClassVar[tuple[str, ...]] = (".jsonl", ".json", ".ndjson")
    reads: ClassVar[tuple[str, ...]] = tuple(KINDS)
    tables: ClassVar[Mapping[Table, tuple[str, ...]]] = OWN_COLUMNS
    keeps_reasoning: ClassVar[bool] = True
    loses: ClassVar[str] = (
        "Nothing. Read back as a label, a data set's row loses how many labels it was aggregated from, and by whom "
        "where there were several."
    )

    def read(self, path: Path, source: Source = "human") -> Reading:
        """Yield the feedback of each line."""
        return read_rows(path, source, from_own, self.naming())

    def records(self, table: Table, entry: Any, lost: Counter[str]) -> Iterator[Columns]:
        """Yield the entry as it is."""
        yield entry.model_dump(mode="json") if isinstance(entry, Feedback) else entry


def from_own(columns: Columns, where: str, source: Source) -> Iterator[Found]:
    """Read a row of this project's: feedback, a run's export, or a data set's row."""
    if is_feedback(columns):
        yield from_file(columns, where, source)
    else:
        yield from from_columns(columns, where, source)
