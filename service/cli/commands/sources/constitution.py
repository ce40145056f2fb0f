"""``cai constitution``: list, show, lint, diff, verify, publish and import constitution files."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from base.errors import InputError
from constitution.changes import Change, Changed, Diff, diff
from constitution.dump import dump
from constitution.importers import FORMATS, Imported, polis
from constitution.library import PUBLISHED, completed, content_of, published, roots, shipped
from constitution.lint import lint
from constitution.load import load
from constitution.schema import Constitution, Principle
from constitution.versions import publish, verify
from critic.run.folder.reading import Foreseen, foresee
from service.cli.given.config import ConfigFile
from service.cli.given.options import Json
from service.cli.given.roots import Root
from service.cli.principles.ballot import ballot
from service.cli.principles.recover import recover
from service.cli.principles.test import test
from service.cli.shown.foreseen import foreseen_json, print_foreseen
from service.cli.shown.voice import Quiet, is_quiet, say

app = typer.Typer(
    no_args_is_help=True,
    help="Constitution files: list, show, lint, diff, verify, publish, import; tested by votes; recovered from pairs.",
)
app.command("test")(test)
app.command("recover")(recover)
app.command("ballot")(ballot)

Reference = Annotated[
    str,
    typer.Argument(metavar="FILE|NAME@VERSION", help="NAME alone means its newest version.", autocompletion=completed),
]

_STYLES = {"same": "", "removed": "red strike", "added": "green"}


@app.command("list")
def list_(root: Root = None, as_json: Json = False, quiet: Quiet = False, config: ConfigFile = None) -> None:
    """List the constitutions that can be named, and where they are, in the order in which a name is looked up."""
    by_ref = {c.ref: (folder, c) for folder in reversed(roots()) for c in _in(folder)}
    listed = [(folder, c) for root in roots() for folder, c in by_ref.values() if folder == root]
    if as_json:
        keys = ("name", "version", "title")
        told = []
        for folder, c in listed:
            given = {key: getattr(c, key) for key in keys}
            told.append(given | {"principles": len(c.principles), "hash": c.digest, "folder": str(folder)})
        _print_json(told)
        return
    width = max((len(c.ref) for _, c in listed), default=0)
    for folder, c in listed:
        own = "" if folder == shipped() else f"  ({folder}/)"
        say(f"{c.ref:{width}}  {len(c.principles):3} principles  {c.digest[:12]}  {c.title}{own}")


def _in(folder: Path) -> Iterator[Constitution]:
    for name, versions in published(folder).items():
        for version in versions:
            file = folder / name / f"{version}.yaml"
            content_of(file)  # raises where it is not what was published
            yield load(file)


@app.command()
def show(
    ref: Reference, root: Root = None, as_json: Json = False, quiet: Quiet = False, config: ConfigFile = None
) -> None:
    """Print a constitution with its includes and its hash."""
    constitution = load(ref)
    if as_json:
        _print_json(_constitution_json(constitution))
        return
    console = _console()
    console.print(Text(f"{constitution.title}  {constitution.ref}", style="bold"))
    console.print(f"hash {constitution.digest}", style="dim")
    for text in (constitution.summary, constitution.preamble):
        if text:
            console.print(Text(f"\n{text}"))
    if constitution.includes:
        console.print(Text("\nincludes " + ", ".join(include.ref for include in constitution.includes)))
    for principle in constitution.principles:
        _show_principle(console, principle)


@app.command("lint")
def lint_(
    ref: Reference, root: Root = None, as_json: Json = False, quiet: Quiet = False, config: ConfigFile = None
) -> None:
    """Warn about faults of style. The exit code is 0 unless the file can't be loaded."""
    constitution = load(ref)
    remarks = lint(constitution)
    if as_json:
        _print_json({"ref": constitution.ref, "warnings": [asdict(remark) for remark in remarks]})
        return
    for remark in remarks:
        say(f"warning: {remark.where or constitution.ref}: {remark.problem}")
    say(f"{constitution.ref}: {_count(len(constitution.principles), 'principle')}, {_count(len(remarks), 'warning')}")


@app.command("diff")
def diff_(
    a: Reference,
    b: Reference,
    run: Annotated[
        Path | None,
        typer.Option(
            help="A run's directory: list the judgements that B flips, or may flip, according to its stored votes."
        ),
    ] = None,
    root: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
    config: ConfigFile = None,
) -> None:
    """Show what changed from A to B, word by word, and with --run which of its judgements flip; no model is asked."""
    difference = diff(load(a), load(b))
    foreseen = None if run is None else _foreseen(run, difference)
    if as_json:
        _print_json({**_diff_json(difference), **({} if foreseen is None else {"run": foreseen_json(foreseen)})})
        return
    _show_diff(_console(), difference)
    if run is not None and foreseen is not None and not is_quiet():
        print_foreseen(foreseen, run, difference.b.ref)


def _foreseen(run: Path, difference: Diff) -> Foreseen:
    return foresee(run, difference.b, (difference.a,))


@app.command("verify")
def verify_(root: Root = None, as_json: Json = False, quiet: Quiet = False, config: ConfigFile = None) -> None:
    """Check that no published file has changed since it was published, in all folders where names are looked up."""
    for folder in roots():
        faults = verify(folder)
        if faults:
            raise InputError(
                f"{_count(len(faults), 'fault')}\n" + "\n".join(f"  {fault.file}: {fault.problem}" for fault in faults),
                where=str(folder),
                fix="restore the files; a change belongs in a new version (`cai constitution publish`)",
            )
    counts = {str(folder): sum(map(len, published(folder).values())) for folder in roots()}
    if as_json:
        _print_json(counts)
        return
    for place, count in counts.items():
        say(f"{_count(count, 'published file')} as published in {place}")


@app.command("publish")
def publish_(
    file: Annotated[Path, typer.Argument(help="The file to publish.")],
    into: Annotated[
        Path, typer.Option(help="The folder of published constitutions. In ./published it is found by its name.")
    ] = PUBLISHED,
    quiet: Quiet = False,
    config: ConfigFile = None,
) -> None:
    """Copy a file to INTO/NAME/VERSION.yaml and add it to CHECKSUMS. It can't change after that."""
    say(f"published {publish(file, into)}")


@app.command("import")
def import_(
    format: Annotated[str, typer.Argument(metavar="FORMAT", help=" | ".join(FORMATS))],
    sources: Annotated[list[Path], typer.Argument(metavar="SOURCE...", help="The files of that format.")],
    out: Annotated[Path, typer.Option(help="The file to write.")],
    name: Annotated[str, typer.Option(help="The constitution's name, a slug.")],
    version: Annotated[str, typer.Option(help="Its version.")] = "1.0.0",
    min_support: Annotated[float | None, typer.Option(help="polis: the support that a statement needs.")] = None,
    quiet: Quiet = False,
    config: ConfigFile = None,
) -> None:
    """Turn another format into a constitution file, and say what it could not carry over."""
    imported = _import(format, sources, name, version, min_support)
    if out.exists():
        raise InputError("this file exists", where=str(out), fix="choose another name, or remove it first")
    out.write_text(dump(imported.constitution), "utf-8")
    say(f"wrote {out}: {_count(len(imported.constitution.principles), 'principle')}")
    for left in imported.left_out:
        say(f"not carried over: {left.count} {left.what}: {left.why}")


def _import(format: str, sources: Sequence[Path], name: str, version: str, min_support: float | None) -> Imported:
    if format not in FORMATS:
        raise InputError(f"unknown format {format!r}", where="FORMAT", fix=f"expected one of {', '.join(FORMATS)}")
    if min_support is None:
        return FORMATS[format](sources, name=name, version=version)
    if format != "polis":
        raise InputError(f"{format} files hold no support", where="--min-support", fix="leave the option out")
    return polis.read(sources, name=name, version=version, min_support=min_support)


def _console() -> Console:
    """Colour in a terminal; when piped, plain lines that nothing wraps; with ``--quiet`` nothing."""
    console = Console(highlight=False, quiet=is_quiet())
    console.soft_wrap = not console.is_terminal
    return console


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _constitution_json(constitution: Constitution) -> dict[str, Any]:
    data = constitution.model_dump(mode="json")
    data["principles"] = [{**p.model_dump(mode="json"), "hash": p.digest} for p in constitution.principles]
    return {"ref": constitution.ref, "hash": constitution.digest, **data}


def _show_principle(console: Console, principle: Principle) -> None:
    console.print()
    console.print(Text.assemble((principle.id, "bold cyan"), "  ", (principle.title, "bold")))
    notes = [f"priority {principle.priority}", f"weight {principle.weight:g}", *(f"#{tag}" for tag in principle.tags)]
    if principle.applies_to:
        notes.append(f"for prompts tagged {', '.join(principle.applies_to)}")
    if principle.group and principle.group.support is not None:
        notes.append(f"{principle.group.id}: {principle.group.support:.1%} agree")
    if principle.examples:
        notes.append(_count(len(principle.examples), "example"))
    console.print(Text("  " + " · ".join(notes), style="dim"))
    for field in ("statement", "critique", "revision", "compare", "opposite"):
        if text := getattr(principle, field):
            console.print(Text.assemble((f"  {field:10}", "dim"), text))


def _show_diff(console: Console, difference: Diff) -> None:
    console.print(Text(f"{difference.a.ref} -> {difference.b.ref}", style="bold"))
    for change in difference.header:
        _show_change(console, change, "  ")
    for principle in difference.added:
        console.print(Text(f"+ {principle.id}  added: {principle.title}", style="green"))
    for principle in difference.removed:
        console.print(Text(f"- {principle.id}  removed: {principle.title}", style="red"))
    for label, changed in _changed(difference):
        console.print(Text(f"~ {changed.id}  {label}", style="yellow"))
        for change in changed.fields:
            _show_change(console, change, "    ")
    console.print(_summary(difference))


def _changed(difference: Diff) -> list[tuple[str, Changed]]:
    reworded = [("reworded", changed) for changed in difference.reworded]
    return reworded + [("reweighted", changed) for changed in difference.reweighted]


def _show_change(console: Console, change: Change, indent: str) -> None:
    """``-old-`` and ``+new+`` inside the text, where colour can't show them."""
    line = Text(f"{indent}{change.field}: ")
    for edit in change.edits:
        if console.is_terminal or edit.op == "same":
            mark = ""
        elif edit.op == "removed":
            mark = "-"
        else:
            mark = "+"
        opening, closing = (f"[{mark}", f"{mark}]") if mark else ("", "")
        line.append(f"{opening}{edit.text}{closing}", _STYLES[edit.op])
    console.print(line)


def _summary(difference: Diff) -> str:
    parts = [f"{len(getattr(difference, k))} {k}" for k in ("added", "removed", "reworded", "reweighted", "unchanged")]
    return f"{', '.join(parts)}; --run DIR says what that makes of a run's judgements"


def _diff_json(difference: Diff) -> dict[str, Any]:
    def changes(fields: Sequence[Change]) -> list[dict[str, str]]:
        return [{"field": c.field, "before": c.before, "after": c.after} for c in fields]

    def changed(principles: Sequence[Changed]) -> list[dict[str, Any]]:
        return [{"id": p.id, "fields": changes(p.fields)} for p in principles]

    added = [p.id for p in difference.added]
    return {
        "a": {"ref": difference.a.ref, "hash": difference.a.digest},
        "b": {"ref": difference.b.ref, "hash": difference.b.digest},
        "header": changes(difference.header),
        "added": added,
        "removed": [p.id for p in difference.removed],
        "reworded": changed(difference.reworded),
        "reweighted": changed(difference.reweighted),
        "unchanged": list(difference.unchanged),
        "stale_digests": list(difference.stale_digests),
    }
