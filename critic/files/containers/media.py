"""Pictures, sounds and films in a table with types: only whether a row has any is read, and none is taken out.

They may be large, or broken. Of a column of structs the part that takes the least room says as much as the whole, so
that a picture's path is read and its bytes are not.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any

from critic.files.shapes.pictures import MEDIA


def parts_of(about: Any, read: Collection[str], media: Collection[str]) -> list[str]:
    """Return what is read of a Parquet file: the columns, and of those of ``media`` the smallest part each."""
    sizes: Counter[str] = Counter()
    for group in range(about.num_row_groups):
        for place in range(about.num_columns):
            part = about.row_group(group).column(place)
            sizes[part.path_in_schema] += part.total_compressed_size
    return [_smallest(name, sizes) if name in media else name for name in read]


def _smallest(name: str, sizes: Counter[str]) -> str:
    parts = [path for path in sizes if _column_of(path) == name]
    return min(parts, key=lambda path: sizes[path], default=name)


def _column_of(path: str) -> str:
    return path.partition(".")[0]


def media_in(names: Iterable[str]) -> set[str]:
    """Return the columns that hold pictures, sounds or films."""
    return {name for name in names if name.strip().casefold() in MEDIA}


def with_flags(batch: Any, media: Collection[str]) -> Any:
    """Return a batch whose columns of media say of each row whether it has any."""
    for name in media:
        batch = batch.set_column(batch.schema.get_field_index(name), name, _are_there(batch.column(name)))
    return batch


def _are_there(values: Any) -> Any:
    """Return of each value whether it holds something: an empty list or text holds nothing, as in JSON."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = values.type
    if isinstance(values, pa.DictionaryArray):
        values, kind = values.dictionary_decode(), kind.value_type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        lengths = pc.list_value_length(values)
    elif pa.types.is_string(kind) or pa.types.is_binary(kind) or pa.types.is_large_string(kind):
        lengths = pc.binary_length(values)
    else:
        return values.is_valid()
    return pc.fill_null(pc.greater(lengths, 0), False)
