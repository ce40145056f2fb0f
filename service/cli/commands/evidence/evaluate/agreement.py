"""``cai evaluate agreement``: how far people agree, and what each annotator's labels are worth."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from base.errors import InputError
from critic.evaluation.agreement.figures import AgreementFigures, agreement_figures, by_group
from critic.evaluation.agreement.models import ModelStrengths
from critic.evaluation.agreement.page import agreement_page
from critic.evaluation.agreement.units import LEVELS, said
from critic.run.folder.results import replace_text
from critic.settings.labels.people import AgreementSettings
from critic.statistics.intervals import FEW, Figure
from critic.statistics.plain import plain
from critic.statistics.reliability.coefficient import FEWEST
from service.cli.exits import QUARANTINED
from service.cli.given.config import ConfigFile
from service.cli.given.expand import expand
from service.cli.given.options import Json
from service.cli.given.roots import Root
from service.cli.measure.labels import read_labels
from service.cli.measure.measuring import told
from service.cli.shown.display import clean
from service.cli.shown.voice import Quiet, say

NAMED = 10  # refused rows, and annotators, that the terminal names


@expand
def agreement(
    settings: AgreementSettings,
    root: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
    config: ConfigFile = None,
) -> None:
    """Measure how far people agree: coefficients with intervals, each annotator, and what to do with each item.

    People of different groups stay apart, each group with figures of its own.
    """
    file, report = settings.file, settings.report
    labels, refused = read_labels(file, settings.column)
    chosen = settings.kind or _most_frequent(file, labels)
    try:
        own, repeated = said(labels, chosen)
        known = _known(settings.gold, chosen, settings.column)
        apart = by_group(own, settings.pool_groups) or {None: []}
        figures = {group: agreement_figures(mine, chosen, known, repeated, len(apart)) for group, mine in apart.items()}
    except ValueError as error:
        raise InputError(str(error), where=file) from None
    with told(as_json):
        _print_others(Counter(timed.label.kind for timed in labels if timed.label.kind != chosen))
        if settings.gold is not None and not known.keys() & {one.unit for one in own}:
            say("none of the items with known answers (--gold) was labelled")
        for group, its in figures.items():
            _print(its, _of(group, len(figures)))
    if as_json:
        typer.echo(json.dumps(_json(figures), indent=2, allow_nan=False))
    if report is not None:
        replace_text(report, agreement_page(Path(file).name, figures))
        say(f"report: {report}", err=as_json)
    for row in refused[:NAMED]:
        typer.echo(f"left out: {row.where}: {row.reason}: {clean(row.detail)}", err=True)
    if refused:
        typer.echo(f"left out: {len(refused):,} rows", err=True)
        raise typer.Exit(QUARANTINED)


def _of(group: str | None, groups: int) -> str:
    """Whose figures they are, where there are several groups."""
    if groups < 2:
        return ""
    return f" by {group}" if group else " by people of no group"


def _json(figures: Mapping[str | None, AgreementFigures]) -> Any:
    """One group's figures as they are; of several groups a list, each with its name."""
    if len(figures) < 2:
        return plain(next(iter(figures.values())))
    return {"groups": [{"group": group} | plain(its) for group, its in figures.items()]}


def _most_frequent(file: str, labels: list[Any]) -> str:
    kinds = Counter(timed.label.kind for timed in labels if timed.label.kind in LEVELS)
    if not kinds:
        raise InputError("its labels are words: they have no agreement", where=file, fix=f"Give {', '.join(LEVELS)}.")
    return str(kinds.most_common(1)[0][0])


def _known(gold: str | None, kind: str, column: str | None) -> dict[str, float]:
    if gold is None:
        return {}
    labels, _ = read_labels(gold, column)
    return {one.unit: one.value for one in said(labels, kind)[0]}


def _print_others(others: Mapping[str, int]) -> None:
    """Say how many labels are of kinds that these figures are not of."""
    if others:
        counted = ", ".join(f"{count:,} {kind}" for kind, count in sorted(others.items()))
        say(f"labels of other kinds are left out: {counted}; --kind takes another")


def _print(figures: AgreementFigures, of: str) -> None:
    people = f"{len(figures.annotators):,} people{of}"
    title = f"{figures.labels:,} labels ({figures.kind}) of {figures.units:,} units by {people}"
    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE)
    for name in ("coefficient", "estimate", "95 % interval", "n"):
        table.add_column(name, no_wrap=True)
    if figures.agreement is not None:
        table.add_row("equal pairs of labels", *_cells(figures.agreement, FEW))
    for name, value in figures.coefficients.items():
        table.add_row(name, *_cells(value, FEWEST))
    Console().print(table)
    if figures.repeated:
        say(
            f"{figures.repeated:,} labels were given again by the same person on the same unit: the last of each counts"
        )
    for name, why in figures.why_not.items():
        say(f"{name}: {why}")
    _print_people(figures)
    if figures.slip is not None:
        say(f"a label is a slip with probability {figures.slip:.3f} or less; what to do with each item:")
        for verdict, count in sorted(figures.verdicts.items()):
            say(f"  {verdict}: {count:,}")
    if figures.models is not None:
        _print_models(figures.models)
    for alarm in figures.alarms:
        say(clean(f"warning: {alarm}"))


def _print_people(figures: AgreementFigures) -> None:
    table = Table(title=Text(f"people; accuracy by {figures.model}"), title_justify="left", box=box.SIMPLE)
    for name in ("annotator", "labels", "with others", "accuracy", "gold", "kappa", "drift", "fatigue"):
        table.add_column(name, no_wrap=name != "annotator", overflow="fold")
    most = sorted(figures.annotators, key=lambda one: -one.labels)
    for one in most[:NAMED]:
        table.add_row(
            Text(clean(one.name)),
            f"{one.labels:,}",
            "-" if one.agreement is None else f"{one.agreement.estimate:.2f}",
            "-" if one.accuracy is None else f"{one.accuracy.estimate:.2f}",
            "-" if one.gold is None else f"{one.gold.estimate:.2f}",
            "-" if one.informed.kappa is None else f"{one.informed.kappa.estimate:.2f}",
            "-" if one.drift is None else f"{one.drift.difference.estimate:+.2f} (p {one.drift.p:.2f})",
            "-" if one.fatigue is None else f"{one.fatigue.difference.estimate:+.2f} (p {one.fatigue.p:.2f})",
        )
    Console().print(table)
    if len(most) > NAMED:
        say(f"{len(most) - NAMED:,} more people are in --json and --report")


def _print_models(models: ModelStrengths) -> None:
    if models.why_not:
        say(f"strengths of models: {models.why_not}")
        return
    table = Table(title=Text("models by these comparisons, in Elo points"), title_justify="left", box=box.SIMPLE)
    for name in ("model", "strength", "95 % interval", "without slips", "n"):
        table.add_column(name, no_wrap=name != "model", overflow="fold")
    for name, one in sorted(models.strengths.items(), key=lambda named: -named[1].estimate):
        limits = f"{one.low:+z.0f} to {one.high:+z.0f}"
        weighed = f"{models.weighed[name]:+z.0f}"
        table.add_row(Text(clean(name)), f"{one.estimate:+z.0f}", limits, weighed, f"{one.n:,}")
    Console().print(table)


def _cells(figure: Figure, fewest: int) -> tuple[str, str, str]:
    """``fewest`` prompts, below which the figure has no interval."""
    limits = f"{figure.low:.4f} to {figure.high:.4f}" if figure.clusters >= fewest else f"fewer than {fewest} prompts"
    return f"{figure.estimate:.4f}", limits, f"{figure.n:,}"
