"""Options that several commands have, each in one spelling, and under one heading of ``--help``."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from base.errors import InputError
from constitution.library import published, roots
from service.cli.given.config import PANELS

INPUT, SAMPLING, JUDGING, LIMITS, OUTPUT, SERVER = PANELS

EMBEDDED = ["embedded"]


class Strategy(StrEnum):
    """What is paired with what."""

    samples = "samples"
    revision = "revision"
    best_of_n = "best-of-n"


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


def constitution_names(incomplete: str) -> list[str]:
    """Complete a constitution's name in a shell."""
    names = {
        name for root in roots() for own, versions in published(root).items() for name in [own, *_refs(own, versions)]
    }
    return sorted(name for name in names if name.startswith(incomplete))


def _refs(name: str, versions: list[str]) -> list[str]:
    return [f"{name}@{version}" for version in versions]


Principles = Annotated[
    str,
    typer.Option(
        help="A constitution: FILE, NAME@VERSION, or NAME for its newest version.",
        rich_help_panel=INPUT,
        autocompletion=constitution_names,
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Use only the first N rows of the input. A larger one goes on in the same directory.",
        rich_help_panel=LIMITS,
    ),
]
MaxChars = Annotated[int, typer.Option(min=1, help="Quarantine longer prompts.", rich_help_panel=LIMITS)]
Truncate = Annotated[
    bool,
    typer.Option(
        "--truncate", help="Cut prompts over --max-chars at their end, and count them.", rich_help_panel=LIMITS
    ),
]
MaxCalls = Annotated[
    int | None, typer.Option(min=0, help="A hard limit on the run's recorded calls.", rich_help_panel=LIMITS)
]
MaxCost = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="A hard limit on the run's cost, in US dollars, at the prices in the engines' specs (input_price, "
        "output_price); it is passed by no more than the error of estimated prompt tokens.",
        rich_help_panel=LIMITS,
    ),
]

FirstRows = Annotated[
    int | None, typer.Option("--limit", min=1, help="Use only the first N rows.", rich_help_panel=LIMITS)
]

Seed = Annotated[int, typer.Option(help="All chance comes from it.", rich_help_panel=SAMPLING)]

JudgeSpec = Annotated[
    str,
    typer.Option(help="The engine that judges: embedded, hf:PATH_OR_ID ...", rich_help_panel=JUDGING),
]
JudgeSpecs = Annotated[
    list[str],
    typer.Option(
        help="The engine that critiques, revises and judges: embedded, hf:PATH_OR_ID ... Several are a jury; the first "
        "that can write critiques and revises.",
        rich_help_panel=JUDGING,
    ),
]
JudgePrinciples = Annotated[
    str,
    typer.Option(
        help="How many principles judge a comparison: all, or a number drawn for each.",
        metavar="all|K",
        rich_help_panel=JUDGING,
    ),
]
Modes = Annotated[
    list[str] | None,
    typer.Option(
        "--mode",
        help="The judge mode, as in logprob or cot?samples=4; one for all judges, or one for each. Default: by engine.",
        rich_help_panel=JUDGING,
    ),
]
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
AggregationOption = Annotated[
    Aggregation, typer.Option(help="How principles' votes are pooled.", rich_help_panel=JUDGING)
]
Ranking = Annotated[
    bool,
    typer.Option(
        "--ranking", help="Rank all answers by all comparisons, and pair by their ranks.", rich_help_panel=JUDGING
    ),
]
TieBand = Annotated[
    float, typer.Option(help="A probability this near 0.5 is a tie, and makes no pair.", rich_help_panel=JUDGING)
]
RetestShare = Annotated[
    float,
    typer.Option(
        "--retest",
        min=0,
        max=1,
        help="The share of the votes that is asked twice, at least 8, where a judge's answers can differ; 0: none.",
        rich_help_panel=JUDGING,
    ),
]

Out = Annotated[
    Path,
    typer.Option(help="The run's directory. The same command again goes on where it stopped.", rich_help_panel=OUTPUT),
]
MeasurementOut = Annotated[
    Path | None,
    typer.Option(
        "--out",
        help="A directory for every answer. The same command again goes on there.",
        rich_help_panel=OUTPUT,
    ),
]
FormatOption = Annotated[Format, typer.Option(help="The exports' format.", rich_help_panel=OUTPUT)]
WithReasoning = Annotated[
    bool,
    typer.Option(
        "--with-reasoning", help="Export what models thought before they answered, too.", rich_help_panel=OUTPUT
    ),
]
Extend = Annotated[
    bool,
    typer.Option("--extend", help="Go on in a directory whose run had another config.", rich_help_panel=OUTPUT),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Only count calls and tokens; ask no engine.", rich_help_panel=LIMITS)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.", rich_help_panel=OUTPUT)]
On = Annotated[
    str | None,
    typer.Option(
        help="Run on a Ray cluster, and write its rows as Parquet shards: ray, or ray://HOST:PORT, with "
        "?actors=MIN-MAX&cpus=C&gpus=G&shard=ROWS as needed.",
        metavar="ray[://HOST:PORT]",
        rich_help_panel=LIMITS,
    ),
]


def principles_count(text: str) -> int | None:
    """Read ``--judge-principles``: None for all."""
    if text == "all":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise InputError(f"{text!r} is not a number of principles", where="--judge-principles", fix="all, or 1, 2, ...")
    return int(text)
