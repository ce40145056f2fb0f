"""``cai certify``: a judge's report, bound by hash to all that it is a report of, and what it does not cover."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import typer

from base.errors import InputError
from constitution import Constitution, load
from critic.certificates import binding
from critic.certificates.certificate import FILE, Certificate, CertifiedData, CertifiedFigure, CertifiedJudge
from critic.certificates.gate import require
from critic.certificates.origins import origins
from critic.engine import RunStopped
from critic.evaluation.trust.figures import TrustFigures, judge_figures
from critic.evaluation.trust.page import judge_page, limits, notes, too_few
from critic.evaluation.trust.people import People
from critic.run.folder.results import replace_text
from critic.settings.measuring import CertifySettings
from critic.statistics.judges.maps import Isotonic, Temperature
from service.cli.exits import QUARANTINED, STOPPED
from service.cli.given.config import ConfigFile
from service.cli.given.expand import expand
from service.cli.given.options import Json
from service.cli.given.roots import Root
from service.cli.measure.judging import AskedJudge, ask_judge, people_of
from service.cli.shown.display import clean
from service.cli.shown.progress import Bar
from service.cli.shown.voice import Quiet, say

ANSWERS = "answers"  # the folder of the judge's answers, in --out


@expand
def certify(
    settings: CertifySettings, root: Root = None, as_json: Json = False, quiet: Quiet = False, config: ConfigFile = None
) -> None:
    """Certify a judge: its figures beside people's, bound to judge, mode, templates, constitution, data and code."""
    constitution, out = load(settings.principles), settings.out
    people, refused = people_of(settings.pairs, settings.column, settings.limit)
    out.mkdir(parents=True, exist_ok=True)
    try:
        with Bar("pairs judged", len(people.items)) as bar:
            asked = asyncio.run(
                ask_judge(
                    settings.judge, settings.mode, constitution, people, out / ANSWERS, settings.extend, bar.advance
                )
            )
    except (RunStopped, KeyboardInterrupt) as reason:
        say(f"Stopped{f': {reason}' if str(reason) else ''}; the same command goes on from here.", err=True)
        raise typer.Exit(STOPPED) from None
    figures = judge_figures(asked.answers, people, asked.judge.name)
    made = certificate(asked, constitution, people, figures)
    file = out / FILE
    replace_text(file, made.text())
    _write_page(made, figures, out)
    if settings.run is not None:
        name_in_run(made, settings.run)
    if as_json:
        typer.echo(json.dumps(made.model_dump(mode="json") | {"sha256": made.sha256}, indent=2, allow_nan=False))
    _print(made, figures, file, err=as_json)
    for row in refused:
        typer.echo(f"left out: {row.where}: {row.reason}: {clean(row.detail)}", err=True)
    if refused:
        raise typer.Exit(QUARANTINED)


def certificate(asked: AskedJudge, constitution: Constitution, people: People, figures: TrustFigures) -> Certificate:
    """Bind figures to what they are of."""
    items = people.items
    texts = [text for item in items for text in (item.first.text, item.second.text)]
    covers = binding.coverage((item.prompt for item in items), texts)
    tags = {tag for item in items for tag in item.prompt.tags}
    principles = {principle.id: principle.digest for principle in constitution.principles}
    return Certificate(
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        judge=CertifiedJudge(
            name=asked.judge.name,
            revision=asked.judge.revision,
            settings=asked.judge.settings,
            mode={"name": asked.mode.name, **asked.mode.model_dump(mode="json")},
        ),
        templates=binding.templates_digest(),
        constitution=constitution.ref,
        constitution_hash=constitution.digest,
        principles=principles,
        data=CertifiedData(
            sha256=people.sha256,
            items=len(items),
            prompts=figures.prompts,
            labels=people.labels,
            annotators=len(people.annotators),
        ),
        code=binding.code(),
        figures={name: CertifiedFigure.of(figure) for name, figure in figures.named().items()},
        faults=figures.faults,
        map=_map(figures),
        covers=covers,
        not_covered=binding.not_covered(covers, tags),
    )


def _map(figures: TrustFigures) -> Temperature | Isotonic | None:
    """The map that did better on prompts that it was not fitted on; none where neither mends anything there."""
    if not figures.mended:
        return None
    best = min(figures.mended, key=lambda name: figures.mended[name].after.estimate)
    one = figures.mended[best]
    return one.map if one.after.estimate < one.before.estimate else None


def _write_page(made: Certificate, figures: TrustFigures, out: Path) -> None:
    bound = {
        "certificate": made.sha256,
        "judge": f"{made.judge.name}, weights {made.judge.revision}",
        "mode": json.dumps(made.judge.mode),
        "constitution": f"{made.constitution}, {made.constitution_hash}",
        "templates": made.templates,
        "people's labels": made.data.sha256,
        "code": f"cai-feedback {made.code['version']}, {made.code['sha256']}",
        **{f"not covered ({number})": text for number, text in enumerate(made.not_covered, 1)},
    }
    lead = f"{made.judge.name} in mode {made.judge.mode_name}, under {made.constitution}"
    replace_text(out / "report.html", judge_page("A judge's certificate", lead, figures, bound))


def name_in_run(made: Certificate, run: Path) -> None:
    """Put the certificate into a run's folder, whose manifest names it. Raises `InputError` for another judge's run."""
    manifest = run / "manifest.json"
    if not manifest.is_file():
        raise InputError("it holds no finished run", where=str(run), fix="Let `cai generate` or `cai judge` finish.")
    table = next(
        (run / f"pairs.{ending}" for ending in ("jsonl", "parquet") if (run / f"pairs.{ending}").is_file()), None
    )
    if table is None or not (own := origins(str(table))):
        raise InputError("it holds no pairs whose judge could be certified", where=str(run))
    require(made, {}, own, str(run))
    content = json.loads(manifest.read_text(encoding="utf-8")) | {"certificate": made.sha256}
    replace_text(run / FILE, made.text())
    replace_text(manifest, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    say(f"{run}/manifest.json names the certificate, which is beside it")


def _print(made: Certificate, figures: TrustFigures, file: Path, *, err: bool) -> None:
    say(f"certificate: {file} ({made.sha256})", err=err)
    say(f"report:      {file.parent}/report.html", err=err)
    for name, figure in figures.named().items():
        if figure.is_of_few:
            say(f"  {name:36}- ({too_few(figure.clusters)})", err=err)
        else:
            say(f"  {name:36}{figure.estimate:.3f} ({limits(figure)}), n = {figure.n:,}", err=err)
    for note in notes(figures):
        say(clean(f"warning: {note}"), err=err)
    say("It does not cover:", err=err)
    for line in made.not_covered:
        say(clean(f"  - {line}"), err=err)
