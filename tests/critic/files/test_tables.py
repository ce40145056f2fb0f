"""Typed tables: what stands in columns that nobody reads can't matter, and a bad value costs its row."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from base.errors import InputError
from critic.files.containers.media import parts_of
from critic.files.containers.tables import dataset
from critic.files.inputs import read_prompts
from critic.files.shapes import naming
from critic.files.sources import open_source
from critic.records import Quarantined
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


LONG = "x" * 2**20


def rows_of(path: Path) -> list[Any]:
    rows = open_source(str(path), naming()).rows
    return [row.reason if isinstance(row, Broken) else row.columns for row in rows]


def test_a_text_that_a_dictionary_names_often_is_written_out_a_row_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each row is small enough, and all of a batch are not; one row may be too large alone."""
    monkeypatch.setattr("critic.files.containers.tables.LINE_BYTES", 3 * 2**20)
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 14, pa.int32()), [LONG])
    lists = pa.ListArray.from_arrays([0, 2, 12, 14], texts)
    pq.write_table(pa.table({"responses": lists}), tmp_path / "in.parquet", compression="zstd")
    assert (tmp_path / "in.parquet").stat().st_size < 10_000
    first, second, third = rows_of(tmp_path / "in.parquet")
    assert first == third == {"responses": [LONG, LONG]} and second == "too_long"


@pytest.mark.parametrize(("column", "read"), [("prompt", False), ("created", True)])
def test_a_column_that_unpacks_to_too_much_is_refused_where_it_is_read(
    column: str, read: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("critic.files.containers.tables.MOST_UNPACKED", 2**20)
    table = {"prompt": ["one"] * 9, "id": ["x"] * 9} | {column: [LONG] * 9}
    pq.write_table(pa.table(table), tmp_path / "in.parquet", compression="zstd", use_dictionary=False)
    if read:
        assert len(rows_of(tmp_path / "in.parquet")) == 9
        return
    with pytest.raises(InputError, match="prompt unpacks to") as caught:
        rows_of(tmp_path / "in.parquet")
    assert caught.value.fix


def test_values_that_take_no_room_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("critic.files.containers.tables.MOST_VALUES", 1000)
    zeros = pa.ListArray.from_arrays([0, 4000], pa.array([0] * 4000, pa.int8()))
    pq.write_table(pa.table({"prompt": ["a"], "ranks": zeros}), tmp_path / "in.parquet")
    with pytest.raises(InputError, match="in 4,000 values"):
        rows_of(tmp_path / "in.parquet")


def test_every_type_of_text_and_number_is_read(tmp_path: Path) -> None:
    from decimal import Decimal

    table = {
        "prompt": pa.array(["one"], pa.large_string()),
        "chosen": pa.array(["a"]).dictionary_encode(),
        "rejected": pa.array(["b"], pa.string_view()),
        "margin": pa.array([Decimal("0.5")], pa.decimal256(60, 2)),
        "tags": pa.array([["x"]], pa.large_list(pa.string())),
    }
    pq.write_table(pa.table(table), tmp_path / "in.parquet")
    [row] = rows_of(tmp_path / "in.parquet")
    assert row == {"prompt": "one", "chosen": "a", "rejected": "b", "margin": Decimal("0.5"), "tags": ["x"]}


MARKED = "<image> Which bird is this?"
PICTURE = {"bytes": b"no picture", "path": None}


def picture_reasons(source: str) -> list[str]:
    lines = read_prompts(source, max_chars=99, truncate=False)
    return [line.reason if isinstance(line, Quarantined) else "read" for line in lines]


@pytest.mark.parametrize(
    ("name", "some", "none"),
    [
        ("images", [PICTURE], []),
        ("images", ["a.png"], None),
        ("Image", "a.png", ""),
        ("image", PICTURE, None),
        ("audio", {"array": [0.5] * 99, "sampling_rate": 8000}, None),
    ],
)
def test_a_prompt_about_a_picture_is_refused_where_the_row_has_one(
    name: str, some: Any, none: Any, tmp_path: Path
) -> None:
    rows = [{"prompt": MARKED, name: some}, {"prompt": MARKED, name: none}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in.parquet")
    assert picture_reasons(str(tmp_path / "in.parquet")) == ["not_text", "read"]
    (first, second) = open_source(str(tmp_path / "in.parquet"), naming()).rows
    flags = [row.columns[name.casefold()] for row in (first, second) if isinstance(row, Raw)]
    assert flags == [True, False], "it is told apart, and not taken out"


def test_of_a_picture_the_part_that_takes_the_least_room_is_read(tmp_path: Path) -> None:
    large = {"bytes": bytes(range(256)) * 999, "path": "a.png"}
    pq.write_table(pa.Table.from_pylist([{"prompt": MARKED, "images": [large]}]), tmp_path / "in.parquet")
    about = pq.ParquetFile(tmp_path / "in.parquet").metadata
    assert parts_of(about, ["prompt", "images"], {"images"}) == ["prompt", "images.list.element.path"]


def test_a_data_set_with_a_broken_picture_is_read_without_decoding_it(tmp_path: Path) -> None:
    import datasets

    features = datasets.Features({"prompt": datasets.Value("string"), "image": datasets.Image()})
    data = datasets.Dataset.from_dict({"prompt": [MARKED, MARKED], "image": [PICTURE, None]}, features=features)
    data.save_to_disk(tmp_path / "saved")
    assert picture_reasons(str(tmp_path / "saved")) == ["not_text", "read"]
    streamed = dataset("streamed", data.to_iterable_dataset(), naming()).rows
    assert [bool(row.columns["image"]) for row in streamed if isinstance(row, Raw)] == [True, False]
