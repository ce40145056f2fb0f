"""TRL's formats: preference (``prompt``, ``chosen``, ``rejected``), prompt-completion, and KTO (with ``label``).

Read, conversational or plain, a preference's prompt may be implicit: the turns, or in plain text the characters, that
both answers begin with, as TRL extracts it. A plain prompt becomes a user's turn.

Written are ``trl`` (chat messages) and ``trl-plain`` (texts). Lost: all columns but these, such as ``probability``
(the pairs that `cai generate` exports keep it), ``group``, and who gave the label under which constitution. Ratings on
a scale are left out, because KTO knows only good and bad; so are, in plain text, prompts of several turns.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

from critic.feedback import Source
from critic.feedback.base import Columns
from service.formats.base import Found, Reading, ShapedFormat, Table, count_lost, read_rows
from service.formats.parts.columns import from_columns

COLUMNS: Mapping[Table, tuple[str, ...]] = MappingProxyType(
    {
        "pairs": ("prompt", "chosen", "rejected"),
        "sft": ("prompt", "completion"),
        "ratings": ("prompt", "completion", "label"),
    }
)
TRAINERS = {"pairs": "DPOTrainer and RewardTrainer", "sft": "SFTTrainer", "ratings": "KTOTrainer"}


class TrlFormat(ShapedFormat):
    """Chat messages."""

    name: ClassVar[str] = "trl"
    title: ClassVar[str] = "TRL, as chats"
    suffixes: ClassVar[tuple[str, ...]] = (".jsonl", ".json", ".parquet")
    reads: ClassVar[tuple[str, ...]] = ("comparison", "demonstration", "thumbs", "rating", "ranking")
    tables: ClassVar[Mapping[Table, tuple[str, ...]]] = COLUMNS
    keeps_reasoning: ClassVar[bool] = True
    loses: ClassVar[str] = (
        "All but the texts and the label: probability, weight, group, and who gave the label under which constitution. "
        "Ratings on a scale are left out, since KTO knows only good and bad."
    )

    def read(self, path: Path, source: Source = "human") -> Reading:
        """Yield a comparison, demonstration or thumbs for each row."""
        return read_rows(path, source, _from_trl, self.naming())

    def usage(self, table: Table, file: Path) -> str:
        """See the base class."""
        return f'load_dataset("json", data_files="{file}", split="train"), for {TRAINERS[table]}'

    def records(self, table: Table, entry: Columns, lost: Counter[str]) -> Iterator[Columns]:
        """Yield the columns that TRL knows."""
        if table == "ratings" and entry.get("label") is None:
            lost["skipped_rating"] += 1
            return
        count_lost(entry, COLUMNS[table], lost)
        yield {name: entry[name] for name in COLUMNS[table]}


class TrlPlainFormat(TrlFormat):
    """Texts."""

    name: ClassVar[str] = "trl-plain"
    title: ClassVar[str] = "TRL, as texts"
    keeps_reasoning: ClassVar[bool] = False
    loses: ClassVar[str] = (
        "As trl; prompts of several turns are left out as well, and roles are not kept. Read back here, a text that is "
        "a chat itself, in JSON or with marks between its turns, is that chat."
    )

    def records(self, table: Table, entry: Columns, lost: Counter[str]) -> Iterator[Columns]:
        """Yield the texts, where the prompt is one."""
        if len(entry["prompt"]) > 1:
            lost["skipped_earlier_turns"] += 1
            return
        for record in super().records(table, entry, lost):
            yield {name: v[0]["content"] if isinstance(v, list) else v for name, v in record.items()}


def _from_trl(columns: Columns, where: str, source: Source) -> Iterator[Found]:
    chosen, rejected = columns.get("chosen"), columns.get("rejected")
    if columns.get("prompt") is None and isinstance(chosen, str) and isinstance(rejected, str):
        columns = columns | dict(zip(COLUMNS["pairs"], _split(chosen, rejected), strict=True))
    return from_columns(columns, where, source)


def _split(chosen: str, rejected: str) -> tuple[str, str, str]:
    """Return what both texts begin with, without a space at its end, and the two rests."""
    shorter = min(len(chosen), len(rejected))
    end = next((i for i in range(shorter) if chosen[i] != rejected[i]), shorter)
    if end and chosen[end - 1] == " ":
        end -= 1
    return chosen[:end], chosen[end:], rejected[end:]
