"""``cai generate`` and ``cai judge``: a run in a directory, from the command line."""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from base.errors import InputError
from service.cli.exits import QUARANTINED, STOPPED
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
from service.cli.shown.run_display import RunDisplay
from service.cli.shown.told import outcome_json, plan_json, print_outcome, print_plan
from service.cli.shown.voice import Quiet, is_quiet, say

if TYPE_CHECKING:
    from critic.cluster.spec import Cluster
    from critic.run.request import RunRequest
    from critic.run.run import Outcome


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
    from critic.run.request import RunRequest

    request = RunRequest(
        principles, prompts, tuple(judge), policy, tuple(mode or ()), settings, limit, max_chars, truncate, column
    )
    how = _How(format, with_reasoning, retest, max_calls, max_cost, extend, _cluster(on))
    _plan(request, out, how, as_json) if dry_run else _start(request, out, how, as_json)


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
    from critic.run.request import RunRequest

    request = RunRequest(
        principles, pairs, tuple(judge), None, tuple(mode or ()), settings, limit, max_chars, truncate, column
    )
    how = _How(format, with_reasoning, retest, max_calls, max_cost, extend, _cluster(on))
    _plan(request, out, how, as_json) if dry_run else _start(request, out, how, as_json)


@dataclass(frozen=True, slots=True)
class _How:
    """What a start says of the run's exports and limits."""

    format: Format
    with_reasoning: bool
    retest: float
    max_calls: int | None
    max_cost: float | None
    extend: bool
    cluster: "Cluster | None"


def _cluster(on: str | None) -> "Cluster | None":
    from critic.cluster.spec import parse_cluster

    return parse_cluster(on) if on is not None else None


def _plan(request: "RunRequest", out: Path, how: _How, as_json: bool) -> None:
    from critic.run.run import dry_run

    planned = asyncio.run(dry_run(request, how.max_cost, out))
    if as_json:
        typer.echo(json.dumps(plan_json(planned), indent=2))
    else:
        print_plan(planned, request, out)
        if how.retest:
            typer.echo(
                f"besides, {how.retest:.2g} of the votes, at least 8 principles', are asked twice where answers can "
                "differ"
            )
    if planned.quarantined:
        raise typer.Exit(QUARANTINED)


def _start(request: "RunRequest", out: Path, how: _How, as_json: bool) -> None:
    from critic.run.run import run

    console = Console(stderr=True, quiet=is_quiet())
    try:
        with RunDisplay(console) as display:
            if how.cluster is not None:
                outcome = _on_cluster(how.cluster, request, out, how, display)
            else:
                outcome = asyncio.run(
                    run(
                        request,
                        out,
                        extend=how.extend,
                        max_calls=how.max_calls,
                        max_cost=how.max_cost,
                        format=how.format.value,
                        with_reasoning=how.with_reasoning,
                        retest_share=how.retest,
                        on_progress=display.update,
                    )
                )
    except KeyboardInterrupt:
        say("Stopped. Nothing that was answered is lost: the same command goes on from here.", err=True)
        raise typer.Exit(STOPPED) from None
    if as_json:
        typer.echo(json.dumps(outcome_json(outcome, out), indent=2))
    else:
        print_outcome(outcome, out)
    if outcome.progress.stopped:
        raise typer.Exit(STOPPED)
    if outcome.progress.quarantined:
        raise typer.Exit(QUARANTINED)


def _on_cluster(cluster: "Cluster", request: "RunRequest", out: Path, how: _How, display: RunDisplay) -> "Outcome":
    """Do the run on a Ray cluster. Raises `InputError` for limits, which many engines at once can't hold."""
    limits = {"--max-calls": how.max_calls, "--max-cost": how.max_cost}
    if given := [name for name, limit in limits.items() if limit is not None]:
        raise InputError(
            "engines on many machines can't hold a hard limit together",
            where=given[0],
            fix="Limit the rows with --limit; --dry-run says what they cost.",
        )
    try:
        from critic.cluster.cluster import run_on
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise InputError("Ray is not installed", where="--on", fix="pip install 'cai-feedback[ray]'") from None
    return run_on(
        cluster,
        request,
        out,
        extend=how.extend,
        format=how.format.value,
        with_reasoning=how.with_reasoning,
        retest_share=how.retest,
        on_progress=display.update,
    )
