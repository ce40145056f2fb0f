"""What all tables have in common: their metadata, and the types of their columns."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, Dialect, Integer, MetaData, String
from sqlalchemy.types import TypeDecorator

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# Of the times that there are in UTC, the first and the last, to the second. Versions before stored later ones.
_FIRST = round(datetime.min.replace(tzinfo=UTC).timestamp()) * 1_000_000
_LAST = round(datetime.max.replace(tzinfo=UTC, microsecond=0).timestamp()) * 1_000_000


class Moment(TypeDecorator[datetime]):
    """A time in UTC, stored as microseconds since 1970: SQLite has no times."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """To the database."""
        return None if value is None else round(value.timestamp() * 1_000_000)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """From the database."""
        return None if value is None else datetime.fromtimestamp(min(max(value, _FIRST), _LAST) / 1_000_000, UTC)


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


# A 64-bit row number: SQLite counts up by itself only in a column of the type INTEGER, which there has 64 bits.
Number = BigInteger().with_variant(Integer, "sqlite")
Id = String(64)  # hex: a content's SHA-256, or a random name
Name = String(200)
