"""Tables whose columns have types: Parquet, and data sets. Only the columns that are read are taken out of them.

So a value that Python can't hold, or a picture that is broken, matters only in a column that somebody asked for, and
costs only its own row there.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from base.errors import InputError
from critic.files.containers.unchanged import unchanged
from critic.files.naming import Naming
from critic.rows import Broken, OpenInput, Raw, Unread

if TYPE_CHECKING:
    from upath import UPath

    AnyPath = Path | UPath

PARQUET_BATCH = 64  # rows in memory at once; rows of 1 MB are expected


def parquet(path: "AnyPath", name: str, naming: Naming) -> OpenInput:
    """Open a Parquet file. Raises `InputError`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path if isinstance(path, Path) else path.open("rb"))
        names = file.schema_arrow.names
    except pa.ArrowException as error:
        raise InputError(f"not a Parquet file: {str(error).splitlines()[0]}", where=name) from None
    read = _read(names, naming, name)

    def rows() -> Iterator[Unread]:
        number = 0
        with file, unchanged(path, name):
            batches = file.iter_batches(PARQUET_BATCH, columns=read)
            while True:
                try:
                    batch = next(batches, None)
                except (pa.ArrowException, OSError) as error:
                    raise InputError(f"broken after row {number}: {error}", where=name) from None
                if batch is None:
                    return
                for i in range(batch.num_rows):
                    yield partial(_row, partial(_of_batch, batch, i), f"{name}:row {number}")
                    number += 1

    return OpenInput(name, tuple(names), rows())


def dataset(name: str, data: Any, naming: Naming) -> OpenInput:
    """Open a data set of the library `datasets`, kept on this machine or streamed."""
    names = data.column_names
    if names is not None:
        data = data.select_columns(_read(names, naming, name))
    if not hasattr(data, "num_rows"):  # a stream
        rows: Iterator[Unread] = (partial(Raw, f"{name}:row {i}", row) for i, row in enumerate(data))
    else:
        rows = (partial(_row, partial(data.__getitem__, i), f"{name}:row {i}") for i in range(data.num_rows))
    return OpenInput(name, None if names is None else tuple(names), rows)


def _read(names: list[str], naming: Naming, where: str) -> list[str]:
    wanted = naming.of_table(names, where)
    if not wanted:
        raise InputError(
            f"no column is one that is read: there are {', '.join(names) or 'none at all'}",
            where=where,
            fix="Say with --column which is which, as in --column prompt=NAME.",
        )
    return [name for name in names if name in wanted]


def _of_batch(batch: Any, row: int) -> dict[str, Any]:
    values: dict[str, Any] = batch.slice(row, 1).to_pylist()[0]
    return values


def _row(read: Callable[[], dict[str, Any]], where: str) -> Raw | Broken:
    """Turn one row to Python. Parquet does not check that its strings are UTF-8, nor that its dates are Python's."""
    try:
        return Raw(where, read())
    except UnicodeDecodeError:
        return Broken(where, "not_utf8", "a value isn't UTF-8")
    except Exception as error:  # whatever a type's conversion, or a picture's decoder, raises
        problem = str(error).partition("\n")[0] or type(error).__name__
        return Broken(where, "broken_row", f"a value can't be read: {problem}")
