"""What `cai export` and `cai feedback export` are asked for."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from base.option import CommandOption
from critic.messages import Record


class Tabled(Record):
    """Which table is written, and with which options of its format."""

    table: Annotated[str | None, CommandOption()] = Field(
        default=None,
        description="What is written: pairs, rankings, ratings, sft or feedback. Default: the first that is there.",
    )
    options: Annotated[str, CommandOption()] = Field(
        default="{}", description="The format's options, as a JSON object."
    )


class _Written(Record):
    source: Annotated[Path, CommandOption(metavar="DIR", is_argument=True)] = Field(
        description="A run's folder, a data set's, or a feedback file."
    )
    format: Annotated[str | None, CommandOption()] = Field(
        default=None, description="The format: trl, llama-factory, axolotl, spreadsheet ..."
    )
    out: Annotated[Path | None, CommandOption()] = Field(default=None, description="The file to write.")


class _CertifiedExport(Record):
    certificate: Annotated[Path | None, CommandOption(metavar="FILE")] = Field(
        default=None, description="The certificate of the judge that gave the labels. Default: DIR's own."
    )
    require_certificate: Annotated[bool, CommandOption()] = Field(
        default=False, description="Refuse labels by a judge that have no certificate, or a void one."
    )
    bound: Annotated[tuple[str, ...], CommandOption(metavar="FIGURE=NUMBER")] = Field(
        default=(),
        description="A figure that the certificate has to reach with the worse end of its interval, as in "
        "accuracy=0.7; repeatable.",
    )
    push_to_hub: Annotated[str | None, CommandOption(metavar="OWNER/NAME")] = Field(
        default=None,
        description="Upload the folder's tables and its card to the Hugging Face hub, as a data set; a new one is "
        "private.",
    )


class ExportSettings(_CertifiedExport, Tabled, _Written):
    """What `cai export` is asked for."""
