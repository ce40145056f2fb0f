"""``cai generate`` and ``cai judge``: a run in a directory, from the command line."""

import asyncio
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer
from pydantic import BaseModel
from rich.console import Console

from base.errors import InputError
from critic.settings.run import GenerateSettings, JudgeSettings, RunSettings
from service.cli.exits import QUARANTINED, STOPPED
from service.cli.given.config import ConfigFile
from service.cli.given.expand import expand
from service.cli.given.options import DryRun, Json
from service.cli.given.roots import Root
from service.cli.shown.run_display import RunDisplay
from service.cli.shown.told import outcome_json, plan_json, print_outcome, print_plan
from service.cli.shown.voice import Quiet, is_quiet, say

if TYPE_CHECKING:
    from critic.cluster.spec import Cluster
    from critic.run.request import RunRequest
    from critic.run.run import Outcome

Settings = GenerateSettings | JudgeSettings


@expand
def generate(
    settings: GenerateSettings,
    dry_run: DryRun = False,
    root: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
    config: ConfigFile = None,
) -> None:
    """Sample answers to prompts, critique, revise and compare them, and write preference pairs."""
    request = _request(settings, settings.prompts, settings.policy, settings.model_dump(include=_names(RunSettings)))
    _plan(request, settings, as_json) if dry_run else _start(request, settings, as_json)


@expand
def judge(
    settings: JudgeSettings,
    dry_run: DryRun = False,
    root: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
    config: ConfigFile = None,
) -> None:
    """Compare answers that exist already, and write preference pairs."""
    request = _request(settings, settings.pairs, None, settings.model_dump(include=_names(RunSettings)))
    _plan(request, settings, as_json) if dry_run else _start(request, settings, as_json)


def _names(model: type[BaseModel]) -> set[str]:
    return set(model.model_fields)


def _request(settings: Settings, source: str, policy: str | None, own: Mapping[str, Any]) -> "RunRequest":
    from critic.run.request import RunRequest

    return RunRequest(
        principles=settings.principles,
        source=source,
        judges=settings.judge,
        policy=policy,
        modes=settings.mode,
        settings=own,
        limit=settings.limit,
        max_chars=settings.max_chars,
        truncate=settings.truncate,
        columns=settings.column,
    )


def _plan(request: "RunRequest", settings: Settings, as_json: bool) -> None:
    from critic.run.run import dry_run

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


def _cluster(on: str | None) -> "Cluster | None":
    from critic.cluster.spec import parse_cluster

    return parse_cluster(on) if on is not None else None


def _start(request: "RunRequest", settings: Settings, as_json: bool) -> None:
    from critic.run.run import run

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


def _on_cluster(cluster: "Cluster", request: "RunRequest", settings: Settings, display: RunDisplay) -> "Outcome":
    """Do the run on a Ray cluster. Raises `InputError` for limits, which many engines at once can't hold."""
    limits = {"--max-calls": settings.max_calls, "--max-cost": settings.max_cost}
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
        settings.out,
        extend=settings.extend,
        format=settings.format,
        with_reasoning=settings.with_reasoning,
        retest_share=settings.retest,
        on_progress=display.update,
    )
