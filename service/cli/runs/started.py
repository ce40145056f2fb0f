"""A run that is planned or started from the command line, on this machine or on a cluster."""

import asyncio
import json

import typer
from rich.console import Console

from base.errors import InputError
from base.extras import told_missing
from critic.cluster.spec import Cluster, parse_cluster
from critic.run.request import RunRequest
from critic.run.run import Outcome, dry_run, run
from critic.settings.run import GenerateSettings, JudgeSettings, RunSettings
from service.cli.exits import QUARANTINED, STOPPED
from service.cli.shown.run_display import RunDisplay
from service.cli.shown.told import outcome_json, plan_json, print_outcome, print_plan
from service.cli.shown.voice import is_quiet, say

Settings = GenerateSettings | JudgeSettings


def request_of(settings: Settings, source: str, policy: str | None) -> RunRequest:
    """Return what a run is asked for by the settings of its command."""
    return RunRequest(
        principles=settings.principles,
        source=source,
        judges=settings.judge,
        policy=policy,
        modes=settings.mode,
        settings=settings.model_dump(include=set(RunSettings.model_fields)),
        limit=settings.limit,
        max_chars=settings.max_chars,
        truncate=settings.truncate,
        columns=settings.column,
    )


def plan(request: RunRequest, settings: Settings, as_json: bool) -> None:
    """Print what a run would ask."""
    _cluster(settings.on)
    planned = asyncio.run(dry_run(request, settings.max_cost, settings.out))
    if as_json:
        typer.echo(json.dumps(plan_json(planned), indent=2))
    else:
        print_plan(planned, request, settings.out)
        if settings.retest:
            typer.echo(
                f"besides, {settings.retest:.2g} of the votes, at least 8 principles', are asked twice where answers "
                "can differ"
            )
    if planned.quarantined:
        raise typer.Exit(QUARANTINED)


def _cluster(on: str | None) -> Cluster | None:
    return parse_cluster(on) if on is not None else None


def start(request: RunRequest, settings: Settings, as_json: bool) -> None:
    """Do a run, or go on with it, and print what came of it."""
    console = Console(stderr=True, quiet=is_quiet())
    cluster = _cluster(settings.on)
    try:
        with RunDisplay(console) as display:
            if cluster is not None:
                outcome = _on_cluster(cluster, request, settings, display)
            else:
                outcome = asyncio.run(
                    run(
                        request,
                        settings.out,
                        extend=settings.extend,
                        max_calls=settings.max_calls,
                        max_cost=settings.max_cost,
                        format=settings.format,
                        with_reasoning=settings.with_reasoning,
                        retest_share=settings.retest,
                        on_progress=display.update,
                    )
                )
    except KeyboardInterrupt:
        say("Stopped. Nothing that was answered is lost: the same command goes on from here.", err=True)
        raise typer.Exit(STOPPED) from None
    if as_json:
        typer.echo(json.dumps(outcome_json(outcome, settings.out), indent=2))
    else:
        print_outcome(outcome, settings.out)
    if outcome.progress.stopped:
        raise typer.Exit(STOPPED)
    if outcome.progress.quarantined:
        raise typer.Exit(QUARANTINED)


def _on_cluster(cluster: Cluster, request: RunRequest, settings: Settings, display: RunDisplay) -> Outcome:
    """Do the run on a Ray cluster. Raises `InputError` for limits, which many engines at once can't hold."""
    limits = {"--max-calls": settings.max_calls, "--max-cost": settings.max_cost}
    if given := [name for name, limit in limits.items() if limit is not None]:
        raise InputError(
            "engines on many machines can't hold a hard limit together",
            where=given[0],
            fix="Limit the rows with --limit; --dry-run says what they cost.",
        )
    with told_missing("--on"):
        from critic.cluster.cluster import run_on  # late, because Ray is an extra
    return run_on(
        cluster,
        request,
        settings.out,
        extend=settings.extend,
        format=settings.format,
        with_reasoning=settings.with_reasoning,
        retest_share=settings.retest,
        on_progress=display.update,
    )
