"""``cai generate``: a run in a directory, from the command line."""

from typing import Annotated

import typer

from critic.run.request import RunRequest
from service.cli.given.columns import Column
from service.cli.given.config import ConfigFile
from service.cli.given.options import (
    EMBEDDED,
    INPUT,
    SAMPLING,
    Aggregation,
    AggregationOption,
    DryRun,
    Extend,
    Format,
    FormatOption,
    Json,
    JudgePrinciples,
    JudgeSpecs,
    Limit,
    MaxCalls,
    MaxChars,
    MaxCost,
    Modes,
    On,
    Out,
    Principles,
    Ranking,
    RetestShare,
    Seed,
    Strategy,
    TieBand,
    Truncate,
    WithReasoning,
    principles_count,
)
from service.cli.given.roots import Root
from service.cli.runs.started import How, cluster_of, plan, start
from service.cli.shown.voice import Quiet

pass


def generate(
    principles: Principles,
    prompts: Annotated[
        str,
        typer.Option(help="JSON Lines, JSON, CSV, Parquet, text, - for stdin, or a dataset.", rich_help_panel=INPUT),
    ],
    out: Out,
    policy: Annotated[
        str, typer.Option(help="The engine that answers the prompts.", rich_help_panel=SAMPLING)
    ] = "embedded",
    judge: JudgeSpecs = EMBEDDED,
    samples: Annotated[int, typer.Option(help="How many answers each prompt gets.", rich_help_panel=SAMPLING)] = 2,
    revisions: Annotated[
        int, typer.Option(help="Rounds of critique and revision for each answer.", rich_help_panel=SAMPLING)
    ] = 1,
    judge_principles: JudgePrinciples = "all",
    strategy: Annotated[Strategy, typer.Option(help="What is paired.", rich_help_panel=SAMPLING)] = Strategy.samples,
    mode: Modes = None,
    tie_band: TieBand = 0.02,
    aggregation: AggregationOption = Aggregation.log_odds,
    ranking: Ranking = False,
    max_tokens: Annotated[int, typer.Option(help="Longest answer, in tokens.", rich_help_panel=SAMPLING)] = 256,
    temperature: Annotated[
        float, typer.Option(help="Of the policy's answers; 0 is greedy.", rich_help_panel=SAMPLING)
    ] = 1.0,
    judge_max_tokens: Annotated[
        int, typer.Option(help="Longest critique and revision, in tokens.", rich_help_panel=SAMPLING)
    ] = 256,
    judge_temperature: Annotated[
        float, typer.Option(help="Of critiques and revisions.", rich_help_panel=SAMPLING)
    ] = 0.7,
    seed: Seed = 0,
    limit: Limit = None,
    max_chars: MaxChars = 32_000,
    truncate: Truncate = False,
    format: FormatOption = Format.jsonl,
    with_reasoning: WithReasoning = False,
    retest: RetestShare = 0.01,
    dry_run: DryRun = False,
    max_calls: MaxCalls = None,
    max_cost: MaxCost = None,
    extend: Extend = False,
    on: On = None,
    column: Column = None,
    root: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
    config: ConfigFile = None,
) -> None:
    """Sample answers to prompts, critique, revise and compare them, and write preference pairs."""
    settings = {
        "samples": samples,
        "revisions": revisions,
        "judge_principles": principles_count(judge_principles),
        "strategy": strategy.value,
        "tie_band": tie_band,
        "aggregation": aggregation.value,
        "ranking": ranking,
        "max_tokens": max_tokens,
        "temperature": temperature,
        "judge_max_tokens": judge_max_tokens,
        "judge_temperature": judge_temperature,
        "seed": seed,
    }
    request = RunRequest(
        principles, prompts, tuple(judge), policy, tuple(mode or ()), settings, limit, max_chars, truncate, column
    )
    how = How(format, with_reasoning, retest, max_calls, max_cost, extend, cluster_of(on))
    plan(request, out, how, as_json) if dry_run else start(request, out, how, as_json)
