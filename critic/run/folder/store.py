"""``run.db``: what a run has done so far, in one SQLite file. Kill the process anywhere; nothing committed is lost.

Two things live here. The ledger: every answer of an engine by its content key (`critic.calls.ledger.Ledger`). The
rows: what came of each prompt, or why nothing did. All writes go through one thread that commits whatever has gathered
while it was busy, in order: thousands of commits a second, each synced to disk before its caller goes on.
"""

import fcntl
import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Literal, Self

from base.digest import canonical_json, digest
from base.errors import InputError
from critic.calls.ledger import Answer, Claims
from critic.records import Provenance, Quarantined, Row
from critic.run.config import agree
from critic.run.execute import KnownRow
from critic.run.folder.writer import Writer

_TABLES = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS calls (key BLOB PRIMARY KEY, answer TEXT NOT NULL, cost REAL NOT NULL);
CREATE TABLE IF NOT EXISTS rows (
    row INTEGER PRIMARY KEY, place TEXT NOT NULL, item BLOB NOT NULL, plan BLOB NOT NULL, config BLOB NOT NULL,
    result TEXT, quarantined TEXT, CHECK ((result IS NULL) <> (quarantined IS NULL))
);
CREATE TABLE IF NOT EXISTS replaced (row INTEGER PRIMARY KEY, result TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS known ON rows (config, row, place, item);
"""
_SCHEMA = "4"
_PAGE = 1000  # rows read at once

_Write = tuple[str, tuple[Any, ...]]


class StoreError(OSError):
    """The run's directory can't be written: most often a full disk. What was committed is safe."""


class RunStore(Claims):
    """One run directory's ``run.db``. One process at a time writes; any number may read."""

    def __init__(self, directory: Path, *, write: bool) -> None:
        super().__init__()
        self._directory = directory
        self._config = b""  # of what is written from now on
        self._is_turning = False  # whether results of an earlier plan are kept
        path = directory / "run.db"
        with ExitStack() as stack:
            if write:
                stack.callback(os.close, lock_directory(directory))
            try:
                self._db = stack.enter_context(closing(_connect(path, read_only=not write)))
                version = self._meta("schema")
                if version in (None, _SCHEMA) and write:
                    self._db.executescript(_TABLES)
            except sqlite3.Error as error:
                raise InputError(f"this is not a run's database: {error}", where=str(path)) from None
            if version not in (None, _SCHEMA):
                raise InputError(
                    f"the run was written by another version of cai (its run.db has schema {version}, not {_SCHEMA})",
                    where=str(path),
                    fix="Go on with that version, or name a new directory. Its exports can be read as they are.",
                )
            self._writer: Writer[_Write] | None = None
            if write:
                connection = stack.enter_context(closing(_connect(path)))
                # Keys are hashes: each answer goes to another page. So more of them share the writing of one.
                connection.execute("PRAGMA cache_size = -32768")  # KiB
                connection.execute("PRAGMA wal_autocheckpoint = 16384")  # pages of 4 KiB
                self._writer = Writer("run.db writer", lambda batch: _commit(path, connection, batch))
                self._writer.start()
                stack.callback(self._writer.stop)
            self._open = stack.pop_all()  # from here on it is `close` that lets go

    @classmethod
    def open(cls, directory: Path, config: dict[str, Any], *, extend: bool) -> Self:
        """Open ``directory`` for the run that ``config`` describes, new or begun.

        Raises `InputError` where it holds something else, a run of another config (unless ``extend``), or a run that
        is going on in another process.
        """
        directory.mkdir(parents=True, exist_ok=True)
        if not (directory / "run.db").exists() and any(p.name != ".lock" for p in directory.iterdir()):
            raise InputError(
                "the output directory is not empty and holds no run", where=str(directory), fix="Name a new directory."
            )
        store = cls(directory, write=True)
        try:
            store._agree(directory, config, extend)
        except BaseException:  # whatever it was, the directory's lock goes with it
            store.close()
            raise
        return store

    @classmethod
    def open_existing(cls, directory: Path) -> Self:
        """Open a run for reading, also while it is going on."""
        if not (directory / "run.db").is_file():
            raise InputError(
                "there is no run here (no run.db)", where=str(directory), fix="Name the --out directory of a run."
            )
        return cls(directory, write=False)

    def close(self) -> None:
        """Commit what waits and let go of the directory."""
        self._open.close()

    # The ledger.

    def get(self, key: str) -> Answer | None:
        """See `Ledger.get`."""
        row = self._db.execute("SELECT answer FROM calls WHERE key = ?", (bytes.fromhex(key),)).fetchone()
        answer: Answer | None = json.loads(row[0]) if row else None
        return answer

    async def commit(self, key: str, answer: Answer, cost: float) -> None:
        """See `Ledger.commit`. What is paid a second time for one answer counts, too."""
        await self._write(
            "INSERT INTO calls (key, answer, cost) VALUES (?, ?, ?)"
            " ON CONFLICT DO UPDATE SET cost = cost + excluded.cost",
            bytes.fromhex(key),
            canonical_json(answer),
            cost,
        )
        self.release(key)

    def calls(self) -> int:
        """How many answers are committed."""
        return int(self._db.execute("SELECT count(*) FROM calls").fetchone()[0])

    def cost(self) -> float:
        """What the committed answers have cost, in US dollars."""
        return float(self._db.execute("SELECT total(cost) FROM calls").fetchone()[0])

    # The rows.

    def is_done(self, row: int, item: str, plan: str) -> bool:
        """Whether ``row`` has a result for this item under this plan. Quarantined rows are tried again."""
        return bool(
            self._db.execute(
                "SELECT 1 FROM rows WHERE row = ? AND item = ? AND plan = ? AND result IS NOT NULL",
                (row, bytes.fromhex(item), bytes.fromhex(plan)),
            ).fetchone()
        )

    def known(self) -> Iterator[KnownRow]:
        """Every row that has a result under the very config that the run was opened with, in the order of the input.

        Where that holds the input's hash, these rows need not be read again.
        """
        after = -1
        while True:
            page = self._db.execute(
                "SELECT row, place, item FROM rows WHERE config = ? AND row > ? ORDER BY row LIMIT ?",
                (self._config, after, _PAGE),
            ).fetchall()
            if not page:
                return
            yield from (KnownRow(row, place, item.hex()) for row, place, item in page)
            after = page[-1][0]

    async def finish(self, result: Row | Quarantined, item: str, plan: str) -> None:
        """Store what came of a row, in place of what it had."""
        text = result.model_dump_json()
        row, quarantined = (text, None) if isinstance(result, Row) else (None, text)
        if self._is_turning:  # first, so that a process that dies between the two has lost nothing
            await self._write(
                "INSERT OR IGNORE INTO replaced (row, result)"
                " SELECT row, result FROM rows WHERE row = ? AND result IS NOT NULL AND plan <> ?",
                result.row,
                bytes.fromhex(plan),
            )
        await self._write(
            "INSERT OR REPLACE INTO rows (row, place, item, plan, config, result, quarantined)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            result.row,
            result.where,
            bytes.fromhex(item),
            bytes.fromhex(plan),
            self._config if row is not None else b"",  # so that the index alone says what is known
            row,
            quarantined,
        )

    async def trim(self, rows: int) -> None:
        """Forget results from position ``rows`` on: the input that they came from has become shorter."""
        await self._write("DELETE FROM rows WHERE row >= ?", rows)

    def rows(self) -> Iterator[Row]:
        """Every result under the plan of `provenance`, in the order of the input."""
        return map(Row.model_validate_json, self._texts("result"))

    def row(self, row: int) -> Row | None:
        """The result at one position of the input, or None."""
        stored = self._db.execute("SELECT result FROM rows WHERE row = ? AND result IS NOT NULL", (row,)).fetchone()
        return Row.model_validate_json(stored[0]) if stored else None

    def quarantined(self) -> Iterator[Quarantined]:
        """Every row without a result under that plan, in the order of the input."""
        return map(Quarantined.model_validate_json, self._texts("quarantined"))

    # What the run is.

    def config(self) -> dict[str, Any]:
        """The config that the directory was last opened with."""
        config: dict[str, Any] = json.loads(self._meta("config") or "{}")
        return config

    def provenance(self) -> Provenance:
        """What every label of the run comes from. Raises `InputError` where the directory holds no run's labels."""
        text = self._meta("provenance")
        if text is None:
            raise InputError(
                "this directory holds the answers of a measurement or of an unfinished start, and no labels",
                where=str(self._directory),
                fix="`cai generate` and `cai judge` make runs; a measurement's figures are in its .json file.",
            )
        return Provenance.model_validate_json(text)

    def set_provenance(self, provenance: Provenance, plan: str) -> None:
        """Store what every label of the run comes from, and the plan of the rows that it holds for.

        Where that is another plan than before, results of before are kept from now on, for `replaced`.
        """
        if self.turns_to(plan):
            with self._db:
                self._db.execute("DELETE FROM replaced")
                self._db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('turning', 'yes')")
        self._is_turning = self._meta("turning") is not None
        self._set_meta("plan", plan)  # first: a start that is killed between them shows no row of another plan
        self._set_meta("provenance", provenance.model_dump_json())

    def turns_to(self, plan: str) -> bool:
        """Whether the directory holds results of another plan than ``plan``."""
        before = self._meta("plan")
        return bool(before) and before != plan

    def replaced(self) -> Iterator[tuple[Row, Row | None]]:
        """Each result of before the last change of plan that has been replaced, with what is there now."""
        query = (
            "SELECT replaced.result, rows.result FROM replaced LEFT JOIN rows ON rows.row = replaced.row"
            " AND rows.plan = ? ORDER BY replaced.row"
        )
        for old, new in self._db.execute(query, (bytes.fromhex(self._meta("plan") or ""),)):
            yield Row.model_validate_json(old), None if new is None else Row.model_validate_json(new)

    def pace(self) -> tuple[int, float]:
        """Rows that were run in this directory, and the seconds they took: what a plan's time is based on."""
        stored = json.loads(self._meta("pace") or "[0, 0.0]")
        return int(stored[0]), float(stored[1])

    def add_pace(self, rows: int, seconds: float) -> None:
        """Count rows that were run, and their seconds."""
        before = self.pace()
        self._set_meta("pace", canonical_json([before[0] + rows, before[1] + seconds]))

    def _texts(self, column: Literal["result", "quarantined"]) -> Iterator[str]:
        """What is in a column, without the rows of another plan: their labels are not of this `provenance`."""
        plan = bytes.fromhex(self._meta("plan") or "")
        query = f"SELECT {column} FROM rows WHERE {column} IS NOT NULL AND plan = ? ORDER BY row"
        return (text for (text,) in self._db.execute(query, (plan,)))

    def _agree(self, directory: Path, config: dict[str, Any], extend: bool) -> None:
        agree(self.config(), config, directory, extend=extend)
        self._set_meta("schema", _SCHEMA)
        self._set_meta("config", canonical_json(config))
        self._config = bytes.fromhex(digest(config))

    def _meta(self, key: str) -> str | None:
        if not self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
            return None
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return str(row[0]) if row else None

    def _set_meta(self, key: str, value: str) -> None:
        with self._db:
            self._db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (key, value))

    async def _write(self, statement: str, *values: Any) -> None:
        if self._writer is None:
            raise StoreError("the run is open for reading only")
        await self._writer.write((statement, values))


def _commit(path: Path, connection: sqlite3.Connection, batch: Sequence[_Write]) -> None:
    try:
        with connection:
            for statement, values in batch:
                connection.execute(statement, values)
    except (sqlite3.Error, OSError) as error:
        raise StoreError(
            f"{path} can't be written: {error}\n"
            "  What was answered before is safe. Make room, then run the same command again."
        ) from None


def _connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}"
    connection = sqlite3.connect(uri, uri=True, timeout=30, check_same_thread=False)
    try:
        if not read_only:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")  # a commit outlives a power cut, not only the process
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def lock_directory(directory: Path) -> int:
    """Take a directory for this process; closing the returned handle lets go. `InputError` where another has it."""
    handle = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise InputError(
            "another process is working in this directory", where=str(directory), fix="Wait for it, or stop it."
        ) from None
    return handle
