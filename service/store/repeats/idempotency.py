"""The same request twice has one effect: `Idempotency-Key` on every POST that creates.

What was answered is stored in the transaction of what was created. So a client that got no answer (a dead connection, a
server killed in between) sends the request again, and gets either the first answer or the first effect. One that comes
while the first is worked on waits for it: see `service.store.repeats.under_way`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_jsonable_python
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from service.refusals import Invalid
from service.store.database import Database, Rows
from service.store.tables import idempotency, now

MAX_NAME = 255


class Replay(Exception):
    """The request was answered before: with ``body``, under the HTTP status ``status``."""

    def __init__(self, body: Any, status: int) -> None:
        super().__init__("answered before")
        self.body, self.status = body, status


@dataclass(frozen=True, slots=True)
class Once:
    """One request that has an effect. ``name`` is what the client calls it, or None; ``request`` is its hash."""

    database: Database
    key: str
    name: str | None
    request: str

    async def replay(self) -> None:
        """Raise `Replay` where it was answered before, and `Refusal` where its name stood for something else."""
        if self.name is None:
            return
        where = (idempotency.c.key == self.key) & (idempotency.c.name == self.name)
        async with self.database.read() as connection:
            row = (await connection.execute(select(idempotency).where(where))).mappings().one_or_none()
        if row is None:
            return
        if row["request"] != self.request:
            raise Invalid(
                f"the Idempotency-Key {self.name!r} was used with another request before",
                "Use a new key for each new request, and the same only to repeat one.",
                slug="idempotency_mismatch",
            )
        raise Replay(row["body"], row["status"])

    def rows(self, answer: Any, status: int = 201) -> dict[Any, Sequence[Mapping[str, Any]]]:
        """The row to store in the transaction of the effect itself."""
        if self.name is None:
            return {}
        body = to_jsonable_python(answer)
        row = {"key": self.key, "name": self.name, "request": self.request, "status": status, "body": body, "at": now()}
        return {idempotency: [row]}

    async def insert(self, rows: Rows, answer: Any, status: int = 201) -> None:
        """Insert ``rows``, with the answer that is about to be given.

        Raises `Replay` where the same request, sent at the same time, was quicker.
        """
        try:
            await self.database.insert({**rows, **self.rows(answer, status)})
        except IntegrityError:
            await self.replay()
            raise
