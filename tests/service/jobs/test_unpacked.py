"""A Parquet file or a workbook of a few thousand bytes that becomes gigabytes is refused before it is read."""

import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from base.errors import InputError
from service.jobs.inputs.unpacked import check_parquet, check_unpacked
from tests.factories import workbook

LONG = "x" * 2**20


def written(path: Path, column: pa.Array, **how: object) -> Path:
    pq.write_table(pa.table({"prompt": column}), path, compression="zstd", **how)
    return path


def test_one_text_that_a_dictionary_names_often_counts_as_often(tmp_path: Path) -> None:
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 5000, pa.int32()), [LONG])
    path = written(tmp_path / "flat.parquet", column)
    assert path.stat().st_size < 10_000
    with pytest.raises(InputError, match="becomes more than 1,024 MiB"):
        check_parquet(path)


def test_a_single_row_can_be_too_large(tmp_path: Path) -> None:
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 5000, pa.int32()), [LONG])
    path = written(tmp_path / "row.parquet", pa.ListArray.from_arrays([0, 5000], texts))
    assert path.stat().st_size < 10_000
    with pytest.raises(InputError, match="becomes more than"):
        check_parquet(path)


def test_pages_that_are_packed_well_are_counted_without_being_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.jobs.inputs.unpacked.MOST_BYTES", 10 * 2**20)
    path = written(tmp_path / "pages.parquet", pa.array([LONG] * 20), use_dictionary=False)
    assert path.stat().st_size < 20_000
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", None)
    with pytest.raises(InputError, match="becomes more than 10 MiB"):
        check_parquet(path)


def test_values_that_are_told_by_their_number_are_counted_without_being_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list of zeros in one row: it would be unpacked as a whole, also by whoever only looks."""
    zeros = pa.array(np.zeros(400_000, np.int8))
    path = written(tmp_path / "zeros.parquet", pa.ListArray.from_arrays([0, len(zeros)], zeros))
    assert path.stat().st_size < 10_000
    monkeypatch.setattr("service.jobs.inputs.unpacked.MOST_BYTES", 10 * 2**20)
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", None)
    with pytest.raises(InputError, match="becomes more than 10 MiB"):
        check_parquet(path)


def test_honest_files_pass_and_others_are_refused(tmp_path: Path) -> None:
    rows = [
        {"prompt": f"question {n}", "tags": ["a", "b"], "turns": [{"role": "user", "content": "x"}]} for n in range(500)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "good.parquet")
    check_parquet(tmp_path / "good.parquet")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError, match="no Parquet that can be read"):
        check_parquet(tmp_path / "bad.parquet")


def test_a_workbook_counts_as_much_as_it_becomes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "in.xlsx"
    path.write_bytes(workbook(("prompt",), ("Name a river.",)))
    check_unpacked(path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("docProps/more.xml", b" " * 2**20)
    assert path.stat().st_size < 10_000
    monkeypatch.setattr("service.jobs.inputs.unpacked.MOST_OF_WORKBOOK", 2**20)
    with pytest.raises(InputError, match="becomes more than 1 MiB"):
        check_unpacked(path)
    path.write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(InputError, match="not an XLSX file"):
        check_unpacked(path)
