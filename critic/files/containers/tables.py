"""Tables whose columns have types: Parquet, and data sets. Only the columns that are read are taken out of them.

So a value that Python can't hold, or a picture that is broken, matters only in a column that somebody asked for, and
costs only its own row there.
"""

from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from base.errors import InputError
from critic.files.containers.media import media_in, parts_of, with_flags
from critic.files.containers.packed import MOST_RATIO, MOST_UNPACKED
from critic.files.containers.unchanged import unchanged
from critic.files.containers.written_out import text_columns, written_out
from critic.files.naming import Naming
from critic.rows import LINE_BYTES, Broken, OpenInput, Raw, Unread

if TYPE_CHECKING:
    from upath import UPath

    AnyPath = Path | UPath

PARQUET_BATCH = 64  # rows in memory at once; rows of 1 MB are expected
MOST_AT_ONCE = 2**30  # bytes of one column in a batch
MOST_READ_AT_ONCE = 2**21  # bytes of a batch whose rows are made Python's together, which takes a third of the time
MOST_VALUES = 2**27  # of one column in one row group: equal ones take no room in the file, and 8 bytes or more here


def parquet(path: "AnyPath", name: str, naming: Naming) -> OpenInput:
    """Open a Parquet file. Raises `InputError`; what was made to fill a memory is refused."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    place = path if isinstance(path, Path) else path.open("rb")
    try:
        with pq.ParquetFile(place) as plain:
            plain_types, about, texts = plain.schema_arrow, plain.metadata, text_columns(plain.schema)
        names = plain_types.names
        # Texts that could be far more than they take come as numbers beside their dictionary: twice the time.
        place = path if isinstance(path, Path) else path.open("rb")
        file = pq.ParquetFile(place, metadata=about, read_dictionary=texts if _may_grow(about) else [])
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"not a Parquet file: {_first(error)}", where=name) from None
    media = media_in(_read(names, naming, name))
    read = parts_of(about, _read(names, naming, name), media)
    _refuse_bombs(about, read, name)
    for column in media:
        plain_types = plain_types.set(plain_types.get_field_index(column), pa.field(column, pa.bool_()))

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
                batch = with_flags(batch, media)
                size = _bytes(batch)
                if size <= LINE_BYTES:
                    batch = _written(batch, plain_types)
                at_once = _AtOnce(batch) if size <= MOST_READ_AT_ONCE else None
                for i in range(batch.num_rows):
                    where = f"{name}:row {number}"
                    if at_once is not None:
                        yield partial(_row, partial(at_once.row, i), where)
                    elif size <= LINE_BYTES:
                        yield partial(_row, partial(_of_batch, batch, i), where)
                    else:
                        yield partial(_row_of_bound, batch, i, where)
                    number += 1

    return OpenInput(name, tuple(names), rows())


def _may_grow(about: Any) -> bool:
    """Whether a batch could have more than `MOST_AT_ONCE` bytes of texts that a dictionary names again and again."""
    for group in range(about.num_row_groups):
        rows = about.row_group(group).num_rows
        for place in range(about.num_columns):
            column = about.row_group(group).column(place)
            at_once = min(PARQUET_BATCH, rows) if column.num_values <= rows else column.num_values
            if column.has_dictionary_page and at_once * column.total_uncompressed_size > MOST_AT_ONCE:
                return True
    return False


def _refuse_bombs(about: Any, read: Collection[str], name: str) -> None:
    """Raise `InputError` where a column that is read says that it unpacks to far more than it takes, or never ends."""
    for group in range(about.num_row_groups):
        for place in range(about.num_columns):
            column = about.row_group(group).column(place)
            if not {column.path_in_schema, column.path_in_schema.partition(".")[0]} & set(read):
                continue
            size, most = column.total_uncompressed_size, max(MOST_UNPACKED, MOST_RATIO * column.total_compressed_size)
            if size > most or column.num_values > MOST_VALUES:
                raise InputError(
                    f"{column.path_in_schema} unpacks to {size:,} bytes in {column.num_values:,} values, from "
                    f"{column.total_compressed_size:,} bytes",
                    where=name,
                    fix="Write it again in smaller row groups, if you trust it.",
                )


def _written(batch: Any, types: Any) -> Any:
    """Return a batch with its texts written out, which Python then reads in half the time."""
    import pyarrow as pa

    try:
        return batch.cast(pa.schema([types.field(name) for name in batch.schema.names]))
    except pa.ArrowException:  # a type that isn't cast, or a text that is no UTF-8: each row says what is wrong
        return batch


def _bytes(batch: Any) -> int:
    return sum(map(written_out, batch.columns))


def _row_of_bound(batch: Any, row: int, where: str) -> Raw | Broken:
    """Return a row of a batch of which one may be too large."""
    size = _bytes(batch.slice(row, 1))
    if size > LINE_BYTES:
        return Broken(where, "too_long", f"the row has {size:,} bytes; the limit is {LINE_BYTES:,}")
    return _row(partial(_of_batch, batch, row), where)


def _first(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


def dataset(name: str, data: Any, naming: Naming) -> OpenInput:
    """Open a data set of the library `datasets`, kept on this machine or streamed."""
    names = data.column_names
    media: set[str] = set()
    if names is not None:
        data = data.select_columns(_read(names, naming, name))
        media = media_in(data.column_names)
    if not hasattr(data, "num_rows"):  # a stream
        stream = data.decode(False) if media else data
        rows: Iterator[Unread] = (partial(Raw, f"{name}:row {i}", row) for i, row in enumerate(stream))
    else:
        # Arrow's rows are not decoded: a picture may be broken, and nobody looks at it.
        row = partial(_undecoded, data.with_format("arrow")) if media else data.__getitem__
        rows = (partial(_row, partial(row, i), f"{name}:row {i}") for i in range(data.num_rows))
    return OpenInput(name, None if names is None else tuple(names), rows)


def _undecoded(data: Any, row: int) -> dict[str, Any]:
    values: dict[str, Any] = data[row].to_pylist()[0]
    return values


def _read(names: list[str], naming: Naming, where: str) -> list[str]:
    wanted = naming.of_table(names, where)
    if not wanted:
        raise InputError(
            f"no column is one that is read: there are {', '.join(names) or 'none at all'}",
            where=where,
            fix="Say with --column which is which, as in --column prompt=NAME.",
        )
    return [name for name in names if name in wanted]


class _AtOnce:
    """The rows of a batch, made Python's together as the first is asked for; each alone where one can't be."""

    def __init__(self, batch: Any) -> None:
        self._batch = batch
        self._rows: list[dict[str, Any]] | None = None
        self._has_bad = False

    def row(self, place: int) -> dict[str, Any]:
        """Return one row. Raises what Arrow does for a value that Python can't hold."""
        if self._rows is None and not self._has_bad:
            try:
                self._rows = self._batch.to_pylist()
            except Exception:  # whatever a type's conversion raises: it costs its own row, which is asked for alone
                self._has_bad = True
        return _of_batch(self._batch, place) if self._rows is None else self._rows[place]


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
        return Broken(where, "broken_row", f"a value can't be read: {_first(error)}")
