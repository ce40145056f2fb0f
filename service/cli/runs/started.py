"""A run that is planned or started from the command line, on this machine or on a cluster."""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.console import Console

from base.errors import InputError
from base.extras import told_missing
from critic.cluster.spec import Cluster, parse_cluster
from critic.run.request import RunRequest
from critic.run.run import Outcome, dry_run, run
from service.cli.exits import QUARANTINED, STOPPED
from service.cli.given.options import Format
from service.cli.shown.run_display import RunDisplay
from service.cli.shown.told import outcome_json, plan_json, print_outcome, print_plan
from service.cli.shown.voice import is_quiet, say


@dataclass(frozen=True, slots=True)
class How:
    """What a start says of the run's exports and limits."""

    format: Format
    with_reasoning: bool
    retest: float
    max_calls: int | None
    max_cost: float | None
    extend: bool
    cluster: Cluster | None


def cluster_of(on: str | None) -> Cluster | None:
    return parse_cluster(on) if on is not None else None


def plan(request: RunRequest, out: Path, how: How, as_json: bool) -> None:
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


def start(request: RunRequest, out: Path, how: How, as_json: bool) -> None:
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


def _on_cluster(cluster: Cluster, request: RunRequest, out: Path, how: How, display: RunDisplay) -> Outcome:
    """Do the run on a Ray cluster. Raises `InputError` for limits, which many engines at once can't hold."""
    limits = {"--max-calls": how.max_calls, "--max-cost": how.max_cost}
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
        out,
        extend=how.extend,
        format=how.format.value,
        with_reasoning=how.with_reasoning,
        retest_share=how.retest,
        on_progress=display.update,
    )
