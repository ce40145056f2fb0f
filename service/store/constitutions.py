"""Constitutions: those that come with the package, and those published here.

The database is the truth. Each process mirrors it in a folder of its own, in the form that `constitution.load` reads:
so includes, checksums and all messages are the package's. A version never changes, so what was loaded is kept. What
NAME alone means is asked again after `FRESH_SECONDS`.
"""

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Self, TypeVar

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from constitution import Constitution, InputError, load
from constitution.faults import FaultyFile
from constitution.library import CHECKSUMS, checksum, checksums, is_reference, published, shipped
from constitution.versions import publish
from service.refusals import Conflict
from service.store.database import Database, Rows
from service.store.disk.scratch import scratch, temporary
from service.store.tables import constitutions, now

FRESH_SECONDS = 2.0  # how long a version that another server published may not be the newest here
MAX_ID = 100  # characters: labels name constitution, principle and group
FILE = "constitution.yaml"  # what messages call a text that was sent

_PARTS = shutil.ignore_patterns(".*.part")  # files that are being written

T = TypeVar("T")


class Constitutions:
    """All published versions, for one event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._folder = Path()
        self._stack = ExitStack()
        self._versions: dict[str, list[str]] = {}
        self._mirrored: set[tuple[str, str]] = set()
        self._loaded: dict[str, Constitution] = {}
        self._fresh_until = 0.0
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        self._folder = self._stack.enter_context(scratch(temporary()))
        shutil.copytree(shipped(), self._root, ignore=shutil.ignore_patterns("__*"))
        await self.refresh()
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self._stack.close)

    @property
    def _root(self) -> Path:
        return self._folder / "published"

    async def get(self, ref: str) -> Constitution:
        """The constitution ``NAME@VERSION``, or the newest of ``NAME``. Raises `InputError` where there is none."""
        if ("@" in ref or time.monotonic() < self._fresh_until) and (loaded := self._loaded.get(self._pinned(ref))):
            return loaded
        if not is_reference(ref):
            raise InputError(
                f"{ref[:100]!r} names no constitution", where="constitution", fix="expected NAME or NAME@VERSION"
            )
        await self.refresh()
        pinned = self._pinned(ref)
        if pinned not in self._loaded:
            self._loaded[pinned] = await asyncio.to_thread(self._load, pinned)
        return self._loaded[pinned]

    async def refs(self) -> list[str]:
        """Every published ``NAME@VERSION``: names in alphabetical order, versions from the oldest."""
        await self.refresh()
        return [f"{name}@{version}" for name, versions in self._versions.items() for version in versions]

    def file(self, constitution: Constitution) -> Path:
        """The file as it was published; it lies beside what it includes, so that it can be loaded by its path."""
        return self._root / constitution.name / f"{constitution.version}.yaml"

    async def check(self, content: bytes) -> Constitution:
        """Load a file's text as it would be published. Raises `InputError` with line and key of every fault."""
        await self.refresh()
        return await asyncio.to_thread(self.checked, content)

    def checked(self, content: bytes, look: Callable[[], None] = lambda: None) -> Constitution:
        """As `check`, in a thread, and of what was `refresh`-ed before; ``look`` may end it by raising."""
        constitution = self._with_file(content, lambda file: load(file, root=self._root, look=look))
        ids = [constitution.name]
        ids += [principle.id for principle in constitution.principles]
        ids += [principle.group.id for principle in constitution.principles if principle.group]
        if long := [id for id in ids if len(id) > MAX_ID]:
            raise InputError(f"{long[0][:40]!r}... is longer than {MAX_ID} characters", where=FILE, fix="shorten it")
        return constitution

    async def publish(self, constitution: Constitution, content: bytes, also: Rows) -> bool:
        """Store a text that was checked, and the rows ``also``; False where the same bytes are published already.

        Raises `Conflict` where the version is published with other content, or is older than the newest.
        """
        await self.refresh()
        if await asyncio.to_thread(self._is_published, constitution, content):
            return False
        row = {
            "name": constitution.name,
            "version": constitution.version,
            "digest": constitution.digest,
            "yaml": content,
            "created_at": now(),
        }
        try:
            await self._database.insert({constitutions: [row], **also})
        except IntegrityError:  # another server was quicker with this version, or with this very request
            await self.refresh(at_once=True)
            if not await asyncio.to_thread(self._is_published, constitution, content):
                raise
            return False
        await self.refresh(at_once=True)
        return True

    async def refresh(self, at_once: bool = False) -> None:
        """Mirror what was published since; where the mirror is fresh, only if it must be done ``at_once``."""
        async with self._turn:
            if time.monotonic() < self._fresh_until and not at_once:
                return
            async with self._database.read() as connection:
                listed = await connection.execute(select(constitutions.c.name, constitutions.c.version))
                known = {(name, version) for name, version in listed}
                new = {key: await _content(connection, *key) for key in known - self._mirrored}
            if new or not self._versions:
                self._versions = await asyncio.to_thread(self._mirror, new)
            self._mirrored |= known
            self._fresh_until = time.monotonic() + FRESH_SECONDS

    def _mirror(self, new: dict[tuple[str, str], bytes]) -> dict[str, list[str]]:
        listed = checksums(self._root)
        for (name, version), content in new.items():
            _write(self._root / name / f"{version}.yaml", content)
            listed[f"{name}/{version}.yaml"] = checksum(content)
        lines = "".join(f"{sha256}  {name}\n" for name, sha256 in listed.items())
        _write(self._root / CHECKSUMS, lines.encode())
        return published(self._root)

    def _pinned(self, ref: str) -> str:
        return f"{ref}@{self._versions[ref][-1]}" if ref in self._versions else ref

    def _load(self, pinned: str) -> Constitution:
        try:
            with _hidden(self._root):
                constitution = load(pinned, root=self._root)
        except InputError as error:
            raise InputError(error.problem, where=error.where or "constitution", fix=error.fix) from None
        # Computed here, once, and not on the event loop.
        _ = constitution.digest, [principle.digest for principle in constitution.principles]
        return constitution

    def _is_published(self, constitution: Constitution, content: bytes) -> bool:
        """Whether these very bytes are there. Raises `Conflict` where publishing them would break a rule."""
        there = self.file(constitution)
        if there.is_file() and there.read_bytes() == content:
            return True

        def attempt(file: Path) -> None:
            copy = file.parent / "published"  # the database decides: nothing may stand in the mirror before
            shutil.copytree(self._root, copy, ignore=_PARTS)
            publish(file, into=copy)

        try:
            self._with_file(content, attempt)
        except InputError as error:
            raise Conflict(error.problem, error.fix) from None
        return False

    def _with_file(self, content: bytes, use: Callable[[Path], T]) -> T:
        with tempfile.TemporaryDirectory(dir=self._folder) as scratch, _hidden(self._root, Path(scratch)):
            file = Path(scratch) / FILE
            file.write_bytes(content)
            return use(file)


@contextmanager
def _hidden(*folders: Path) -> Iterator[None]:
    """Take folders of this machine out of what an `InputError` says."""

    def without(text: str) -> str:
        for folder in folders:
            text = text.replace(f"{folder}{os.sep}", "")
        return text

    try:
        yield
    except FaultyFile as error:
        faults = [replace(fault, problem=without(fault.problem)) for fault in error.faults]
        file = Path(without(str(error.file)))
        raise FaultyFile(file, faults, unnamed=error.unnamed, fix=without(error.fix)) from None
    except InputError as error:
        raise InputError(without(error.problem), where=without(error.where), fix=without(error.fix)) from None


async def _content(connection: AsyncConnection, name: str, version: str) -> bytes:
    where = (constitutions.c.name == name) & (constitutions.c.version == version)
    content: bytes = (await connection.execute(select(constitutions.c.yaml).where(where))).scalar_one()
    return content


def _write(target: Path, content: bytes) -> None:
    """Write all or nothing: files are read while others are published."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    part.write_bytes(content)
    os.replace(part, target)
