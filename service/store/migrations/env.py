"""Alembic's way in: run the migrations on the connection that `service.store.migrations` opened."""

from typing import Any, Literal

from alembic import context

from service.store.tables import Moment, metadata


def rendered(type: str, item: Any, _: Any) -> str | Literal[False]:
    """How a migration writes our own type: as what the database has, so that old migrations need no code of ours."""
    return "sa.BigInteger()" if type == "type" and isinstance(item, Moment) else False


connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    render_item=rendered,
    render_as_batch=connection.dialect.name == "sqlite",  # SQLite changes a table by copying it
    transactional_ddl=True,  # of SQLite Alembic believes the opposite, which holds for Python's driver as it is
)
with context.begin_transaction():
    context.run_migrations()
