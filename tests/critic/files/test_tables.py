"""Typed tables: what stands in columns that nobody reads can't matter, and a bad value costs its row."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from base.errors import InputError
from critic.files.inputs import read_prompts
from critic.files.shapes import naming
from critic.files.sources import open_source
from critic.rows import Broken, Raw
from service.formats import format_of
from trainers.batches.data import read
from trainers.batches.examples import Pair

FAR = 2**60  # microseconds: past the year 9999, the last of Python's dates
COLUMNS = {"prompt": ["one", "two"], "chosen": ["a", "b"], "rejected": ["c", "d"]}


def far(path: Path) -> str:
    created = pa.array([0, FAR], pa.timestamp("us"))
    pq.write_table(pa.table({**COLUMNS, "created": created}), path)
    return str(path)


def unknown_zone(path: Path) -> str:
    created = pa.array([0, 1], pa.timestamp("us", tz="Mars/Olympus"))
    pq.write_table(pa.table({**COLUMNS, "created": created}), path)
    return str(path)


@pytest.mark.parametrize("write", [far, unknown_zone])
def test_a_column_that_nobody_reads_costs_nothing(write: Any, tmp_path: Path) -> None:
    source = write(tmp_path / "in.parquet")
    assert [line.where for line in read_prompts(source, max_chars=9, truncate=False)] == [
        "in.parquet:row 0",
        "in.parquet:row 1",
    ]
    assert not read(source, (Pair,)).refused
    assert len(list(format_of("trl").read(Path(source)))) == 2
    (first, _) = open_source(source, naming()).rows
    assert isinstance(first, Raw) and set(first.columns) == {"prompt", "chosen", "rejected"}


def test_a_bad_value_of_a_column_that_is_read_costs_its_row(tmp_path: Path) -> None:
    text = pa.array([0, FAR], pa.timestamp("us"))
    pq.write_table(pa.table({"prompt": ["one", "two"], "id": text}), tmp_path / "in.parquet")
    good, bad = open_source(str(tmp_path / "in.parquet"), naming()).rows
    assert isinstance(good, Raw) and good.columns["prompt"] == "one"
    assert isinstance(bad, Broken) and (bad.where, bad.reason) == ("in.parquet:row 1", "broken_row")


def test_a_broken_picture_that_nobody_asked_for_costs_nothing(tmp_path: Path) -> None:
    import datasets

    features = datasets.Features({"prompt": datasets.Value("string"), "photo": datasets.Value("binary")})
    data = datasets.Dataset.from_dict({"prompt": ["one", "two"], "photo": [b"no", b"picture"]}, features=features)
    data.save_to_disk(tmp_path / "saved")
    rows = list(open_source(str(tmp_path / "saved"), naming()).rows)
    assert [row.columns for row in rows if isinstance(row, Raw)] == [{"prompt": "one"}, {"prompt": "two"}]


def test_a_table_without_any_column_that_is_read_says_how_to_name_them(tmp_path: Path) -> None:
    pq.write_table(pa.table({"Frage": ["one"]}), tmp_path / "in.parquet")
    with pytest.raises(InputError, match="Frage") as caught:
        open_source(str(tmp_path / "in.parquet"), naming())
    assert "--column" in (caught.value.fix or "")
    (row,) = open_source(str(tmp_path / "in.parquet"), naming("prompt=Frage")).rows
    assert isinstance(row, Raw) and row.columns == {"prompt": "one"}
