"""Kills a process at its n-th write to SQLite's files or at its n-th sync, for every n, and starts again after each.

``python -m tests.service.killed FOLDER`` prints what was killed, how often, and how many next starts failed. Each
attempt is a fork of this process, which has loaded everything and runs no thread. SQLite's own writes are caught by the
system calls that its unix VFS lets a program replace; ours by `os.fsync`. A state at a sync is a state before the next
write, so killing at both leaves nothing out.
"""

import _sqlite3  # the module's file is linked to SQLite's library
import asyncio
import ctypes
import io
import os
import shutil
import signal
import sqlite3
import sys
import traceback
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from service.bounds.lanes import Lane
from service.context import Service
from service.exports.datasets import DatasetRequest, make
from service.jobs.inputs.artifacts import Artifacts
from service.keys.first_key import first_key
from service.labels.snapshot import Snapshots
from service.settings import Settings
from service.store import migrations
from service.store.backup import backup, restore
from service.store.database import Database

Act = Callable[[Path], object]


class _Vfs(ctypes.Structure):
    _fields_ = [
        ("version", ctypes.c_int),
        ("os_file", ctypes.c_int),
        ("max_pathname", ctypes.c_int),
        ("next", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("data", ctypes.c_void_p),
        *((f"method {number}", ctypes.c_void_p) for number in range(13)),  # xOpen to xCurrentTimeInt64
        ("set_system_call", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)),
        ("get_system_call", ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)),
    ]


_long, _size = ctypes.c_ssize_t, ctypes.c_size_t
CALLS = {
    b"pwrite64": ctypes.CFUNCTYPE(_long, ctypes.c_int, ctypes.c_void_p, _size, ctypes.c_int64),
    b"pwrite": ctypes.CFUNCTYPE(_long, ctypes.c_int, ctypes.c_void_p, _size, ctypes.c_int64),
    b"ftruncate": ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_int64),
    b"unlink": ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_char_p),
}
_kept: list[object] = []  # what SQLite calls must not be collected


def kill_at(number: int) -> Callable[[], int]:
    """Kill this process at the ``number``-th write or sync from now on; return what counts them.

    Writes to one file that follow each other count once: SQLite syncs before it goes on to another.
    """
    count, before = 0, (b"", -1)

    def counted(name: bytes, target: object = -1) -> None:
        nonlocal count, before
        here, before = before, (name, target if isinstance(target, int) else -1)
        if here == before and name != b"fsync":
            return
        count += 1
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)

    library = ctypes.CDLL(_sqlite3.__file__)
    library.sqlite3_vfs_find.restype = ctypes.POINTER(_Vfs)
    vfs = library.sqlite3_vfs_find(None)
    for name, prototype in CALLS.items():
        address = vfs.contents.get_system_call(vfs, name)
        if address:
            replaced = prototype(_before(partial(counted, name), prototype(address)))
            _kept.append(replaced)
            vfs.contents.set_system_call(vfs, name, ctypes.cast(replaced, ctypes.c_void_p))
    sync = os.fsync

    def synced(handle: Any) -> None:
        counted(b"fsync")
        sync(handle)

    os.fsync = synced  # type: ignore[assignment]
    return lambda: count


def _before(first: Callable[[object], None], then: Any) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        first(arguments[0])
        return then(*arguments)

    return call


def attempt(act: Act, folder: Path, number: int) -> int:
    """Do ``act`` in a fork that is killed at its ``number``-th write; return 0 where it came to its end before."""
    child = os.fork()
    if child == 0:
        try:
            if number > 0:
                kill_at(number)
            act(folder)
            os._exit(0)
        except BaseException:  # whatever it was, the parent sees it by the exit code
            traceback.print_exc()
            os._exit(1)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def every_kill(prepared: Path, act: Act, again: Act) -> tuple[int, int]:
    """Kill ``act`` at each write in a copy of ``prepared``, then do ``again``; return (kills, failures)."""
    number = failures = 0
    while True:
        number += 1
        folder = prepared.with_name("attempt")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(prepared, folder)
        code = attempt(act, folder, number)
        if code == 0:
            return number - 1, failures
        failed = code != -signal.SIGKILL or attempt(again, folder, -1) != 0
        failures += failed


def _settings(folder: Path) -> Settings:
    return Settings(data=folder, worker=False)


def _migrate(folder: Path) -> None:
    asyncio.run(migrations.upgrade(_settings(folder).url))


def _start(folder: Path) -> None:
    """A start as `cai serve` begins: the tables, and a key where there is none."""
    asyncio.run(first_key(_settings(folder)))
    _whole(folder)
    with sqlite3.connect(folder / "cai.db") as connection:
        assert connection.execute("SELECT count(*) FROM keys").fetchone() == (1,)


def _upgraded(folder: Path) -> None:
    _migrate(folder)
    _whole(folder)
    with sqlite3.connect(folder / "cai.db") as connection:
        assert connection.execute("SELECT count(*) FROM annotators").fetchone() == (50,)


def _whole(folder: Path) -> None:
    with sqlite3.connect(folder / "cai.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def _first_version(folder: Path) -> None:
    """A database as the first version left it, with rows."""
    asyncio.run(migrations.upgrade(_settings(folder).url, "0001"))
    with sqlite3.connect(folder / "cai.db") as connection:
        for number in range(50):
            values = (f"{number}", f"P{number}", "{}", number)
            connection.execute("INSERT INTO annotators (id, name, attributes, created_at) VALUES (?, ?, ?, ?)", values)
        connection.execute(
            "INSERT INTO jobs VALUES (1,'j','judge','{}',NULL,'done',1,0,NULL,'{}',NULL,NULL,NULL,NULL,1,NULL,NULL)"
        )


def _upload(folder: Path) -> None:
    Artifacts(folder / "artifacts").write(io.BytesIO(b"x" * 3_000_000), "uploads", "one.jsonl")


def _uploaded(folder: Path) -> None:
    """What is listed is whole, and can be stored again."""
    artifacts = Artifacts(folder / "artifacts")
    assert [one.bytes for one in artifacts.listing("uploads")] in ([], [3_000_000])
    _upload(folder)
    assert [one.bytes for one in artifacts.listing("uploads")] == [3_000_000]


def _labelled(folder: Path) -> None:
    """A service with labels."""
    from service.store.constitutions import Constitutions
    from service.store.tables import feedback, items

    async def fill() -> None:
        from service.keys.auth import Caller
        from service.labels.labels import Labels, Origin, rows

        await migrations.upgrade(_settings(folder).url)
        async with Database(_settings(folder).url) as database, Constitutions(database) as constitutions:
            labels, caller = Labels(database, constitutions, Settings().texts), Caller("k", "k", frozenset({"admin"}))
            asked = {"kind": "comparison", "responses": ["The Po.", "Paris."], "label": "first"}
            given = [await labels.read(asked | {"prompt": f"Name river {n}."}, caller) for n in range(20)]
            _, by_table = rows(given, Origin())
            assert set(by_table) == {items, feedback}
            await database.insert(by_table)

    asyncio.run(fill())


def _build(folder: Path) -> None:
    async def build() -> None:
        async with Database(_settings(folder).url) as database:
            service: Any = Service.__new__(Service)
            service.settings, service.database = _settings(folder), database
            with closing(Snapshots(database.url)) as service.snapshots:
                async with Lane("data sets", 1, 0, 60) as service.builds:
                    await make(service, None, DatasetRequest(name="rivers", aggregation="each"), lambda _: {})

    asyncio.run(build())


def _built(folder: Path) -> None:
    """Each version that the database names is there, whole; and the next one can be made."""
    _build(folder)
    with sqlite3.connect(folder / "cai.db") as connection:
        versions = connection.execute("SELECT version, counts FROM datasets").fetchall()
    assert versions
    for version, _ in versions:
        place = folder / "datasets" / "rivers" / str(version)
        assert (place / "manifest.json").is_file()
        assert len((place / "pairs.jsonl").read_text("utf-8").splitlines()) == 20


def _backed_up(folder: Path) -> None:
    _labelled(folder)
    backup(_settings(folder).url, folder / "all.gz")
    for name in ("cai.db", "cai.db-wal", "cai.db-shm"):
        (folder / name).unlink(missing_ok=True)


def _restore(folder: Path) -> None:
    restore(_settings(folder).url, folder / "all.gz")


def _restored(folder: Path) -> None:
    """The target is either empty, and can be restored into, or it has all rows."""
    with sqlite3.connect(folder / "cai.db") as connection:
        there = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'keys'").fetchone() == (1,)
    if not there:
        _restore(folder)
    _whole(folder)
    with sqlite3.connect(folder / "cai.db") as connection:
        assert connection.execute("SELECT count(*) FROM feedback").fetchone() == (20,)


WHAT: dict[str, tuple[Act, Act, Act]] = {
    "first start": (lambda folder: None, lambda folder: asyncio.run(first_key(_settings(folder))) and None, _start),
    "migration": (_first_version, _migrate, _upgraded),
    "upload": (lambda folder: None, _upload, _uploaded),
    "data set": (_labelled, _build, _built),
    "restore": (_backed_up, _restore, _restored),
}


if __name__ == "__main__":
    for what, (prepare, act, again) in WHAT.items():
        before = Path(sys.argv[1]) / what / "prepared"
        before.mkdir(parents=True)
        if attempt(prepare, before, -1) != 0:
            sys.exit(f"{what} could not be prepared")
        print(what, *every_kill(before, act, again), sep=",", flush=True)
