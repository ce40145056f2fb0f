"""Backup and restore, between the databases, and what a broken backup does: nothing."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, inspect, select, text

from base.errors import InputError
from service.settings import Settings
from service.store import tables
from service.store.backup import backup, restore
from tests.service.calls import comparison, running


async def filled(settings: Settings) -> dict[str, list[dict[str, object]]]:
    """Make a service with rows of most tables; return all of them by table."""
    async with running(settings) as api:
        ada = await api.annotator("Ada", "nurses")
        labels = [comparison(f"Name river {n}.", annotator=ada, constitution="honesty") for n in range(3)]
        given = (await api.admin.post("/v1/feedback", json=labels)).json()["ids"]
        await api.admin.post(f"/v1/feedback/{given[1]}/retract", json={"reason": "Zu schnell gelesen: é"})
        yaml = Path("examples/short.yaml").read_bytes()
        await api.admin.post("/v1/constitutions", content=yaml, headers={"Content-Type": "application/yaml"})
        row = {"id": "j", "seq": 1, "kind": "judge", "request": {}, "state": "running", "progress": {}, "epoch": 1}
        row |= {"created_at": tables.now(), "cancel": False, "attempt": 1}
        row = {name: value for name, value in row.items() if name in tables.jobs.c}
        await api.service.database.insert({tables.jobs: [row]})
        return await rows(api.service.database)


async def rows(database: object) -> dict[str, list[dict[str, object]]]:
    by_table = {}
    async with database.read() as connection:  # type: ignore[attr-defined]
        for table in tables.metadata.sorted_tables:
            query = select(table).order_by(*table.primary_key.columns)
            by_table[table.name] = [dict(row) for row in (await connection.execute(query)).mappings()]
    return {name: there for name, there in by_table.items() if there}


@pytest.mark.parametrize("to", ["sqlite", "postgresql"])
async def test_all_rows_come_back_in_either_kind_of_database(
    to: str, settings: Settings, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    before = await filled(settings)
    counts = backup(settings.url, tmp_path / "all.gz")
    assert counts == {name: len(there) for name, there in before.items()}
    assert (tmp_path / "all.gz").stat().st_mode & 0o077 == 0
    if to == "sqlite":
        url = f"sqlite:///{tmp_path / 'new.db'}"
    else:
        server = request.getfixturevalue("postgres")
        url = server.url(server.create())
    assert restore(url, tmp_path / "all.gz") == counts
    async with running(settings.model_copy(update={"database": url, "data": tmp_path / "new"})) as api:
        after = await rows(api.service.database)
        [job] = after["jobs"]
        assert job["state"] == "failed" and "retry" in str(job["error"])
        after["jobs"] = before["jobs"]
        after["keys"] = [key for key in after["keys"] if key in before["keys"]]  # the new client's is one more
        del after["clock"], before["clock"]  # it goes on
        assert after == before
        stored = await api.admin.post("/v1/feedback", json=comparison("One more."))  # numbers go on after the last
        assert stored.status_code == 201, stored.text


async def test_a_backup_that_was_cut_or_changed_restores_nothing(settings: Settings, tmp_path: Path) -> None:
    await filled(settings)
    file = tmp_path / "all.gz"
    backup(settings.url, file)
    lines = gzip.decompress(file.read_bytes()).splitlines(keepends=True)
    broken = {
        "cut": file.read_bytes()[:-40],
        "end gone": gzip.compress(b"".join(lines[:-1])),
        "row gone": gzip.compress(b"".join(lines[:5] + lines[6:])),
        "none": b"",
        "other": gzip.compress(b"{}\n"),
    }
    for name, content in broken.items():
        (tmp_path / f"{name}.gz").write_bytes(content)
        url = f"sqlite:///{tmp_path / f'{name}.db'}"
        with pytest.raises(InputError, match=r"cut short|no backup"):
            restore(url, tmp_path / f"{name}.gz")
    with pytest.raises(InputError, match="exists already"):
        backup(settings.url, file)
    with pytest.raises(InputError, match="in use already"):
        restore(settings.url, file)
    with pytest.raises(InputError, match="holds no service"):
        backup(f"sqlite:///{tmp_path / 'empty.db'}", tmp_path / "empty.gz")
    assert not (tmp_path / "empty.gz").exists()


Lines = list[dict[str, Any]]


def _first(lines: Lines, table: str) -> int:
    return next(n for n, line in enumerate(lines) if line.get("table") == table)


def _with(table: str, **values: Any) -> Callable[[Lines], None]:
    """Change columns of the table's first row."""

    def change(lines: Lines) -> None:
        lines[_first(lines, table)]["row"] |= values

    return change


def _without_table(table: str) -> Callable[[Lines], None]:
    """Take all rows of a table away, and count anew."""

    def change(lines: Lines) -> None:
        lines[:] = [line for line in lines if line.get("table") != table]
        lines[-1] = {"end": len(lines) - 2}

    return change


def _twice(lines: Lines) -> None:
    lines.insert(2, lines[1])
    lines[-1]["end"] += 1


BREAKS: dict[str, Callable[[Lines], object]] = {
    "an unknown table": lambda lines: lines[1].update(table="sqlite_master"),
    "no row": lambda lines: lines[1].pop("row"),
    "a row that is a list": lambda lines: lines[1].update(row=[]),
    "a column less": lambda lines: lines[_first(lines, "annotators")]["row"].pop("id"),
    "a column more": _with("annotators", boss=1),
    "a text for a number": _with("annotators", created_at="now"),
    "a number for a text": _with("annotators", name=7),
    "a number that no column holds": _with("annotators", created_at=2**70),
    "truth for a number": _with("annotators", created_at=True),
    "half a surrogate pair": _with("annotators", name="\ud800"),
    "null where something must be": _with("annotators", id=None),
    "no base64": _with("constitutions", yaml="???"),
    "the same row twice": _twice,
    "a row that refers to nothing": _without_table("items"),
    "a revision that nobody made": lambda lines: lines[0].update(revision="9999"),
    "a revision that is no text": lambda lines: lines[0].update(revision=[1]),
    "another version": lambda lines: lines[0].update(version=99),
    "a wrong count": lambda lines: lines[-1].update(end=3),
    "tables in pieces": lambda lines: lines.append(lines.pop(1)),
}


async def test_no_broken_backup_ends_in_a_traceback_or_leaves_the_target_in_use(
    settings: Settings, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    await filled(settings)
    file = tmp_path / "all.gz"
    counts = backup(settings.url, file)
    good = [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]
    url = f"sqlite:///{tmp_path / 'new.db'}"
    if settings.url.startswith("postgres"):
        server = request.getfixturevalue("postgres")
        url = server.url(server.create())
    broken = {}
    for name, change in BREAKS.items():
        lines: Lines = json.loads(json.dumps(good))
        change(lines)
        broken[name] = gzip.compress("".join(json.dumps(line) + "\n" for line in lines).encode())
    head = json.dumps(good[0]).encode()
    broken |= {"a list": gzip.compress(b"[1]\n"), "null": gzip.compress(head + b"\nnull\n")}
    broken |= {"deep": gzip.compress(head + b"\n" + b"[" * 100_000)}
    packed = bytearray(file.read_bytes())
    packed[len(packed) // 2] ^= 0xFF
    broken["a flipped byte"] = bytes(packed)
    packed = bytearray(file.read_bytes())
    packed[-8] ^= 1  # every line can be read: only the checksum, the last eight bytes' first half, tells
    broken["a wrong checksum"] = bytes(packed)
    for name, content in broken.items():
        (tmp_path / "broken.gz").write_bytes(content)
        with pytest.raises(InputError) as error:
            restore(url, tmp_path / "broken.gz")
            pytest.fail(f"{name} was restored")
        assert "broken.gz" in error.value.where, name
    assert restore(url, file) == counts  # after all of these the target is still empty


async def test_a_column_that_was_empty_is_empty_again(settings: Settings, tmp_path: Path) -> None:
    """Not JSON's null, which is a value: ``IS NULL`` finds the one and not the other."""
    await filled(settings)
    backup(settings.url, tmp_path / "all.gz")
    url = f"sqlite:///{tmp_path / 'new.db'}"
    restore(url, tmp_path / "all.gz")
    engine = create_engine(url)
    with engine.connect() as connection:
        for table in ("feedback", "jobs"):
            columns = [column["name"] for column in inspect(connection).get_columns(table) if column["nullable"]]
            for name in columns:
                query = text(f"SELECT count(*) FROM {table} WHERE CAST(\"{name}\" AS TEXT) = 'null'")
                assert connection.execute(query).scalar_one() == 0, (table, name)
        assert connection.execute(text("SELECT count(*) FROM feedback WHERE shown IS NULL")).scalar_one() == 3
    engine.dispose()
    assert (tmp_path / "new.db").stat().st_mode & 0o077 == 0
