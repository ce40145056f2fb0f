"""What a folder or file offers to a file format: the tables of a run or a data set, and its feedback.

What it doesn't hold as a table is made from its feedback, by the same rules as a data set (`critic.feedback.aggregate`,
a row a label); what a format takes as feedback alone is made from rows.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from base.errors import InputError
from critic.feedback import Feedback
from critic.feedback.aggregate import build
from critic.feedback.base import Columns
from critic.files.sources import open_source
from critic.rows import Broken, RowError
from service.formats.base import DATA_TABLES, Entry, Format, Found, Table, thoughts_in
from service.formats.jsonl import JsonlFormat, from_own
from service.formats.parquet import ParquetFormat

ENDINGS = (".jsonl", ".parquet")
MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Written:
    """What was written: how many rows of which table, what they lost, and what of the source gave none, by reason."""

    table: Table
    rows: int
    lost: Counter[str]
    left_out: Counter[str]


@dataclass(slots=True)
class Offer:
    """Where the tables come from. ``files`` has one for each; ``labels`` are feedback that has no file."""

    name: str
    files: dict[Table, Path] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    labels: Iterable[Feedback] | None = None

    @property
    def is_feedback(self) -> bool:
        """Whether there is feedback, from which other tables are made."""
        return self.labels is not None or "feedback" in self.files

    def entries(self, table: Table) -> Iterator[Entry]:
        """Yield what a format is to write as ``table``; count what gives nothing."""
        if table == "feedback":
            return self._feedback() if self.is_feedback else self._from_rows()
        if table in self.files:
            return self._rows(self.files[table])
        return self._built(table)

    def _rows(self, file: Path) -> Iterator[Columns]:
        for row in open_source(str(file.absolute())).rows:
            if isinstance(row, Broken):
                raise InputError(row.detail, where=row.where, fix="The file was changed; make it again.")
            yield row.columns

    def _feedback(self) -> Iterator[Feedback]:
        if self.labels is not None:
            yield from self.labels
            return
        file = self.files["feedback"]
        form = ParquetFormat() if file.suffix == ".parquet" else JsonlFormat()
        yield from self._read(form.read(file, "ai"))

    def _from_rows(self) -> Iterator[Feedback]:
        for table in DATA_TABLES:
            for number, row in enumerate(self._rows(self.files[table])) if table in self.files else ():
                where = f"{self.files[table].name}:{number}"
                self.lost["reasoning"] += bool(thoughts_in(row))  # a label is of what was said
                try:
                    yield from self._read(from_own(row, where, "human"))
                except RowError as error:
                    self.left_out[error.reason] += 1

    def _read(self, rows: Iterable[Found]) -> Iterator[Feedback]:
        for one in rows:
            if isinstance(one, Broken):
                self.left_out[one.reason] += 1
            else:
                yield one

    def _built(self, table: Table) -> Iterator[Columns]:
        """Make the rows of a table from feedback, label by label, so that memory doesn't grow with them."""
        for label in self._feedback() if self.is_feedback else ():
            rows = list(build([label], "each", self.left_out))
            for other, row in rows:
                if other == table:
                    yield row
            if rows and all(other != table for other, _ in rows):
                self.left_out[f"no row of {table}"] += 1


def offered(source: Path) -> Offer:
    """Return what a run's folder, a data set's folder, or a file of feedback offers. Raises `InputError`."""
    if source.is_file():
        if source.suffix not in ENDINGS:
            raise InputError("no file of feedback", where=str(source), fix=f"expected one of {', '.join(ENDINGS)}")
        return Offer(source.name, {"feedback": source})
    if not source.is_dir():
        raise InputError("no such folder or file", where=str(source), fix="Give the folder of a run or of a data set.")
    candidates = [(table, source / f"{table}{ending}") for table in ("feedback", *DATA_TABLES) for ending in ENDINGS]
    files: dict[Table, Path] = {table: file for table, file in candidates if file.is_file()}
    if not files or not (source / MANIFEST).is_file():
        raise InputError(
            "the folder holds no finished run and no data set",
            where=str(source),
            fix="Let `cai generate` or `cai judge` finish, or give another folder.",
        )
    return Offer(source.name, files)


def write(offer: Offer, form: Format, out: Path, table: Table | None = None) -> Written:
    """Write one table of ``offer`` to ``out``: ``table``, or else the first with rows that the format has a place for.

    The file is written beside ``out`` and put into its place. Raises `InputError` where there is nothing to write, or
    no place for it.
    """
    tried = _candidates(offer, form) if table is None else [table]
    for name in tried:
        if name not in form.tables:
            form.write(name, (), out)  # says so
        offer.left_out.clear()
        offer.lost.clear()
        entries = offer.entries(name)
        if (first := next(entries, None)) is not None:
            return _written(offer, form, out, name, chain([first], entries))
    why = ", ".join(f"{reason}: {count:,}" for reason, count in sorted(offer.left_out.items())) or "the table is empty"
    others = [name for name in offer.files if name in form.tables and name not in tried]
    fix = f"`cai show` says what a run dropped and why. --table may name another table: {', '.join(others) or 'none'}."
    if "feedback" in offer.files and not offer.left_out and not others:
        fix = "There is no label in it: name what `cai feedback export`, a run or a data set has written."
    raise InputError(f"there are no rows of {' or '.join(tried)} to write ({why})", where=offer.name, fix=fix)


def _candidates(offer: Offer, form: Format) -> list[Table]:
    """Return the tables to try: the first that lies there; of feedback alone, each until one has rows."""
    known: list[Table] = [name for name in (*DATA_TABLES, "feedback") if name in form.tables]
    lying: list[Table] = [name for name in known if name in offer.files and name != "feedback"]
    none_known: list[Table] = ["pairs"]
    return lying[:1] or known or none_known


def _written(offer: Offer, form: Format, out: Path, table: Table, entries: Iterator[Entry]) -> Written:
    count = 0

    def counted() -> Iterator[Entry]:
        nonlocal count
        for entry in entries:
            count += 1
            yield entry

    if not out.parent.is_dir():
        raise InputError("there is no such folder", where=str(out.parent), fix="Make it, or name another file.")
    if out.is_dir():
        raise InputError("this is a folder", where=str(out), fix="Name a file.")
    part = out.with_name(f".{out.name}.part")
    try:
        lost = form.write(table, counted(), part)
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)
    return Written(table, count, +(lost + offer.lost), offer.left_out)
