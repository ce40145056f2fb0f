"""A run's rows in Parquet shards, for runs on a cluster: a shard is written whole, once its rows are done.

A shard is so many rows of the input, by position. Its file appears in its place complete or not at all, so a run that
is killed anywhere goes on from the shards that are there. The rows are those of `critic.run.folder.store.RunStore`, and
so are the exports.
"""

import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from io import BytesIO
from os import close as close_handle
from os import fsync
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from base.digest import canonical_json
from base.errors import InputError
from critic.records import Provenance, Quarantined, Row
from critic.run.config import RunConfig, agree
from critic.run.folder.results import replace_text
from critic.run.folder.store import StoreError, lock_directory
from critic.run.folder.turned import keep_exports, second_name

RUN_FILE, FOLDER = "shards.json", "shards"  # a trainer's folder has a run.json
ANSWERS = "answers"  # of the engines, by shard: what an edited constitution still asks is answered from here
REPLACED = "replaced"  # the shards of before the last change of plan that were run again
_SCHEMA = pa.schema([("row", pa.int64()), ("result", pa.string()), ("quarantined", pa.string())])
_ANSWERS = pa.schema([("key", pa.string()), ("answer", pa.string())])
_ABOUT = b"cai"


@dataclass(frozen=True, slots=True)
class About:
    """What a shard holds. ``plan`` and ``items`` say of what its rows are results.

    ``rows`` have a result and ``quarantined`` have none; of these, ``retry`` are those that an engine failed on: the
    next start tries them again. ``calls`` were answered for it.
    """

    shard: int
    plan: str
    items: str
    rows: int
    quarantined: int
    retry: tuple[int, ...]
    calls: int


def pack(about: About, results: Sequence[Row | Quarantined]) -> bytes:
    """Return a shard's file: the same results give the same bytes."""
    records = [
        {"row": result.row, "result" if isinstance(result, Row) else "quarantined": result.model_dump_json()}
        for result in sorted(results, key=lambda result: result.row)
    ]
    return _packed(about, records)


def pack_answers(answers: Mapping[str, Any]) -> bytes:
    """Return the file of a shard's answers, which are JSON, by the keys of their calls."""
    keys = sorted(answers)
    file = BytesIO()
    table = pa.table({"key": keys, "answer": [canonical_json(answers[key]) for key in keys]}, _ANSWERS)
    pq.write_table(table, file, compression="zstd")
    return file.getvalue()


def unpack_answers(data: bytes) -> dict[str, Any]:
    """Return what `pack_answers` took."""
    table = pq.read_table(BytesIO(data))
    texts = table.column("answer").to_pylist()
    return {key: json.loads(text) for key, text in zip(table.column("key").to_pylist(), texts, strict=True)}


def _packed(about: About, records: list[dict[str, Any]]) -> bytes:
    schema = _SCHEMA.with_metadata({_ABOUT: canonical_json(asdict(about)).encode()})
    file = BytesIO()
    pq.write_table(pa.Table.from_pylist(records, schema), file, compression="zstd")
    return file.getvalue()


class ShardStore:
    """One run directory with shards. One process at a time writes; any number may read."""

    def __init__(self, directory: Path) -> None:
        self._directory, self._folder = directory, directory / FOLDER
        self._run = json.loads((directory / RUN_FILE).read_text(encoding="utf-8"))
        self._open = ExitStack()
        self.turns = False
        """Whether this opening gave the directory another plan."""
        self.differs = False
        """Whether this opening gave it another config or input, so that shards that are done may be done again."""

    @classmethod
    def open(cls, directory: Path, config: RunConfig, provenance: Provenance, rows: int, *, extend: bool) -> Self:
        """Open ``directory`` for the run that ``config`` describes, new (with ``rows`` a shard) or begun.

        Raises `InputError` where it holds something else, a run of another config (unless ``extend``), or a run that
        is going on in another process.
        """
        directory.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            stack.callback(close_handle, lock_directory(directory))
            begun = (directory / RUN_FILE).exists()
            known = {".lock", f".{RUN_FILE}.part"}  # what a start that was killed leaves
            if not begun and any(path.name not in known for path in directory.iterdir()):
                raise InputError(
                    "the output directory is not empty and holds no run on a cluster",
                    where=str(directory),
                    fix="Name a new directory; a run that was begun without --on goes on without it.",
                )
            run: dict[str, Any] = {"rows_a_shard": rows, "config": {}}
            if begun:
                run = json.loads((directory / RUN_FILE).read_text(encoding="utf-8"))
            agree(run["config"], config.flat(), directory, extend=extend)
            turns = begun and RunConfig.of_flat(run["config"]).plan != config.plan
            if turns:
                keep_exports(directory)
                shutil.rmtree(directory / REPLACED, ignore_errors=True)
                (directory / REPLACED).mkdir()
            differs = begun and run["config"] != config.flat()
            run |= {"config": config.flat(), "provenance": provenance.model_dump()}
            replace_text(directory / RUN_FILE, json.dumps(run, indent=2, ensure_ascii=False) + "\n")
            (directory / FOLDER).mkdir(exist_ok=True)
            store = cls(directory)
            store._open, store.turns, store.differs = stack.pop_all(), turns, differs
        return store

    def close(self) -> None:
        """Let go of the directory."""
        self._open.close()

    @property
    def rows_a_shard(self) -> int:
        """How many rows of the input are a shard of this run."""
        return int(self._run["rows_a_shard"])

    def finished(self) -> dict[int, About]:
        """What is there already, by shard."""
        return {about.shard: about for about in map(self._about, self._files())}

    def answers(self, shard: int) -> bytes | None:
        """The engines' answers for a shard that is done, packed; None where none were kept."""
        path = self._answers_path(shard)
        return path.read_bytes() if path.exists() else None

    def put(self, data: bytes, answers: bytes | None = None, *, whole: bool) -> None:
        """Store a shard for good. One that is not ``whole`` holds rows to be put into the shard that is there.

        ``answers`` are all that its engines have said, now and before; they go first, so that a shard has its own.

        Raises `StoreError` where the directory can't be written.
        """
        table = pq.read_table(BytesIO(data))
        about = _about(table.schema.metadata)
        path = self._path(about.shard)
        if not whole:
            before = pq.read_table(path)
            records = {record["row"]: record for record in before.to_pylist() + table.to_pylist()}
            quarantined = sum(record["quarantined"] is not None for record in records.values())
            about = replace(
                about,
                rows=len(records) - quarantined,
                quarantined=quarantined,
                calls=about.calls + _about(before.schema.metadata).calls,
            )
            data = _packed(about, [records[row] for row in sorted(records)])
        self._keep(path, about)
        if answers is not None:
            (self._directory / ANSWERS).mkdir(exist_ok=True)
            _put(self._answers_path(about.shard), answers)
        _put(path, data)

    def _keep(self, path: Path, new: About) -> None:
        """Keep the shard that ``new`` replaces, where it is of another plan, for `replaced`."""
        kept = self._directory / REPLACED / path.name
        if kept.parent.is_dir() and path.exists() and not kept.exists() and self._about(path).plan != new.plan:
            second_name(path, kept)

    def replaced(self) -> Iterator[tuple[Row, Row | None]]:
        """Each result of before the last change of plan that has been replaced, with what is there now."""
        plan = RunConfig.of_flat(self.config()).plan
        for kept in sorted((self._directory / REPLACED).glob("*.parquet"), key=_number):
            path = self._folder / kept.name
            there = path.exists() and self._about(path).plan == plan
            now = {row.row: row for row in _results(path)} if there else {}
            for before in _results(kept):
                yield before, now.get(before.row)

    def trim(self, shards: int) -> None:
        """Forget the shards from number ``shards`` on: the input that they came from has become shorter."""
        for path in self._files():
            if (number := _number(path)) >= shards:
                self._answers_path(number).unlink(missing_ok=True)
                path.unlink()

    # What results are written from: `critic.run.run.Finished`.

    def row(self, row: int) -> Row | None:
        """The result at one position of the input; None where there is none."""
        path = self._path(row // self.rows_a_shard)
        if not path.exists():
            return None
        results = pq.read_table(path, columns=["result"], filters=[("row", "==", row)]).column("result").to_pylist()
        return Row.model_validate_json(results[0]) if results and results[0] is not None else None

    def rows(self) -> Iterator[Row]:
        """Every result under the plan that the directory was last opened with, in the order of the input."""
        return map(Row.model_validate_json, self._column("result"))

    def quarantined(self) -> Iterator[Quarantined]:
        """Every row without a result under that plan, in the order of the input."""
        return map(Quarantined.model_validate_json, self._column("quarantined"))

    def config(self) -> dict[str, Any]:
        """The config that the directory was last opened with."""
        config: dict[str, Any] = self._run["config"]
        return config

    def provenance(self) -> Provenance:
        """What every label of the run comes from."""
        return Provenance.model_validate(self._run["provenance"])

    def calls(self) -> int:
        """How many answers the rows that are there have taken."""
        return sum(self._about(path).calls for path in self._files())

    def _column(self, name: str) -> Iterator[str]:
        """What is in a column, without the shards of another plan: their labels are not of this `provenance`."""
        plan = RunConfig.of_flat(self.config()).plan
        for path in self._files():
            if self._about(path).plan == plan:
                column = pq.read_table(path, columns=[name]).column(name)
                yield from (text for text in column.to_pylist() if text is not None)

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("*.parquet"), key=_number)

    def _path(self, shard: int) -> Path:
        return self._folder / f"{shard:06}.parquet"

    def _answers_path(self, shard: int) -> Path:
        return self._directory / ANSWERS / f"{shard:06}.parquet"

    def _about(self, path: Path) -> About:
        try:
            return _about(pq.read_schema(path).metadata)
        except (pa.ArrowException, KeyError, ValueError, TypeError) as error:
            raise _no_shard(path, error) from None


def _results(path: Path) -> Iterator[Row]:
    texts = pq.read_table(path, columns=["result"]).column("result").to_pylist()
    return (Row.model_validate_json(text) for text in texts if text is not None)


def _number(path: Path) -> int:
    try:
        return int(path.stem)
    except ValueError as error:
        raise _no_shard(path, error) from None


def _no_shard(path: Path, error: Exception) -> InputError:
    return InputError(f"this is no shard of a run: {error}", where=str(path), fix="Delete it; its rows are run again.")


def _about(metadata: Mapping[bytes, bytes]) -> About:
    values = json.loads(metadata[_ABOUT])
    return About(**values | {"plan": sys.intern(values["plan"]), "retry": tuple(values["retry"])})  # one plan for all


def _put(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.part")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise StoreError(
            f"{path} can't be written: {error}\n  The shards that are there are safe. Make room, then run it again."
        ) from None
    finally:
        temporary.unlink(missing_ok=True)
