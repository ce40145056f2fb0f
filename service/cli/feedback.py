"""``cai feedback``: labels from files to a server, and back."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from constitution.errors import InputError
from service.cli import QUARANTINED
from service.cli.columns import Column
from service.cli.options import Json
from service.cli.remote import HERE, Key, Server, connected
from service.cli.voice import Quiet, say

if TYPE_CHECKING:
    from critic.feedback import Feedback
    from critic.run.sources import Broken
    from service.client import Client

app = typer.Typer(help="Import labels into a server, and export them.", no_args_is_help=True)

Format = Annotated[str, typer.Option(help="The file's format: jsonl, trl, hh-rlhf ...; a wrong one lists them all.")]
Options = Annotated[str, typer.Option(help="The format's options, as a JSON object.")]

BATCH, BATCH_CHARACTERS = 500, 4_000_000  # whichever comes first


@app.command("import")
def imported(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file of labels.")],
    format: Format = "jsonl",
    source: Annotated[str, typer.Option(help="Who gave the labels where the file doesn't say: human or ai.")] = "human",
    options: Options = "{}",
    column: Column = None,
    server: Server = HERE,
    key: Key = "",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Send a file's labels to a server; annotators that it lacks are made. The same command again sends none twice.

    Rows that can't be used are named, and cost themselves only. The exit code is then 3.
    """
    from critic.run.sources import Broken

    stored = refused = 0
    if column is not None:
        options = json.dumps(_object(options) | {"columns": column})
    with connected(server, key) as client:
        people = _People(client)
        name = _fingerprint(file, format, source, options)
        for number, batch in enumerate(_batches(file, format, source, options)):
            good = [row for row in batch if not isinstance(row, Broken)]
            faults = [f"{row.where}: {row.detail}" for row in batch if isinstance(row, Broken)]
            faults += _send(client, [(row, people.row(row)) for row in good], f"{name}-{number}")
            for fault in faults:
                typer.echo(f"refused: {fault}", err=True)
            stored, refused = stored + len(batch) - len(faults), refused + len(faults)
    if as_json:
        typer.echo(json.dumps({"stored": stored, "refused": refused}, indent=2))
    else:
        say(f"stored: {stored:,} labels")
    if refused:
        say(f"refused: {refused:,} rows", err=as_json)
        raise typer.Exit(QUARANTINED)


@app.command()
def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.")],
    format: Format = "jsonl",
    options: Options = "{}",
    kind: Annotated[str | None, typer.Option(help="Only this kind.")] = None,
    source: Annotated[str | None, typer.Option(help="Only human, or only ai.")] = None,
    group: Annotated[str | None, typer.Option(help="Only of this group.")] = None,
    project: Annotated[str | None, typer.Option(help="Only of this project, by its id.")] = None,
    server: Server = HERE,
    key: Key = "",
) -> None:
    """Write a server's labels to a file, in the order in which they were stored, without those that were retracted."""
    from service.formats import format_of

    form = format_of(format, _object(options))
    count = 0

    def counted(client: "Client") -> Iterator["Feedback"]:
        nonlocal count
        chosen = {"kind": kind, "source": source, "group": group, "project": project, "retracted": False}
        for label in client.all_feedback(**chosen):
            count += 1
            yield label.plain()

    part = file.with_name(f".{file.name}.part")
    try:
        with connected(server, key) as client:
            lost = form.write("feedback", counted(client), part)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    typer.echo(f"{file}: {count:,} labels")
    for name, rows in sorted(lost.items()):
        typer.echo(f"lost: {name}, in {rows:,} labels")


class _People:
    """The annotators of a file, and their ids on the server."""

    def __init__(self, client: "Client") -> None:
        self._client = client
        self._ids: dict[str, str] = {}

    def row(self, label: "Feedback") -> dict[str, Any]:
        """The label as it is sent."""
        row = label.model_dump(mode="json", exclude={"where"}, exclude_defaults=True)
        if label.source == "human" and label.annotator is not None:
            row["annotator"] = self._id(label.annotator)
        return row

    def _id(self, name: str) -> str:
        if name not in self._ids:
            self._ids[name] = self._found(name)
        return self._ids[name]

    def _found(self, name: str) -> str:
        """The annotator whose id or name it is, or a new one."""
        from service.client import Refused

        try:
            return self._client.annotator(name).id
        except Refused as refused:
            if refused.document.status != 404:
                raise
        named = next(iter(self._client.annotators(name=name)), None)
        return (named or self._client.make_annotator(name)).id


def _batches(file: Path, format: str, source: Any, options: str) -> Iterator[list["Feedback | Broken"]]:
    from service.formats import format_of

    if source not in ("human", "ai"):
        raise InputError("a source is human or ai", where="--source")
    batch, characters = [], 0
    for row in format_of(format, _object(options)).read(file, source):
        batch.append(row)
        characters += len(str(row))
        if len(batch) == BATCH or characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _send(client: "Client", rows: list[tuple["Feedback", dict[str, Any]]], name: str) -> list[str]:
    """Send a batch; return what is wrong with its rows, one line each."""
    from service.client import Refused

    if not rows:
        return []
    try:
        answer = client.give([row for _, row in rows], idempotency_key=name)
        faults = getattr(answer, "faults", [])
    except Refused as refused:
        if not refused.document.faults:
            raise
        faults = refused.document.faults
    by_row: dict[int, str] = {}
    for fault in faults:
        number, _, place = fault.where[1:].partition("/")
        by_row.setdefault(int(number), f"{place}: {fault.problem}" if place else fault.problem)
    return [f"{rows[number][0].where}: {problem}" for number, problem in sorted(by_row.items())]


def _fingerprint(file: Path, *settings: str) -> str:
    """What an import is called, so that a second start sends nothing twice: by the file's bytes and how it is read."""
    if not file.is_file():
        raise InputError("no such file", where=str(file))
    with file.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256")
    found.update(json.dumps(settings).encode())
    return f"import-{found.hexdigest()}"


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise InputError("the options are no JSON object", where="--options", fix="expected, say, '{\"scale\": 5}'")
    return found
