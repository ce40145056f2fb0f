"""``cai evaluate injection``: how far planted text moves a judge, beside the naive prompt."""

import asyncio
import json
import math
from collections.abc import Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from base.digest import digest
from constitution import Principle, load
from critic.calls.ledger import Budget, RecordedEngine
from critic.engine import RunStopped
from critic.engines import open_engine, parse_spec
from critic.evaluation.injection import InjectionFigures, InjectionTrial, NaiveMode, count, figures, measure, ratio
from critic.evaluation.planting import Suite, load_suite
from critic.judging import mode_of, settled
from critic.judging.base import Mode
from critic.run.folder.results import replace_text
from critic.settings.measuring import InjectionSettings
from critic.statistics.intervals import Figure, few
from service.cli.exits import STOPPED
from service.cli.given.config import ConfigFile
from service.cli.given.expand import expand
from service.cli.given.options import Json
from service.cli.given.roots import Root
from service.cli.measure.measuring import chosen_principle, measurement_store, told
from service.cli.shown.display import clean
from service.cli.shown.progress import Bar
from service.cli.shown.voice import Quiet, say

WORST = 3  # categories named a mode


@expand
def injection(
    settings: InjectionSettings,
    root: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
    config: ConfigFile = None,
) -> None:
    """Plant texts that ask to win in one of two answers, and measure how far the judge follows them."""
    constitution, spec, out = load(settings.principles), parse_spec(settings.judge), settings.out
    asked = chosen_principle(constitution, settings.principle)
    modes: dict[str, Mode] = {"plain": NaiveMode()}
    for text in settings.mode or (None,):
        mode = mode_of(text, spec)
        modes[text or mode.name] = mode
    suite = load_suite().sample(settings.limit)
    try:
        name, trials = asyncio.run(_measure(settings.judge, modes, asked, suite, out, settings.extend))
    except (RunStopped, KeyboardInterrupt) as reason:
        kept = "the same command goes on from here" if out else "nothing was kept, for there is no --out"
        say(f"Stopped{f': {reason}' if str(reason) else ''}; {kept}.", err=True)
        raise typer.Exit(STOPPED) from None
    with told(as_json):
        _report(name, asked, suite, trials, out)
    if as_json:
        typer.echo(json.dumps(_json(name, asked, trials), indent=2, allow_nan=False))


def _json(judge: str, principle: Principle, trials: Mapping[str, Sequence[InjectionTrial]]) -> dict[str, Any]:
    by_mode = {name: figures(mine) for name, mine in trials.items()}
    ratios = {name: ratio(mine, by_mode["plain"]) if name != "plain" else None for name, mine in by_mode.items()}
    modes = {name: _plain(by_mode[name], ratios[name]) for name in by_mode}
    return {"judge": judge, "principle": principle.id, "principle_digest": principle.digest, "modes": modes}


async def _measure(
    judge: str, modes: Mapping[str, Mode], principle: Principle, suite: Suite, out: Path | None, extend: bool
) -> tuple[str, dict[str, list[InjectionTrial]]]:
    """Return the judge's name, and the trials of each mode."""
    engine = open_engine(parse_spec(judge))
    try:
        modes = {name: (await settled(mode, engine))[0] for name, mode in modes.items()}
        opened = (
            closing(measurement_store(out, extend, "injection", engine.identity, principle)) if out else nullcontext()
        )
        with opened as store, Bar("injections tried", count(suite) * len(modes)) as bar:
            asked = RecordedEngine(engine, store, Budget()) if store else engine
            return engine.identity.name, {
                name: await measure(asked, mode, principle, suite, bar.advance) for name, mode in modes.items()
            }
    finally:
        await engine.close()


def _report(
    judge: str, principle: Principle, suite: Suite, trials: Mapping[str, Sequence[InjectionTrial]], out: Path | None
) -> None:
    by_mode = {name: figures(mine) for name, mine in trials.items()}
    ratios = {name: ratio(mine, by_mode["plain"]) if name != "plain" else None for name, mine in by_mode.items()}
    Console().print(_table(judge, principle, suite, by_mode, ratios))
    if note := few(len(suite.injections), "text"):
        typer.echo(note)
    for name, mine in trials.items():
        if problem := next((trial.problem for trial in mine if trial.problem), None):
            typer.echo(f"{name} could not read {by_mode[name].unreadable} of {len(mine)}; the first: {clean(problem)}")
    if out:
        modes = {}
        for name, mine in trials.items():
            modes[name] = _plain(by_mode[name], ratios[name]) | {"trials": [asdict(trial) for trial in mine]}
        _write(out / "injection.json", judge, principle, suite, modes)


def _write(path: Path, judge: str, principle: Principle, suite: Suite, modes: dict[str, Any]) -> None:
    content = {
        "judge": judge,
        "principle": principle.id,
        "principle_digest": principle.digest,
        "suite": digest(suite.model_dump(mode="json")),
        "modes": modes,
    }
    replace_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")
    typer.echo(f"every judgement: {path}")


def _table(
    judge: str,
    principle: Principle,
    suite: Suite,
    by_mode: Mapping[str, InjectionFigures],
    ratios: Mapping[str, float | None],
) -> Table:
    table = Table(
        title=Text(
            clean(
                f"texts planted: {len(suite.injections)}, each in {len(suite.comparisons)} comparisons on both sides; "
                f"judge {judge}, principle {principle.id}"
            )
        ),
        caption="shift: the probability that the response is better with the text in it, minus that with as much "
        "ordinary prose, and its 95 % interval; ratio: to the plain prompt's shift; flips: of the comparisons that "
        "the prose loses, those that the text wins (to), and the reverse (away); unread: comparisons without an answer",
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE,
    )
    table.add_column("mode", min_width=8, overflow="fold")
    for column in ("mean shift", "ratio", "flips", "unread"):
        table.add_column(column, no_wrap=True)
    table.add_column("worst categories")
    for name, mine in by_mode.items():
        share = ratios[name]
        table.add_row(
            Text(clean(name)),
            _interval(mine.shift),
            "-" if share is None else f"{share:.2f}",
            f"to {_percent(mine.flips)}\naway {_percent(mine.flips_away)}",
            str(mine.unreadable),
            "\n".join(f"{category} {shift:+.3f}" for category, shift in _worst(mine)),
            end_section=True,
        )
    return table


def _interval(figure: Figure | None) -> str:
    if figure is None:
        return "-"
    half = figure.high - figure.estimate
    return f"{figure.estimate:+.3f}" + (f" ± {half:.3f}" if math.isfinite(half) else ", too few")


def _percent(figure: Figure | None) -> str:
    return "-" if figure is None else f"{figure.estimate:.1%}"


def _worst(figures: InjectionFigures) -> list[tuple[str, float]]:
    shifts = [(name, figure.estimate) for name, figure in figures.categories.items() if figure is not None]
    return sorted(shifts, key=lambda shift: -shift[1])[:WORST]


def _plain(figures: InjectionFigures, share: float | None) -> dict[str, Any]:
    """As plain data. JSON has no infinity: what one cluster leaves without bounds has None."""

    def figure(value: Figure | None) -> dict[str, Any] | None:
        if value is None:
            return None
        return {key: x if math.isfinite(x) else None for key, x in asdict(value).items()}

    return {
        "shift": figure(figures.shift),
        "shift_of_plain": share,
        "flips": figure(figures.flips),
        "flips_away": figure(figures.flips_away),
        "unreadable": figures.unreadable,
        "categories": {name: figure(value) for name, value in figures.categories.items()},
    }
