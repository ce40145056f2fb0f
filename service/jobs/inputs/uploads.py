"""Uploaded files: who has which, how much that is, and that it goes away again.

A file is named by its content, so several keys may have uploaded the same one: it counts for each of them, lies there
once, and goes with the last. Jobs give what they read a name of their own, so a file that is deleted is still there for
those that were submitted before.
"""

import asyncio
import io
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any, Literal

from pydantic import BaseModel
from sqlalchemy import delete, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.jobs.inputs.artifacts import UPLOADS, Artifacts
from service.keys.auth import Caller, audited
from service.refusals import NoRoom, TooLarge, not_found
from service.settings import Settings
from service.store.database import Database
from service.store.repeats.idempotency import Once
from service.store.tables import now, uploads

# What commands read by a file's name (`critic.files.sources`): texts also packed.
# fmt: off
Ending = Literal[
    "jsonl", "ndjson", "json", "csv", "tsv", "txt", "parquet", "xlsx",
    "jsonl.gz", "ndjson.gz", "json.gz", "csv.gz", "tsv.gz", "txt.gz",
    "jsonl.zst", "ndjson.zst", "json.zst", "csv.zst", "tsv.zst", "txt.zst",
]
# fmt: on

TURN = 0x63616975  # of PostgreSQL's advisory locks
_FIX = "Delete some: GET /v1/uploads lists them, DELETE /v1/uploads/ID deletes one."


class Upload(BaseModel):
    """A file that jobs can name by its ``id``."""

    id: str
    format: Ending
    bytes: int


class Uploads:
    """All uploads of one service."""

    def __init__(self, settings: Settings, database: Database, artifacts: Artifacts) -> None:
        self._settings, self._database, self._artifacts = settings, database, artifacts

    async def store(self, content: bytes, format: Ending, caller: Caller, once: Once) -> Upload:
        """Store a file for the caller. Raises `TooLarge` and 507 where there is no room; then nothing is left."""
        made = Upload(id=sha256(content).hexdigest(), format=format, bytes=len(content))
        async with self._database.read() as connection:
            self._must_fit(made, await self._used(connection, caller, made))
        try:
            await asyncio.to_thread(self._artifacts.write, io.BytesIO(content), UPLOADS, _name(made))
            async with self._turn() as connection:
                await self._keep(connection, made, content, caller, once)
        except BaseException:  # also where the client is gone: what was taken is given back, and it goes on up
            await asyncio.shield(self._tidy(made))
            raise
        return made

    async def listed(self, caller: Caller, after: tuple[str, str], limit: int) -> list[Upload]:
        """Those of the caller, or for an administrator of all, by id and format."""
        key = uploads.c.key == caller.key
        query = select(uploads.c.id, uploads.c.format, uploads.c.bytes).distinct()
        query = query.where(*([] if caller.may("admin") else [key]))
        place = (uploads.c.id > after[0]) | ((uploads.c.id == after[0]) & (uploads.c.format > after[1]))
        query = query.where(place).order_by(uploads.c.id, uploads.c.format).limit(limit)
        async with self._database.read() as connection:
            return [Upload.model_validate(dict(row)) for row in (await connection.execute(query)).mappings()]

    async def used(self, caller: Caller) -> tuple[int, int]:
        """The bytes of the caller's uploads, and of all."""
        async with self._database.read() as connection:
            return await self._sum(connection, caller), await asyncio.to_thread(self._artifacts.size, UPLOADS)

    async def delete(self, id: str, caller: Caller) -> None:
        """Delete the caller's uploads of this id; for an administrator everybody's. Raises `NotFound`."""
        mine = [uploads.c.id == id, *([] if caller.may("admin") else [uploads.c.key == caller.key])]
        async with self._turn() as connection:
            formats = set((await connection.execute(select(uploads.c.format).where(*mine))).scalars())
            if caller.may("admin"):  # also what an earlier version stored, which had no rows
                formats |= await asyncio.to_thread(self._formats, id)
            if not formats:
                raise not_found("upload", id, "GET /v1/uploads lists them.")
            await connection.execute(delete(uploads).where(*mine))
            await self._insert(connection, audited(caller, "upload.deleted", id))
            for format in formats:
                await self._remove_unless_kept(connection, id, format)

    async def _keep(
        self, connection: AsyncConnection, made: Upload, content: bytes, caller: Caller, once: Once
    ) -> None:
        self._must_fit(made, await self._used(connection, caller, made, there=True))
        there = self._artifacts.root / UPLOADS / _name(made)
        if not there.is_file():  # somebody else's, which was deleted in between
            await asyncio.to_thread(self._artifacts.write, io.BytesIO(content), UPLOADS, _name(made))
        row = {**made.model_dump(), "key": caller.key, "at": now()}
        mine = [uploads.c[name] == row[name] for name in ("id", "format", "key")]
        await connection.execute(delete(uploads).where(*mine))
        audit = audited(caller, "upload.stored", made.id, bytes=made.bytes)
        await self._insert(connection, {uploads: [row], **audit, **once.rows(made)})

    async def _used(
        self, connection: AsyncConnection, caller: Caller, made: Upload, there: bool = False
    ) -> tuple[int, int]:
        """What there is beside ``made``: of the caller, and in all, where ``made`` may be ``there`` already."""
        mine = (uploads.c.id == made.id) & (uploads.c.format == made.format)
        own = await self._sum(connection, caller, ~mine)
        listed = await asyncio.to_thread(self._artifacts.listing, UPLOADS)
        return own, sum(artifact.bytes for artifact in listed if artifact.name != _name(made))

    async def _sum(self, connection: AsyncConnection, caller: Caller, *conditions: Any) -> int:
        query = select(func.coalesce(func.sum(uploads.c.bytes), 0)).where(uploads.c.key == caller.key, *conditions)
        return int((await connection.execute(query)).scalar_one())

    def _must_fit(self, made: Upload, used: tuple[int, int]) -> None:
        own, all = used
        for refused, whose, before, name in (
            (TooLarge, "your uploads have", own, "upload_bytes_per_key"),
            (NoRoom, "all uploads have", all, "upload_bytes"),
        ):
            limit: int = getattr(self._settings, name)
            if before + made.bytes > limit:
                detail = f"{whose} {before:,} bytes, and this has {made.bytes:,}; the limit is {limit:,} ({name})"
                raise refused(detail, _FIX, slug="quota")

    async def _tidy(self, made: Upload) -> None:
        """Leave no file behind that nobody was told of."""
        async with self._turn() as connection:
            await self._remove_unless_kept(connection, made.id, made.format)

    async def _remove_unless_kept(self, connection: AsyncConnection, id: str, format: str) -> None:
        kept = select(uploads.c.key).where(uploads.c.id == id, uploads.c.format == format).limit(1)
        if (await connection.execute(kept)).first() is None:
            await asyncio.to_thread(self._artifacts.remove_file, UPLOADS, f"{id}.{format}")

    def _formats(self, id: str) -> set[str]:
        named = (artifact.name.partition(".") for artifact in self._artifacts.listing(UPLOADS))
        return {format for name, _, format in named if name == id}

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that no other upload is stored or deleted in."""
        async with self._database.transaction() as connection:
            if not self._database.is_sqlite:
                await connection.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": TURN})
            yield connection

    async def _insert(self, connection: AsyncConnection, rows: Mapping[Any, Sequence[Any]]) -> None:
        for table, entries in rows.items():
            await connection.execute(table.insert(), entries)


def _name(upload: Upload) -> str:
    return f"{upload.id}.{upload.format}"
