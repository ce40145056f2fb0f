"""``cai evaluate judge``: how often a judge agrees with people who compared the same answers."""

import asyncio
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from base.errors import InputError
from constitution import Principle, load
from critic.calls.ledger import Budget, RecordedEngine
from critic.engine import Engine, RunStopped
from critic.engines import open_engine, parse_spec
from critic.evaluation.accuracy import Accuracy, Judged, Labelled, better_rule, by_length, compared, figures
from critic.evaluation.accuracy import judge as ask
from critic.evaluation.fitting import fit_contrast
from critic.evaluation.trust.figures import judge_figures
from critic.evaluation.trust.page import judge_page
from critic.files.inputs import read_labelled
from critic.files.shapes import naming
from critic.judging import mode_of, settled
from critic.judging.base import Mode
from critic.judging.linear import LinearModel
from critic.records import Quarantined
from critic.run.folder.results import replace_text
from critic.settings.measuring import MeasureJudgeSettings
from critic.statistics.intervals import Figure, Paired, few
from service.cli.exits import QUARANTINED, STOPPED
from service.cli.given.config import ConfigFile
from service.cli.given.expand import expand
from service.cli.given.options import Json
from service.cli.given.roots import Root
from service.cli.measure.judging import ask_judge, people_of
from service.cli.measure.measuring import chosen_principle, measurement_store, told
from service.cli.shown.display import clean
from service.cli.shown.progress import Bar
from service.cli.shown.voice import Quiet, say

MAX_CHARACTERS = 32_000
FITTED = "contrast, linear"
LEVEL = 0.05  # of a test, as the intervals are of 95 %
TOO_FEW = "too few"


@expand
def judge(
    settings: MeasureJudgeSettings,
    root: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
    config: ConfigFile = None,
) -> None:
    """Judge pairs that people have compared, and report accuracy, position bias and calibration."""
    spec, asked = parse_spec(settings.judge), chosen_principle(load(settings.principles), settings.principle)
    modes = {text or mode_of(None, spec).name: mode_of(text, spec) for text in settings.mode or (None,)}
    labels, refused = _labels(settings.pairs, settings.limit, settings.column)
    try:
        name, judged, model = asyncio.run(_measure(settings, modes, asked, labels))
    except (RunStopped, KeyboardInterrupt) as reason:
        kept = "the same command goes on from here" if settings.out else "nothing was kept, for there is no --out"
        say(f"Stopped{f': {reason}' if str(reason) else ''}; {kept}.", err=True)
        raise typer.Exit(STOPPED) from None
    with told(as_json):
        _report(name, asked, labels, judged, settings.out)
    if as_json:
        typer.echo(json.dumps(_json(name, asked, judged), indent=2, allow_nan=False))
    if settings.report is not None:
        _write_page(settings.report, settings, asked)
        say(f"report: {settings.report}", err=as_json)
    if settings.fit is not None and model is not None:
        file = settings.fit
        file.write_text(model.model_dump_json(indent=2) + "\n", encoding="utf-8")
        say(
            f"a linear contrast, fitted on {model.labels} labels: {file} (--mode 'contrast?weights={file}')",
            err=as_json,
        )
    for row in refused:
        typer.echo(f"left out: {row.where}: {row.reason}: {clean(row.detail)}", err=True)
    if refused:
        raise typer.Exit(QUARANTINED)


def _write_page(file: Path, settings: MeasureJudgeSettings, principle: Principle) -> None:
    """Write the report's page. People's labels are read with their names here, which the table above has no use for."""
    people, _ = people_of(settings.pairs, settings.column, settings.limit)
    with Bar("pairs judged for the report", len(people.items)) as bar:
        mode = settings.mode[0] if settings.mode else None
        answered = ask_judge(settings.judge, mode, principle, people, None, False, bar.advance)
        asked = asyncio.run(answered)
    figures = judge_figures(asked.answers, people, asked.judge.name)
    lead = f"{asked.judge.name} in mode {asked.mode.name}, principle {principle.id}, {Path(settings.pairs).name}"
    replace_text(file, judge_page("A judge beside people", lead, figures, {}))


def _json(name: str, principle: Principle, judged: Mapping[str, Sequence[Judged]]) -> dict[str, Any]:
    modes = {}
    for mode, answers in judged.items():
        modes[mode] = {key: _finite(value) for key, value in asdict(figures(answers)).items()}
    return {"judge": name, "principle": principle.id, "principle_digest": principle.digest, "modes": modes}


def _labels(source: str, limit: int | None, column: str | None) -> tuple[list[Labelled], list[Quarantined]]:
    labels, refused = [], []
    rows: Counter[int] = Counter()
    for line in islice(read_labelled(source, max_chars=MAX_CHARACTERS, columns=naming(column)), limit):
        if isinstance(line, Quarantined):
            refused.append(line)
        else:
            better, worse = line.item.responses
            prompt = line.item.prompt
            rows[line.row] += 1  # a row of several ranked answers has several pairs
            which = f".{rows[line.row]}" if rows[line.row] > 1 else ""
            labels.append(Labelled(f"{prompt.key}:{line.row}{which}", source, prompt, better.text, worse.text))
    if not labels:
        first = f"; the first: {refused[0].detail}" if refused else ""
        raise InputError(f"no row has a prompt, chosen and rejected{first}", where=source)
    return labels, refused


async def _measure(
    settings: MeasureJudgeSettings, modes: Mapping[str, Mode], principle: Principle, labels: Sequence[Labelled]
) -> tuple[str, dict[str, list[Judged]], LinearModel | None]:
    """Return the judge's name, the answers of each mode, and the linear model where one was asked for."""
    engine = open_engine(parse_spec(settings.judge))
    out, fit = settings.out, settings.fit is not None
    try:
        modes = {name: (await settled(mode, engine))[0] for name, mode in modes.items()}
        opened = (
            closing(measurement_store(out, settings.extend, "judge", engine.identity, principle))
            if out
            else nullcontext()
        )
        with opened as store, Bar("pairs judged", len(labels) * (len(modes) + fit)) as bar:
            asked: Engine = RecordedEngine(engine, store, Budget()) if store else engine
            judged = {name: await ask(asked, mode, principle, labels, bar.advance) for name, mode in modes.items()}
            model = None
            if fit:
                try:
                    model, judged[FITTED] = await fit_contrast(asked, principle, labels, bar.advance)
                except ValueError as error:
                    raise InputError(str(error), where="--fit") from None
            return engine.identity.name, judged, model
    finally:
        await engine.close()


def _report(
    name: str,
    principle: Principle,
    labels: Sequence[Labelled],
    judged: Mapping[str, Sequence[Judged]],
    out: Path | None,
) -> None:
    rules = {
        "always the longer": by_length(labels, longer=True),
        "always the shorter": by_length(labels, longer=False),
    }
    Console().print(accuracy_table(f"{len(labels)} pairs; judge {name}, principle {principle.id}", judged, rules))
    prompts = len({label.prompt.key for label in labels})
    if note := few(prompts, "prompt"):
        typer.echo(note)
    for mode, answers in judged.items():
        unread = [answer.problem for answer in answers if answer.problem]
        if unread:
            typer.echo(f"{mode} could not read {len(unread)} of {len(answers)}; the first: {clean(unread[0])}")
    if out:
        _write(out / "accuracy.json", name, principle, judged, rules)


def accuracy_table(title: str, judged: Mapping[str, Sequence[Judged]], rules: Mapping[str, Sequence[Judged]]) -> Table:
    """A line a judge and a rule, with 95 % intervals of one method.

    The third column says whether that of the accuracy leaves out one half, the fourth what the exact paired test says
    against the rule of length that is right more often.
    """
    table = Table(title=Text(clean(title)), title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0))
    table.add_column("mode", min_width=12, overflow="fold")
    for column in ("accuracy", "than\nchance", "than\nlength", "unread", "same\nposition", "calibration\nerror"):
        table.add_column(column, no_wrap=True)
    to_beat = rules[better_rule(rules)]
    for name, answers in {**judged, **rules}.items():
        accuracy: Accuracy = figures(answers)
        is_few = accuracy.accuracy is None or accuracy.accuracy.is_of_few
        table.add_row(
            Text(clean(name)),
            share(accuracy.accuracy),
            against_chance(accuracy.accuracy),
            "-" if name in rules else against_rule(compared(answers, to_beat), few=is_few),
            str(accuracy.unreadable),
            share(accuracy.position),
            share(accuracy.calibration),
        )
    return table


def share(figure: Figure | None) -> str:
    """A share, and its interval below."""
    if figure is None:
        return "-"
    low, high = max(0.0, figure.low), min(1.0, figure.high)
    return f"{_short(figure.estimate)}\n{_short(low)} to {_short(high)}"


def against_chance(figure: Figure | None) -> str:
    """Say how an accuracy stands to a coin's, as far as its interval tells."""
    if figure is None:
        return "-"
    if figure.is_of_few:
        return TOO_FEW
    if figure.low > 0.5:
        return "better"
    return "worse" if figure.high < 0.5 else "no better"


def against_rule(test: Paired, *, few: bool) -> str:
    """Say how a judge stands to a rule on the same pairs, as far as the paired test tells."""
    if few:
        return TOO_FEW
    if test.p >= LEVEL:
        return "no better"
    return "better" if test.wins > test.losses else "worse"


def _short(value: float) -> str:
    return f"{value:.2f}".removeprefix("0") if math.isfinite(value) else "-"


def _write(
    path: Path,
    judge: str,
    principle: Principle,
    judged: Mapping[str, Sequence[Judged]],
    rules: Mapping[str, Sequence[Judged]],
) -> None:
    to_beat = better_rule(rules)
    modes = {}
    for name, answers in judged.items():
        modes[name] = {
            "figures": _figures(answers),
            "against_length": {"rule": to_beat} | asdict(compared(answers, rules[to_beat])),
            "pairs": [
                {"id": a.label.id, "probability": a.probability, "problem": a.problem, "votes": _votes(a)}
                for a in answers
            ],
        }
    content = {
        "judge": judge,
        "principle": principle.id,
        "principle_digest": principle.digest,
        "modes": modes,
        "rules": {name: _figures(answers) for name, answers in rules.items()},
    }
    replace_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")
    typer.echo(f"every judgement: {path}")


def _figures(answers: Sequence[Judged]) -> dict[str, Any]:
    return {key: _finite(value) for key, value in asdict(figures(answers)).items()}


def _votes(answer: Judged) -> list[Any]:
    return [vote.model_dump(mode="json") for vote in answer.votes]


def _finite(value: Any) -> Any:
    """As JSON: what one cluster leaves without bounds has None."""
    if isinstance(value, dict):
        return {key: _finite(x) for key, x in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
