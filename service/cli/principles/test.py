"""``cai constitution test``: what a run's stored votes say of a constitution, within limits that a check can hold."""

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import typer

from base.errors import InputError
from base.nearest import perhaps
from constitution import Constitution, load
from critic.evaluation.principles.findings import FindingLimits, Findings, examine, plain, sentences
from critic.evaluation.principles.report import report
from critic.evaluation.principles.table import VoteTable
from critic.run.folder.flips import ForeseenJudgement
from critic.run.folder.reading import foresee, open_rows, read_config
from critic.run.folder.results import replace_text
from critic.settings.testing import ConstitutionTestSettings
from service.cli.exits import BEYOND_LIMITS
from service.cli.given.config import ConfigFile
from service.cli.given.expand import expand
from service.cli.given.options import Json
from service.cli.given.roots import Root
from service.cli.shown.display import clean
from service.cli.shown.voice import Quiet, say


@dataclass(frozen=True, slots=True)
class JudgementChange:
    """What a change would make of the run's judgements."""

    name: str
    stays: int
    flips: Sequence[ForeseenJudgement]
    may_flip: Sequence[ForeseenJudgement]

    @property
    def share(self) -> float | None:
        """The share that flips; None where there is no judgement."""
        total = self.stays + len(self.flips) + len(self.may_flip)
        return len(self.flips) / total if total else None


@expand
def test(
    settings: ConstitutionTestSettings,
    root: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
    config: ConfigFile = None,
) -> None:
    """Test a constitution by a run's stored votes: what decides, flips, repeats, contradicts; no model is asked.

    Exits with 4 where a limit is not held.
    """
    constitution, out = load(settings.ref), settings.out
    tested = _findings(constitution, settings.run, settings.again)
    changes = list(_changes(settings.run, constitution, _weights(settings.weight), settings.against))
    limits = FindingLimits(
        settings.max_duplicates,
        settings.max_contradictions,
        settings.max_ambiguous,
        settings.max_silent,
        settings.max_flips,
    )
    broken = limits.broken(tested, changes[0].share)
    data = plain(tested) | {"changes": [asdict(change) for change in changes], "broken": broken}
    if out is not None:
        _write(out, tested, changes, broken, data)
    if as_json:
        typer.echo(json.dumps(data, indent=2, allow_nan=False))
    else:
        _print(tested, changes, broken, out)
    if broken:
        raise typer.Exit(BEYOND_LIMITS)


def _findings(constitution: Constitution, run: Path, again: Sequence[Path]) -> Findings:
    with closing(open_rows(run)) as store:
        settings = read_config(store, run).settings
        table = VoteTable.of(store.rows(), constitution)
    if not table.comparisons:
        raise InputError("the run has no comparisons", where=str(run), fix="Name a run that has judged something.")
    read = {run.resolve()}
    for other in again:
        if other.resolve() in read:
            raise InputError(
                "these votes are read already: the same ones twice are no second reading",
                where=f"--again {other}",
                fix="Judge the same pairs again into another folder, and name that.",
            )
        read.add(other.resolve())
        with closing(open_rows(other)) as store:
            if not table.add_readers(store.rows(), str(other)):
                raise InputError(
                    f"none of its comparisons is one of {run}",
                    where=str(other),
                    fix="Name a run that judged the same pairs.",
                )
    return examine(table, constitution, settings)


def _weights(texts: Sequence[str]) -> dict[str, float]:
    weights = {}
    for text in texts:
        name, _, number = text.partition("=")
        try:
            weights[name] = float(number)
        except ValueError:
            raise InputError(f"{text!r} is not ID=W", where="--weight", fix="Write it as in harmless=2.5") from None
        if not 0 < weights[name] < float("inf"):
            raise InputError(f"{number} is no weight", where="--weight", fix="expected a number above 0")
    return weights


def _changes(
    run: Path, constitution: Constitution, weights: dict[str, float], against: Sequence[str]
) -> "Sequence[JudgementChange]":
    """What the constitution itself makes of the run first, then the weights, then the other versions."""
    named = {f"{constitution.ref} in force": constitution}
    if weights:
        said = ", ".join(f"{name} weighs {weight:g}" for name, weight in weights.items())
        named[said] = _weighed(constitution, weights)
    named |= {f"{other.ref} in force": other for other in map(load, against)}
    made = []
    for name, changed in named.items():
        seen = foresee(run, changed, (constitution,)).foresight
        made.append(JudgementChange(name, seen.stays, seen.flips, seen.may_flip))
    return made


def _weighed(constitution: Constitution, weights: dict[str, float]) -> Constitution:
    known = {principle.id for principle in constitution.principles}
    if unknown := [name for name in weights if name not in known]:
        raise InputError(
            f"{constitution.ref} has no principle {unknown[0]!r}",
            where="--weight",
            fix=f"{perhaps(unknown[0], known)}It has {', '.join(sorted(known))}",
        )
    principles = tuple(
        principle.model_copy(update={"weight": weights[principle.id]}) if principle.id in weights else principle
        for principle in constitution.principles
    )
    return constitution.model_copy(update={"principles": principles})


def _write(
    out: Path, tested: Findings, changes: Sequence[JudgementChange], broken: Sequence[str], data: dict[str, Any]
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    replace_text(out / "test.html", report(tested, changes, broken))
    replace_text(out / "test.json", json.dumps(data, indent=2, allow_nan=False) + "\n")


def _print(tested: Findings, changes: Sequence[JudgementChange], broken: Sequence[str], out: Path | None) -> None:
    say(clean(f"{tested.constitution}: {tested.comparisons:,} comparisons of {tested.prompts:,} prompts"))
    width = max((len(one.principle) for one in tested.influences), default=0)
    say(f"{'':{width}}     read  decides    flips   speaks  followed")
    for one in tested.influences:
        figures = (one.decides, one.flips, one.speaks, one.with_outcome)
        cells = " ".join("       -" if f is None or f.is_of_few else f"{100 * f.estimate:6.1f} %" for f in figures)
        say(clean(f"{one.principle:{width}} {one.read:8,} {cells}"))
    for sentence in sentences(tested):
        say(clean(f"- {sentence}"))
    for change in changes:
        say(
            clean(
                f"what if {change.name}: {change.stays:,} stay, {len(change.flips):,} flip, "
                f"{len(change.may_flip):,} may flip"
            )
        )
    if out is not None:
        say(f"every figure: {out / 'test.json'}; the page: {out / 'test.html'}")
    for sentence in broken:
        typer.echo(clean(f"beyond the limit: {sentence}"), err=True)
