"""What every file format is: what it reads, what it writes, and what is lost by writing it.

`Format.read` yields feedback, or a `Broken` row with its place and the reason: one bad row costs itself only.
`Format.write` returns what could not be written, by name, with how often. Uploads come under names of the server's
own: nothing in a file names another file.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal, get_args

from pydantic import ValidationError

from base.digest import digest
from base.errors import InputError
from critic.feedback import Feedback, Source
from critic.feedback.base import Columns
from critic.feedback.base import Table as DataTable
from critic.feedback.feedback import SHOWS_NOTHING, blank_place
from critic.files.inputs import RowError
from critic.files.naming import EVERYTHING, Naming
from critic.files.row_prompt import readable
from critic.files.shapes import naming
from critic.files.sources import open_source
from critic.files.turns import THOUGHTS, thinks
from critic.records import Record
from critic.rows import Broken, Raw
from critic.run.folder.export import JsonLines

Table = Literal["pairs", "rankings", "ratings", "sft", "feedback"]
"""``feedback`` is feedback as it is; the others are tables of a data set."""

DATA_TABLES: tuple[Table, ...] = get_args(DataTable)
Found = Feedback | Broken
Entry = Feedback | Columns
"""What is written: feedback, or a row of a data set."""

Parse = Callable[[Columns, str, Source], Iterator[Found]]


class Reading:
    """What ``parse`` makes of each row, as it is asked for, and a `Broken` for each row that it refuses.

    ``thoughts`` counts the rows so far that also say what a model thought, where no label keeps it.
    """

    def __init__(self, rows: Iterable[Raw | Broken], source: Source, parse: Parse) -> None:
        self._thoughts: Counter[str] = Counter()
        # Apart from this, so that a file that is left before its end is closed as soon as nobody reads it any more.
        self._found = _parsed(rows, source, parse, self._thoughts)

    @property
    def thoughts(self) -> int:
        """See the class."""
        return self._thoughts.total()

    def __iter__(self) -> Iterator[Found]:
        return self._found

    def __next__(self) -> Found:
        return next(self._found)


def _parsed(rows: Iterable[Raw | Broken], source: Source, parse: Parse, thoughts: Counter[str]) -> Iterator[Found]:
    for row in rows:
        if isinstance(row, Broken):
            yield row
            continue
        kept = False
        try:
            for label in parse(row.columns, row.where, source):
                one = _or_refused(label)
                kept = kept or isinstance(one, Broken) or _keeps_thoughts(one)
                yield one
            thoughts["dropped"] += not kept and thinks(row.columns)
        except Exception as error:  # whatever a stranger's values make Python raise costs their row, and no other
            yield broken(row.where, error)


def _or_refused(label: Found) -> Found:
    """Return a label; a refusal where one of its answers shows nothing, as all who compare or learn refuse it."""
    blank = isinstance(label, Feedback) and blank_place(label.prompt, label.responses, label.label)
    return Broken(label.where, "empty_answer", f"{blank}: {SHOWS_NOTHING}") if blank else label


def _keeps_thoughts(label: Feedback) -> bool:
    return any(response.reasoning is not None for response in label.responses)


class Format(Record):
    """A file format; its fields are its options.

    ``suffixes`` are the endings that it is read under, the first of them what it writes. ``tables`` has the columns of
    the files that it writes, by the table that feeds them. ``loses`` is what a file doesn't say of what it was written
    from, as sentences: the rest comes back when it is read.
    """

    name: ClassVar[str]
    title: ClassVar[str]  # whose it is, as people call it
    suffixes: ClassVar[tuple[str, ...]] = (".jsonl",)
    reads: ClassVar[tuple[str, ...]] = ()  # kinds of feedback
    tables: ClassVar[Mapping[Table, tuple[str, ...]]] = MappingProxyType({})
    loses: ClassVar[str] = ""
    keeps_reasoning: ClassVar[bool] = False
    """Whether what a model thought before it answered has a place in its files. Where not, it is counted as lost."""

    def usage(self, table: Table, file: Path) -> str:
        """Return how its tool is told to read a file that holds ``table``; nothing where there is nothing to tell."""
        return ""

    def read(self, path: Path, source: Source = "human") -> Reading:
        """Yield the feedback in the file at ``path``; ``source`` says who gave it, where the file doesn't.

        Raises `InputError` where the file as a whole can't be read.
        """
        raise InputError(f"the format {self.name} can't be imported", where="format", fix=_known("reads"))

    def write(self, table: Table, entries: Iterable[Entry], path: Path) -> Counter[str]:
        """Write one table to the file at ``path``, and return what was lost: a name, and how many rows it concerns.

        The entries are `Feedback` for the table ``feedback``, else rows as `critic.feedback.aggregate` builds them.
        Raises `InputError` for a table that the format has no place for, or an entry that isn't of the table, and
        `OSError` (a full disk, say).
        """
        if table not in self.tables:
            raise InputError(
                f"the format {self.name} has no place for {table}", where="format", fix=_known("writes", table)
            )
        thoughts: Counter[str] = Counter()
        checked = _checked(table, entries)
        lost = self.save(table, checked if self.keeps_reasoning else _without_thoughts(checked, thoughts), path)
        return +(lost + thoughts)

    def save(self, table: Table, entries: Iterable[Entry], path: Path) -> Counter[str]:
        """Write a table that the format has a place for, as `write` says: here as JSON Lines, of `records`."""
        lost: Counter[str] = Counter()
        with path.open("wb") as file:
            lines = JsonLines(file)
            for entry in entries:
                for record in self.records(table, entry, lost):
                    lines.write(record)
        return lost

    def records(self, table: Table, entry: Any, lost: Counter[str]) -> Iterator[Columns]:
        """Yield the lines that ``entry`` is written as, and count in ``lost`` what they don't say."""
        raise NotImplementedError  # formats that write other files than JSON Lines override `save`


class ShapedFormat(Format):
    """A format whose rows are read by their shapes. ``columns`` maps names, as in ``prompt=question,chosen=win``."""

    columns: str | None = None

    def naming(self) -> Naming:
        """Return which columns are read, and what they are called. Raises `InputError`."""
        return naming(self.columns)


_CHATS = ("prompt", "chosen", "rejected", "completion")
_NEEDED: dict[Table, tuple[str, ...]] = {
    "pairs": ("prompt", "chosen", "rejected"),
    "rankings": ("prompt", "responses", "ranks"),
    "ratings": ("prompt", "completion"),
    "sft": ("prompt", "completion"),
}


def _checked(table: Table, entries: Iterable[Entry]) -> Iterator[Entry]:
    """Yield the entries; `InputError` for one of another table."""
    for number, entry in enumerate(entries):
        if isinstance(entry, Feedback) != (table == "feedback"):
            raise InputError(
                f"feedback is no row of a data set, nor the reverse; expected {table}", where=f"row {number}"
            )
        missing = [] if isinstance(entry, Feedback) else [name for name in _NEEDED[table] if name not in entry]
        if missing:
            raise InputError(f"there is no {missing[0]!r}: this is no row of the table {table}", where=f"row {number}")
        yield entry


def _without_thoughts(entries: Iterable[Entry], lost: Counter[str]) -> Iterator[Entry]:
    """Yield the entries without what models thought, and count those that had any."""
    for entry in entries:
        spoken = _spoken_feedback(entry) if isinstance(entry, Feedback) else _spoken_row(entry)
        lost["reasoning"] += spoken is not entry
        yield spoken


def _spoken_feedback(feedback: Feedback) -> Feedback:
    if all(response.reasoning is None for response in feedback.responses):
        return feedback
    spoken = tuple(response.model_copy(update={"reasoning": None}) for response in feedback.responses)
    return feedback.model_copy(update={"responses": spoken})


def _spoken_row(row: Columns) -> Columns:
    thinking = thoughts_in(row)
    return row | {name: list(map(_spoken, row[name])) for name in thinking} if thinking else row


def thoughts_in(row: Columns) -> list[str]:
    """Return the chats of a data set's row in which a model thought before it answered."""
    return [name for name in _CHATS if any(map(_thinks, row.get(name) or ()))]


def _thinks(message: object) -> bool:
    # Tables give every message the columns that any of them has: null ones say nothing.
    return isinstance(message, dict) and any(message.get(name) is not None for name in THOUGHTS)


def _spoken(message: Any) -> Any:
    return {name: value for name, value in message.items() if name not in THOUGHTS} if _thinks(message) else message


def _of(form: type["Format"]) -> Iterator[type["Format"]]:
    """Yield all formats that there are, below ``form``."""
    for below in form.__subclasses__():
        if "name" in vars(below):
            yield below
        yield from _of(below)


def _known(what: str, table: Table | None = None) -> str:
    formats = _of(Format)
    names = [known.name for known in formats if (known.reads if what == "reads" else table in known.tables)]
    return f"Formats that do: {', '.join(sorted(names))}."


def is_plain(messages: Iterable[Columns]) -> bool:
    """Whether a chat is roles and contents alone: tool calls and their results have no place in most formats."""
    return all(message["role"] != "tool" and not message.get("tool_calls") for message in messages)


def has_place(table: Table, entry: Columns, lost: Counter[str]) -> bool:
    """Whether a row fits where a chat is roles and contents alone, and a rating is a thumb; counts why where not."""
    if not is_plain(entry["prompt"]):
        lost["skipped_tool_turns"] += 1
        return False
    if table == "ratings" and entry.get("label") is None:
        lost["skipped_rating"] += 1
        return False
    return True


def shown(feedback: Feedback) -> str:
    """Return a key of what a label is about, in whatever order, with all names: those of one key may share a record."""
    responses = sorted((response.text, response.model) for response in feedback.responses)
    return digest([feedback.prompt.key, feedback.prompt.id, responses])


def count_beside(feedback: Feedback, lost: Counter[str]) -> None:
    """Count what people say beside their answer, for formats of others, which have no place for it."""
    lost["seconds"] += feedback.seconds is not None
    lost["flag"] += feedback.flag is not None
    for name in ("tie_kind", "by_principle", "deciding"):
        lost[name] += bool(getattr(feedback.label, name, None))


_NOTHING_LOST: dict[str, Any] = {"probability": 1.0, "weight": 1.0, "labels": 1, "where": "", "sources": ["human"]}
_MODELS = ("chosen_model", "rejected_model", "model")


def count_lost(row: Columns, kept: Collection[str], lost: Counter[str]) -> None:
    """Count the columns of ``row`` that say something and are not ``kept``."""
    for name, value in row.items():
        says_nothing = value in (None, []) or value == _NOTHING_LOST.get(name) or (name in _MODELS and value == "given")
        if name not in kept and not says_nothing:
            lost[name] += 1


def read_rows(path: Path, source: Source, parse: Parse, columns: Naming = EVERYTHING) -> Reading:
    """Return what ``parse`` makes of each row of a file, and a `Broken` for each row that it refuses.

    ``parse`` refuses a row with `RowError`, or with the `ValueError` of a record that can't be built. ``columns`` are
    those that it may read.
    """
    if not path.is_file():
        raise InputError("no such file", where=path.name)
    return Reading(open_source(str(path.absolute()), columns).rows, source, parse)


def present(columns: Columns) -> Columns:
    """Return a row without the columns that hold nothing. Whether a label is there must be asked before."""
    return {name: value for name, value in columns.items() if value is not None}


def broken(where: str, error: Exception) -> Broken:
    """Return the refused row, with the reason as a sentence."""
    if isinstance(error, RowError):
        reason, detail = error.reason, error.detail
    elif isinstance(error, ValidationError):
        place = error.errors(include_url=False)[0]["loc"]
        reason, detail = f"bad_{place[0]}" if place else "bad_row", readable(error)
    elif isinstance(error, ValueError):
        reason, detail = "bad_row", str(error)
    else:
        reason, detail = "bad_row", f"it can't be read: {type(error).__name__}: {error}"
    return Broken(where, reason, detail.replace("\0", "").encode("utf-8", "replace").decode())  # it may quote the row
