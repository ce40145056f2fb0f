"""``cai feedback``: labels from files to a server, and back."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from base.errors import InputError
from critic.feedback import Feedback, Source
from critic.feedback.same import same_label
from critic.files.sources import Broken
from service.cli.commands.runs.export import options_of, print_written, table_of
from service.cli.exits import QUARANTINED
from service.cli.given.columns import Column
from service.cli.given.config import ConfigFile
from service.cli.given.connected import connected
from service.cli.given.options import Json
from service.cli.given.remote import HERE, Key, Server
from service.cli.given.tabled import Options, TableName
from service.cli.shown.voice import Quiet, say
from service.client import Client, Refused
from service.exports.offers import Offer, write
from service.formats import format_of
from service.formats.base import Table

app = typer.Typer(help="Import labels into a server, and export them.", no_args_is_help=True)

Format = Annotated[str, typer.Option(help="The file's format: jsonl, trl, hh-rlhf ...; an unknown one lists them all.")]

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
    config: ConfigFile = None,
) -> None:
    """Send a file's labels to a server; annotators that it doesn't know are added.

    Labels that are stored already are not stored again, by whatever file or way they came. Rows that can't be used are
    named and left out. The exit code is then 3.
    """
    stored = refused = there = 0
    if not file.is_file():
        problem = "this is a folder" if file.is_dir() else "no such file"
        raise InputError(problem, where=str(file), fix="Name a file of labels; docs/FORMATS.md has the formats.")
    if source not in ("human", "ai"):
        raise InputError("a source is human or ai", where="--source")
    given = options_of(options) | ({} if column is None else {"columns": column})
    reading = format_of(format, given).read(file, cast(Source, source))
    with connected(server, key) as client:
        people = _People(client)
        for batch in _batches(reading):
            good = [row for row in batch if not isinstance(row, Broken)]
            faults = [f"{row.where}: {row.detail}" for row in batch if isinstance(row, Broken)]
            known, wrong = _send(client, [(row, people.row(row)) for row in good])
            faults += wrong
            for fault in faults:
                typer.echo(f"refused: {fault}", err=True)
            there, refused = there + known, refused + len(faults)
            stored += len(batch) - len(faults) - known
    if not stored + there + refused:
        raise InputError("the input is empty", where=str(file), fix="Give at least one row.")
    if as_json:
        told = {"stored": stored, "stored_before": there, "refused": refused, "thoughts": reading.thoughts}
        typer.echo(json.dumps(told, indent=2))
    else:
        say(f"stored: {stored:,} labels")
        if there:
            say(f"stored before: {there:,} labels, and not again")
        if reading.thoughts:
            say(f"left out: what a model thought, in {reading.thoughts:,} rows")
    if refused:
        say(f"refused: {refused:,} rows", err=as_json)
        raise typer.Exit(QUARANTINED)


@app.command()
def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.")],
    format: Format = "jsonl",
    table: TableName = None,
    options: Options = "{}",
    kind: Annotated[str | None, typer.Option(help="Only this kind.")] = None,
    source: Annotated[str | None, typer.Option(help="Only human, or only ai.")] = None,
    group: Annotated[str | None, typer.Option(help="Only of this group.")] = None,
    project: Annotated[str | None, typer.Option(help="Only of this project, by its id.")] = None,
    server: Server = HERE,
    key: Key = "",
    as_json: Json = False,
    quiet: Quiet = False,
    config: ConfigFile = None,
) -> None:
    """Write a server's labels to a file, in the order in which they were stored, without those that were retracted.

    A format for trainers (trl, axolotl ...) gets a row per label; ties and unreadable labels give none. Data sets
    (POST /v1/datasets) put the labels of several annotators together.
    """
    form = format_of(format, options_of(options))
    chosen = {"kind": kind, "source": source, "group": group, "project": project, "retracted": False}
    wanted: Table | None = table_of(table)
    if wanted is None and "feedback" in form.tables:
        wanted = "feedback"
    with connected(server, key) as client:
        stored = LabelsRead(lambda: (label.plain() for label in client.all_feedback(**chosen)))
        print_written(write(Offer(server, labels=stored), form, file, wanted), file, as_json)


class LabelsRead:
    """Labels that can be gone through again, since each table is looked for among all of them."""

    def __init__(self, read: Callable[[], Iterator[Feedback]]) -> None:
        self._read = read

    def __iter__(self) -> Iterator[Feedback]:
        return self._read()


class _People:
    """The annotators of a file, and their ids on the server."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._ids: dict[str, str] = {}
        self._seen: Counter[bytes] = Counter()

    def row(self, label: Feedback) -> dict[str, Any]:
        """The label as it is sent, with which of the file's equal ones it is."""
        row = label.model_dump(mode="json", exclude={"where"}, exclude_defaults=True)
        if label.source == "human" and label.annotator is not None:
            row["annotator"] = self._id(label.annotator)
        key = bytes.fromhex(same_label(label, label.annotator))[:16]  # short: there is one for each label
        self._seen[key] += 1
        return row | {"nth": self._seen[key]}

    def _id(self, name: str) -> str:
        if name not in self._ids:
            self._ids[name] = self._found(name)
        return self._ids[name]

    def _found(self, name: str) -> str:
        """The annotator whose id or name it is, or a new one."""
        try:
            return self._client.annotator(name).id
        except Refused as refused:
            if refused.document.status != 404:
                raise
        named = next(iter(self._client.annotators(name=name)), None)
        return (named or self._client.make_annotator(name)).id


def _batches(rows: Iterable[Feedback | Broken]) -> Iterator[list[Feedback | Broken]]:
    batch, characters = [], 0
    for row in rows:
        batch.append(row)
        characters += len(str(row))
        if len(batch) == BATCH or characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _send(client: Client, rows: list[tuple[Feedback, dict[str, Any]]]) -> tuple[int, list[str]]:
    """Send a batch; return how many of it were stored before, and what is wrong with its rows, one line each.

    One that is too large is sent in two.
    """
    if not rows:
        return 0, []
    known = 0
    try:
        answer = client.give([row for _, row in rows])
        faults, known = getattr(answer, "faults", []), len(getattr(answer, "there", []))
    except Refused as refused:
        if refused.document.status == 413:
            if len(rows) == 1:
                return 0, [f"{rows[0][0].where}: {refused.document.detail}"]
            middle = len(rows) // 2
            first, wrong = _send(client, rows[:middle])
            second, also = _send(client, rows[middle:])
            return first + second, wrong + also
        if not refused.document.faults:
            raise
        faults = refused.document.faults
    by_row: dict[int, str] = {}
    for fault in faults:
        number, _, place = fault.where[1:].partition("/")
        by_row.setdefault(int(number), f"{place}: {fault.problem}" if place else fault.problem)
    return known, [f"{rows[number][0].where}: {problem}" for number, problem in sorted(by_row.items())]
