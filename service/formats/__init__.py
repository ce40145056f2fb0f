"""File formats: people's and models' feedback in, data sets out.

A format is one file here with a subclass of `service.formats.base.Format`, whose module's docstring says what a round
trip loses, and one line in `FORMATS`. Its fields are its options. The contract tests run over `FORMATS`.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from constitution.errors import InputError
from critic.run.row_prompt import readable
from service.formats.annotated_pairs import AnnotatedPairsFormat
from service.formats.argilla import ArgillaFormat
from service.formats.base import Format
from service.formats.hh_rlhf import HhRlhfFormat
from service.formats.jsonl import JsonlFormat
from service.formats.llama_factory import LlamaFactoryFormat
from service.formats.nemo_rl import NemoRlFormat
from service.formats.oasst import OasstFormat
from service.formats.openrlhf import OpenRlhfFormat
from service.formats.parquet import ParquetFormat
from service.formats.spreadsheet import SpreadsheetFormat
from service.formats.trl import TrlFormat, TrlPlainFormat

FORMATS: dict[str, type[Format]] = {
    format.name: format
    for format in (
        JsonlFormat,
        ParquetFormat,
        TrlFormat,
        TrlPlainFormat,
        OpenRlhfFormat,
        NemoRlFormat,
        HhRlhfFormat,
        ArgillaFormat,
        AnnotatedPairsFormat,
        OasstFormat,
        LlamaFactoryFormat,
        SpreadsheetFormat,
    )
}


def format_of(name: str, options: Mapping[str, Any] | None = None) -> Format:
    """Return the format ``name`` with its options. Raises `InputError` for unknown ones."""
    if name not in FORMATS:
        raise InputError(f"there is no format {name!r}", where="format", fix=f"Known formats: {', '.join(FORMATS)}.")
    try:
        return FORMATS[name].model_validate(options or {})
    except ValidationError as error:
        known = ", ".join(FORMATS[name].model_fields) or "none"
        raise InputError(readable(error), where=f"format {name}", fix=f"Options of {name}: {known}.") from None
