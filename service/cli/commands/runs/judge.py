"""``cai judge``: a run over answers that exist, in a directory."""

from typing import Annotated

import typer

from critic.run.request import RunRequest
from service.cli.given.columns import Column
from service.cli.given.config import ConfigFile
from service.cli.given.options import (
    EMBEDDED,
    INPUT,
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
    TieBand,
    Truncate,
    WithReasoning,
    principles_count,
)
from service.cli.given.roots import Root
from service.cli.runs.started import How, cluster_of, plan, start
from service.cli.shown.voice import Quiet

pass


def judge(
    principles: Principles,
    pairs: Annotated[
        str, typer.Option(help="Prompts with 2 or more responses each, or chosen and rejected.", rich_help_panel=INPUT)
    ],
    out: Out,
    judge: JudgeSpecs = EMBEDDED,
    judge_principles: JudgePrinciples = "all",
    mode: Modes = None,
    tie_band: TieBand = 0.02,
    aggregation: AggregationOption = Aggregation.log_odds,
    ranking: Ranking = False,
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
    """Compare answers that exist already, and write preference pairs."""
    settings = {
        "judge_principles": principles_count(judge_principles),
        "tie_band": tie_band,
        "aggregation": aggregation.value,
        "ranking": ranking,
        "seed": seed,
    }
    request = RunRequest(
        principles, pairs, tuple(judge), None, tuple(mode or ()), settings, limit, max_chars, truncate, column
    )
    how = How(format, with_reasoning, retest, max_calls, max_cost, extend, cluster_of(on))
    plan(request, out, how, as_json) if dry_run else start(request, out, how, as_json)
