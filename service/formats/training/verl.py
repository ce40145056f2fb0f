"""verl's Parquet files: ``messages`` for supervised training, and a prompt a row for reinforcement learning.

A row for reinforcement learning has verl's five columns (``data_source``, ``prompt``, ``ability``, ``reward_model``,
``extra_info``); see docs/preparation/prepare_data.rst of its repository. ``extra_info`` has the prompt again, for
rewards that are asked of this project's service (`service.rewards.verl_reward`), and the two answers with their
probability, for rewards that compare; ``ground_truth`` is the better answer. A prompt of several pairs stands there as
often.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

import pyarrow as pa

from critic.feedback import Source
from critic.feedback.base import Columns
from critic.files.inputs import RowError
from critic.run.folder.export import Parquet
from service.formats.base import Entry, Format, Found, Reading, Table, count_lost, is_plain, present, read_rows
from service.formats.parts.columns import from_columns

DATA_SOURCE, ABILITY, STYLE = "cai-feedback", "preference", "model"
_KEPT = ("prompt", "chosen", "rejected", "completion", "probability", "group")
_TEXT = pa.string()
_MESSAGES = pa.list_(pa.struct([("role", _TEXT), ("content", _TEXT)]))
_SCHEMAS: Mapping[Table, pa.Schema] = {
    "pairs": pa.schema(
        [
            ("data_source", _TEXT),
            ("prompt", _MESSAGES),
            ("ability", _TEXT),
            ("reward_model", pa.struct([("style", _TEXT), ("ground_truth", _TEXT)])),
            (
                "extra_info",
                pa.struct(
                    [
                        ("index", pa.int64()),
                        ("split", _TEXT),
                        ("prompt", _MESSAGES),
                        ("chosen", _MESSAGES),
                        ("rejected", _MESSAGES),
                        ("probability", pa.float64()),
                        ("group", _TEXT),
                    ]
                ),
            ),
        ]
    ),
    "sft": pa.schema([("messages", _MESSAGES)]),
}


class VerlFormat(Format):
    """See the module's docstring."""

    name: ClassVar[str] = "verl"
    title: ClassVar[str] = "verl"
    suffixes: ClassVar[tuple[str, ...]] = (".parquet",)
    reads: ClassVar[tuple[str, ...]] = ("comparison", "demonstration")
    tables: ClassVar[Mapping[Table, tuple[str, ...]]] = MappingProxyType(
        {table: tuple(schema.names) for table, schema in _SCHEMAS.items()}
    )
    loses: ClassVar[str] = (
        "Of pairs all but the texts, the probability and the group; of demonstrations all but the texts. Prompts "
        "whose history calls tools are left out."
    )

    def read(self, path: Path, source: Source = "human") -> Reading:
        """Yield a comparison or demonstration for each row."""
        return read_rows(path, source, _from_verl)

    def usage(self, table: Table, file: Path) -> str:
        """See the base class."""
        return f"data.train_files={file}"

    def save(self, table: Table, entries: Iterable[Entry], path: Path) -> Counter[str]:
        """Write the rows, in the order in which they come."""
        lost: Counter[str] = Counter()
        index = 0
        with path.open("wb") as file, closing(Parquet(file, _SCHEMAS[table])) as writer:
            for entry in entries:
                assert isinstance(entry, dict)
                if not is_plain(entry["prompt"]):
                    lost["skipped_tool_turns"] += 1
                    continue
                count_lost(entry, _KEPT if table == "pairs" else ("prompt", "completion"), lost)
                writer.write(
                    _prompted(entry, index) if table == "pairs" else {"messages": entry["prompt"] + entry["completion"]}
                )
                index += 1
        return lost


def _prompted(entry: Columns, index: int) -> Columns:
    beside = {name: entry.get(name) for name in ("prompt", "chosen", "rejected", "probability", "group")}
    return {
        "data_source": DATA_SOURCE,
        "prompt": entry["prompt"],
        "ability": ABILITY,
        "reward_model": {"style": STYLE, "ground_truth": entry["chosen"][-1]["content"]},
        "extra_info": {"index": index, "split": "train", **beside},
    }


def _from_verl(columns: Columns, where: str, source: Source) -> Iterator[Found]:
    if columns.get("messages") is not None:
        return from_columns({"messages": columns["messages"]}, where, source)
    beside = columns.get("extra_info")
    if not isinstance(beside, dict) or beside.get("chosen") is None or beside.get("rejected") is None:
        raise RowError("no_label", "extra_info holds no chosen and rejected: verl's other rows are prompts alone")
    kept = {name: beside.get(name) for name in ("chosen", "rejected", "probability", "group")}
    return from_columns({"prompt": columns.get("prompt"), **present(kept)}, where, source)
