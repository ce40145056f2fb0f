"""How much the values of a table are when every text is written out: a few thousand bytes of Parquet can be gigabytes.

A column may hold one long text in a dictionary and name it a million times. So texts are read as numbers beside their
dictionary, and counted before they are written out.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

_TEXTS = ("STRING", "JSON", "ENUM", "NONE")  # what is stored as bytes and isn't one of these is a number, a date ...


def text_columns(schema: Any) -> list[str]:
    """Return the columns of texts, as far down as they stand, of a Parquet file's schema."""
    columns = [schema.column(number) for number in range(len(schema))]
    return [
        column.path for column in columns if column.physical_type == "BYTE_ARRAY" and column.logical_type.type in _TEXTS
    ]


def written_out(values: "pa.Array") -> int:
    """Return the bytes of an array with every text of a dictionary written out."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(values, pa.DictionaryArray):
        lengths = pc.binary_length(values.dictionary)
        return int(pc.sum(lengths.take(values.indices)).as_py() or 0)
    inside = list(_inside(values))
    return sum(map(written_out, inside)) if inside else int(values.nbytes)


def _inside(values: "pa.Array") -> Iterator["pa.Array"]:
    import pyarrow as pa

    if isinstance(values, pa.MapArray):  # asked first: it is a list, too
        yield from (values.keys, values.items)
    elif isinstance(values, pa.ListArray | pa.LargeListArray | pa.FixedSizeListArray):
        yield values.flatten()
    elif isinstance(values, pa.StructArray):
        yield from values.flatten()
