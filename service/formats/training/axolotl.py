"""Axolotl's data files: preferences, KTO labels and demonstrations, as chats.

Preferences are what ``type: chat_template.default`` takes (``rl: dpo``): the chat in ``messages``, and one message in
each of ``chosen`` and ``rejected``. KTO labels are what ``type: chatml.argilla_chat`` or ``llama3.argilla_chat`` take
(``rl: kto``): the whole chat in ``completion``, and ``label``. Demonstrations are what ``type: chat_template`` takes;
by its default Axolotl learns the answers of earlier turns, too. See docs/rlhf.qmd and docs/dataset-formats of its
repository.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

from critic.feedback import Source
from critic.feedback.base import Columns
from service.formats.base import Reading, ShapedFormat, Table, count_lost, has_place, read_rows
from service.formats.parts.columns import from_columns
from service.formats.training.trl import COLUMNS

_TYPES: Mapping[Table, str] = {
    "pairs": "chat_template.default",
    "ratings": "chatml.argilla_chat",
    "sft": "chat_template",
}
_TRAINERS: Mapping[Table, str] = {"pairs": "rl: dpo; ", "ratings": "rl: kto; ", "sft": ""}


class AxolotlFormat(ShapedFormat):
    """See the module's docstring."""

    name: ClassVar[str] = "axolotl"
    title: ClassVar[str] = "Axolotl"
    suffixes: ClassVar[tuple[str, ...]] = (".jsonl", ".json")
    reads: ClassVar[tuple[str, ...]] = ("comparison", "thumbs", "demonstration")
    tables: ClassVar[Mapping[Table, tuple[str, ...]]] = MappingProxyType(
        {
            "pairs": ("messages", "chosen", "rejected"),
            "ratings": ("completion", "label"),
            "sft": ("messages",),
        }
    )
    keeps_reasoning: ClassVar[bool] = True
    loses: ClassVar[str] = (
        "All but the texts and the label, such as probability and group. Left out are ratings on a scale, and prompts "
        "whose history calls tools."
    )

    def read(self, path: Path, source: Source = "human") -> Reading:
        """Yield a comparison, thumbs or demonstration for each row."""
        return read_rows(path, source, from_columns, self.naming())

    def usage(self, table: Table, file: Path) -> str:
        """See the base class."""
        return f"{_TRAINERS[table]}datasets: [{{path: {file}, ds_type: json, split: train, type: {_TYPES[table]}}}]"

    def records(self, table: Table, entry: Columns, lost: Counter[str]) -> Iterator[Columns]:
        """Yield the row as its chats."""
        if not has_place(table, entry, lost):
            return
        count_lost(entry, COLUMNS[table], lost)
        match table:
            case "pairs":
                [chosen], [rejected] = entry["chosen"], entry["rejected"]
                yield {"messages": entry["prompt"], "chosen": chosen, "rejected": rejected}
            case "ratings":
                yield {"completion": entry["prompt"] + entry["completion"], "label": entry["label"]}
            case _:
                yield {"messages": entry["prompt"] + entry["completion"]}
