"""Options that several commands have, each in one spelling, and under one heading of ``--help``.

Those that are settings are made of the models in `critic.settings`; what is written out here is the command line's
alone, or of commands that have no model.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from critic.settings.judging import Seeded
from critic.settings.panels import INPUT as INPUT
from critic.settings.panels import JUDGING as JUDGING
from critic.settings.panels import LIMITS as LIMITS
from critic.settings.panels import OUTPUT as OUTPUT
from critic.settings.panels import SAMPLING as SAMPLING
from critic.settings.panels import SERVER as SERVER
from critic.settings.run import GenerateSettings
from service.cli.given.expand import option

EMBEDDED = ["embedded"]


class Aggregation(StrEnum):
    """How principles' votes become one probability."""

    log_odds = "log-odds"
    probability = "probability"
    majority = "majority"
    minimum = "minimum"


class Format(StrEnum):
    """The exports' file format."""

    jsonl = "jsonl"
    parquet = "parquet"


Principles = Annotated[str, option(GenerateSettings, "principles")]
FirstRows = Annotated[
    int | None, typer.Option("--limit", min=1, help="Use only the first N rows.", rich_help_panel=LIMITS)
]
Seed = Annotated[int, option(Seeded, "seed")]
JudgeSpec = Annotated[
    str,
    typer.Option(help="The engine that judges: embedded, hf:PATH_OR_ID ...", rich_help_panel=JUDGING),
]
JudgeSpecs = Annotated[list[str], option(GenerateSettings, "judge")]
Modes = Annotated[list[str] | None, option(GenerateSettings, "mode")]
MeasuredModes = Annotated[
    list[str] | None,
    typer.Option("--mode", help="A judge mode; give it again for more. Default: the judge's.", rich_help_panel=JUDGING),
]
OnePrinciple = Annotated[
    str | None,
    typer.Option(
        "--principle", help="The id of the principle to judge by. Default: its first.", rich_help_panel=JUDGING
    ),
]
Out = Annotated[Path, option(GenerateSettings, "out")]
MeasurementOut = Annotated[
    Path | None,
    typer.Option(
        "--out",
        help="A directory for every answer. The same command again goes on there.",
        rich_help_panel=OUTPUT,
    ),
]
FormatOption = Annotated[Format, option(GenerateSettings, "format")]
Extend = Annotated[bool, option(GenerateSettings, "extend")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Only count calls and tokens; ask no engine.", rich_help_panel=LIMITS)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.", rich_help_panel=OUTPUT)]
