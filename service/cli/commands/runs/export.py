"""``cai export``: a run, a data set or a file of feedback, in the format of another tool, without a server."""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import typer

from base.errors import InputError
from critic.certificates.certificate import FILE, Certificate, read_certificate
from critic.certificates.gate import require
from critic.certificates.origins import origins
from critic.run.folder.results import replace_text
from critic.settings.exporting import ExportSettings
from service.cli.given.config import ConfigFile
from service.cli.given.expand import expand
from service.cli.given.options import Json
from service.cli.shown.voice import Quiet, say
from service.exports.hub import push_dataset
from service.exports.offers import Written, offered, write
from service.formats import FORMATS, format_of
from service.formats.base import DATA_TABLES


@expand
def export(settings: ExportSettings, as_json: Json = False, quiet: Quiet = False, config: ConfigFile = None) -> None:
    """Write a run, a data set or feedback as a file for another tool, or upload it to the hub. No server is needed.

    Without --format and --out, the formats are listed. A certificate that is given, or that DIR contains, is checked,
    and put beside what is written.
    """
    source, format, out = settings.source, settings.format, settings.out
    required = settings.require_certificate or bool(settings.bound)
    held = _certified(source, settings.certificate, required, _bounds(settings.bound))
    if settings.push_to_hub is not None:
        if format is not None or out is not None:
            raise InputError(
                "a folder is put on the hub as it is",
                where="--push-to-hub",
                fix="Leave --format and --out out; the file that they make can be written apart.",
            )
        address = push_dataset(source, settings.push_to_hub)
        typer.echo(json.dumps({"pushed": address}, indent=2)) if as_json else say(address)
        return
    if format is None and out is None:
        _list_formats(as_json)
        return
    if format is None or out is None:
        missing = "--format" if format is None else "--out"
        raise InputError(f"{missing} is missing", fix="Give --format and --out; without both, the formats are listed.")
    form = format_of(format, options_of(settings.options))
    ending = form.suffixes[0]
    if out.suffix != ending:
        raise InputError(f"{form.name} is written as {ending}", where=str(out), fix=f"Name it {out.stem}{ending}.")
    written = write(offered(source), form, out, table_of(settings.table))
    print_written(written, out, as_json)
    if held is not None:
        replace_text(out.parent / FILE, held.text())
        say(f"certificate: {out.parent / FILE} ({held.sha256})", err=as_json)
    if not as_json and (usage := form.usage(written.table, out)):
        say(f"read it with: {usage}")


def _certified(source: Path, given: Path | None, required: bool, bounds: Mapping[str, float]) -> Certificate | None:
    """Return the certificate of the labels' judge. Raises `InputError` where one is needed and missing, or too weak."""
    file = given or (source / FILE if source.is_dir() else source.parent / FILE)
    if given is None and not required and not file.is_file():
        return None
    by_judges = [one for table in _tables(source) for one in origins(str(table)) if not one.is_by_people]
    if not by_judges:
        return None
    certificate = read_certificate(file)
    require(certificate, bounds, by_judges, str(source))
    return certificate


def _tables(source: Path) -> list[Path]:
    """The files of labels: of a folder, its own exports."""
    if source.is_file():
        return [source]
    names = ("pairs", "feedback", "rankings", "ratings")
    files = [source / f"{name}.{ending}" for name in names for ending in ("jsonl", "parquet")]
    return [file for file in files if file.is_file()][:1]


def _bounds(texts: Iterable[str]) -> dict[str, float]:
    bounds = {}
    for text in texts:
        name, _, number = text.partition("=")
        try:
            bounds[name] = float(number)
        except ValueError:
            bounds[name] = math.nan
        if not math.isfinite(bounds[name]):
            raise InputError(f"{text!r} is not FIGURE=NUMBER", where="--bound", fix="As in accuracy=0.7")
    return bounds


def table_of(name: str | None) -> Any:
    """Read ``--table``. Raises `InputError`."""
    known = (*DATA_TABLES, "feedback")
    if name is not None and name not in known:
        raise InputError(f"there is no table {name!r}", where="--table", fix=f"expected one of {', '.join(known)}")
    return name


def options_of(text: str) -> dict[str, Any]:
    """Read ``--options``. Raises `InputError`."""
    try:
        options = json.loads(text)
    except (ValueError, RecursionError):
        options = None
    if not isinstance(options, dict):
        raise InputError("the options are no JSON object", where="--options", fix="expected, say, '{\"scale\": 5}'")
    return options


def print_written(written: Written, out: Path, as_json: bool) -> None:
    """Say what a file holds now, and what it doesn't say."""
    skipped = sum(count for name, count in written.lost.items() if name.startswith("skipped_"))
    rows = written.rows - skipped
    left_out, lost = dict(sorted(written.left_out.items())), dict(sorted(written.lost.items()))
    if as_json:
        told = {"file": str(out), "table": written.table, "rows": rows, "left_out": left_out, "lost": lost}
        typer.echo(json.dumps(told, ensure_ascii=False, indent=2))
        return
    say(f"{out}: {rows:,} rows of {written.table}")
    for name, count in left_out.items():
        say(f"left out: {count:,} ({name})")
    for name, count in lost.items():
        if name.startswith("skipped_"):
            say(f"left out: {count:,} ({name.removeprefix('skipped_')})")
    named = {name: count for name, count in lost.items() if not name.startswith("skipped_")}
    for count in sorted(set(named.values()), reverse=True):
        names = (name for name, of_name in named.items() if of_name == count)
        say(f"lost in {count:,} rows: {', '.join(names)}")


def _list_formats(as_json: bool) -> None:
    if as_json:
        listed = [{"name": name, "title": form.title, "writes": list(form.tables)} for name, form in FORMATS.items()]
        typer.echo(json.dumps(listed, ensure_ascii=False, indent=2))
        return
    for name, form in FORMATS.items():
        writes = f"writes {', '.join(form.tables)}" if form.tables else "is read only"
        typer.echo(f"{name:16}{form.title}: {writes}")
