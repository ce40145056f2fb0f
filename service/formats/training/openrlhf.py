"""OpenRLHF's chats: ``chosen`` and ``rejected`` (whole chats), ``input`` and ``output``, ``response`` and ``label``.

Its trainers take these files with ``--apply_chat_template`` and the keys' names (``--chosen_key chosen --rejected_key
rejected``; ``--input_key input --output_key output``; ``--output_key response --label_key label``). No ``margin`` is
written, because it would be subtracted in the loss. Lost: all but the chats and the label, such as ``probability``
and ``group``. Ratings on a scale are left out.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

from critic.feedback import Source
from critic.feedback.base import Columns
from critic.files.shapes.base import has
from service.formats.base import Found, Reading, ShapedFormat, Table, count_lost, read_rows
from service.formats.parts.columns import from_columns
from service.formats.training.trl import COLUMNS

_NAMES = {"input": "prompt", "output": "completion", "response": "completion"}


_KEYS: Mapping[str, Mapping[str, str]] = {
    "pairs": {"chosen": "chosen", "rejected": "rejected"},
    "sft": {"input": "input", "output": "output"},
    "ratings": {"output": "response", "label": "label"},
}


class OpenRlhfFormat(ShapedFormat):
    """See the module's docstring."""

    name: ClassVar[str] = "openrlhf"
    title: ClassVar[str] = "OpenRLHF"
    suffixes: ClassVar[tuple[str, ...]] = (".jsonl", ".json", ".parquet")
    reads: ClassVar[tuple[str, ...]] = ("comparison", "demonstration", "thumbs")
    tables: ClassVar[Mapping[Table, tuple[str, ...]]] = MappingProxyType(
        {"pairs": ("chosen", "rejected"), "sft": ("input", "output"), "ratings": ("response", "label")}
    )
    keeps_reasoning: ClassVar[bool] = True
    loses: ClassVar[str] = (
        "All but the chats and the label, such as probability and group. Ratings on a scale are left out."
    )

    def read(self, path: Path, source: Source = "human") -> Reading:
        """Yield a comparison, demonstration or thumbs for each row."""
        return read_rows(path, source, _from_openrlhf, self.naming())

    def usage(self, table: Table, file: Path) -> str:
        """See the base class."""
        keys = " ".join(f"--{flag}_key {name}" for flag, name in _KEYS[table].items())
        return f"--dataset {file} --apply_chat_template {keys}"

    def records(self, table: Table, entry: Columns, lost: Counter[str]) -> Iterator[Columns]:
        """Yield the row as chats."""
        if table == "ratings" and entry.get("label") is None:
            lost["skipped_rating"] += 1
            return
        count_lost(entry, COLUMNS[table], lost)
        prompt = entry["prompt"]
        match table:
            case "pairs":
                yield {"chosen": prompt + entry["chosen"], "rejected": prompt + entry["rejected"]}
            case "sft":
                yield {"input": prompt, "output": entry["completion"]}
            case _:
                yield {"response": prompt + entry["completion"], "label": int(entry["label"])}


def _from_openrlhf(columns: Columns, where: str, source: Source) -> Iterator[Found]:
    if not has(columns, "chosen", "rejected"):
        columns = {_NAMES.get(name, name): value for name, value in columns.items()}
    return from_columns(columns, where, source)
