"""How much a Parquet file or a workbook becomes when it is read: a few thousand bytes can stand for gigabytes.

A workbook is an archive, whose directory says how much it becomes. Pages of Parquet are packed, a column may hold one
long text in a dictionary and name it a million times, and equal values are counted and not repeated. So all three are
counted before a job reads the file: what the row groups say of their pages and values, and the texts that dictionaries
stand for, which are read here as numbers and never written out.
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from base.errors import InputError
from critic.files.containers.sheets import unpacked_bytes
from critic.files.containers.written_out import text_columns, written_out

MOST_BYTES = 2**30  # of a whole file; an upload of 16 MB that is packed as well as texts are becomes a quarter of it
ROWS_AT_ONCE = 64
VALUE_BYTES = 32  # of each number, empty text or null: a billion of the same one are a few bytes of the file

MOST_OF_WORKBOOK = 2**26  # of a workbook: its texts are all in memory while it is read, and each costs much more there
WORKBOOK, PARQUET = ".xlsx", ".parquet"

_FIX = "Split it into several jobs, or send JSON Lines."


def check_unpacked(path: Path) -> None:
    """Raise `InputError` where a file that is packed in its own way is not what its ending says, or becomes too much.

    Text that is packed is counted while it is read.
    """
    if path.suffix == PARQUET:
        check_parquet(path)
    elif path.suffix == WORKBOOK and unpacked_bytes(path, "input") > MOST_OF_WORKBOOK:
        problem = f"the workbook becomes more than {MOST_OF_WORKBOOK // 2**20:,} MiB when it is unpacked"
        raise InputError(problem, where="input", fix="Save its sheet as CSV, or split it.")


def check_parquet(path: Path) -> None:
    """Raise `InputError` where the file is no Parquet, or becomes more than `MOST_BYTES`."""
    try:
        _check(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"no Parquet that can be read: {error}", where="input") from None


def _check(path: Path) -> None:
    with pq.ParquetFile(path) as plain:
        about, schema = plain.metadata, plain.schema
        groups = [about.row_group(number) for number in range(about.num_row_groups)]
        pages = sum(group.total_byte_size for group in groups)
        values = sum(group.column(number).num_values for group in groups for number in range(group.num_columns))
        texts = text_columns(schema)
    _must_fit(max(pages, VALUE_BYTES * values))
    total = 0
    with pq.ParquetFile(path, read_dictionary=texts) as file:
        for batch in file.iter_batches(ROWS_AT_ONCE):
            total += sum(map(written_out, batch.columns))
            _must_fit(total)


def _must_fit(size: int) -> None:
    if size > MOST_BYTES:
        problem = f"the Parquet file becomes more than {MOST_BYTES // 2**20:,} MiB when it is unpacked"
        raise InputError(problem, where="input", fix=_FIX)
