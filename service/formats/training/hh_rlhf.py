"""HH-RLHF's transcripts: ``chosen`` and ``rejected``, texts with turns after ``Human:`` and ``Assistant:``.

They are read as `critic.files.shapes.chats.transcripts` says. A pair whose transcripts differ before the last answer,
or whose last turn is empty, is refused: there is no answer of each to one prompt. Lost: all but the texts, such as
``probability`` and ``group``. Left out are chats that the format can't say: with a system message, with an empty
answer, or with text that would read as another turn.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

from critic.feedback import Source
from critic.feedback.base import Columns, expect_text
from critic.files.inputs import RowError
from critic.files.shapes.chats.transcripts import answered
from service.formats.base import Found, Reading, ShapedFormat, Table, count_lost, is_plain, read_rows
from service.formats.parts.columns import from_columns
from service.formats.training.trl import COLUMNS

_NAMES = {"user": "Human", "assistant": "Assistant"}


class HhRlhfFormat(ShapedFormat):
    """See the module's docstring."""

    name: ClassVar[str] = "hh-rlhf"
    title: ClassVar[str] = "HH-RLHF's transcripts"
    suffixes: ClassVar[tuple[str, ...]] = (".jsonl", ".json", ".parquet")
    reads: ClassVar[tuple[str, ...]] = ("comparison",)
    tables: ClassVar[Mapping[Table, tuple[str, ...]]] = MappingProxyType({"pairs": ("chosen", "rejected")})
    loses: ClassVar[str] = (
        "All but the texts. Chats that a transcript can't hold are left out: those with a system message, tool calls, "
        "an empty answer, or text that would read as another turn."
    )

    def read(self, path: Path, source: Source = "human") -> Reading:
        """Yield a comparison for each row."""
        return read_rows(path, source, _from_transcripts, self.naming())

    def records(self, table: Table, entry: Columns, lost: Counter[str]) -> Iterator[Columns]:
        """Yield the two transcripts, where reading them gives the same chats again."""
        chats = [entry["prompt"] + entry[side] for side in ("chosen", "rejected")]
        if not all(map(is_plain, chats)):
            lost["skipped_tool_turns"] += 1
        elif any(message["role"] == "system" for message in chats[0]):
            lost["skipped_system_message"] += 1
        elif not all(_says(chat) for chat in chats):
            lost["skipped_unlike_a_transcript"] += 1
        else:
            count_lost(entry, COLUMNS["pairs"], lost)
            yield {"chosen": _transcript(chats[0]), "rejected": _transcript(chats[1])}


def _says(chat: list[Columns]) -> bool:
    try:
        return answered(_transcript(chat)) == chat
    except RowError:
        return False


def _transcript(chat: list[Columns]) -> str:
    return "".join(f"\n\n{_NAMES[message['role']]}: {message['content']}" for message in chat)


def _from_transcripts(columns: Columns, where: str, source: Source) -> Iterator[Found]:
    chats = {side: answered(expect_text(columns, side)) for side in ("chosen", "rejected")}
    return from_columns(columns | chats, where, source)
