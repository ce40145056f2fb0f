"""The migrations lead to the tables that the code uses, in one step or many, with rows in them, on both databases."""

import asyncio

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from service.store import migrations
from service.store.database import database_url as parsed
from service.store.tables import metadata


async def test_the_migrations_lead_to_the_tables_of_the_code(database_url: str) -> None:
    await migrations.upgrade(database_url)
    with migrations.connected(parsed(database_url)) as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, metadata) == []


async def test_servers_that_start_together_take_turns(database_url: str) -> None:
    await asyncio.gather(*(migrations.upgrade(database_url) for _ in range(4)))
    with migrations.connected(parsed(database_url)) as connection:
        assert set(inspect(connection).get_table_names()) >= set(metadata.tables)


async def test_every_step_keeps_the_rows_of_the_one_before(database_url: str) -> None:
    """The first version's row goes through all steps that came since."""
    with migrations.connected(parsed(database_url)) as connection:
        steps = list(ScriptDirectory.from_config(migrations.config(connection)).walk_revisions())[::-1]
    await migrations.upgrade(database_url, steps[0].revision)
    with migrations.connected(parsed(database_url)) as connection:
        connection.execute(
            text(
                "INSERT INTO annotators (id, name, \"group\", attributes, created_at) VALUES ('1', 'Ada', 'x', '{}', 5)"
            )
        )
        connection.commit()
    for step in steps[1:]:
        await migrations.upgrade(database_url, step.revision)
    await migrations.upgrade(database_url)
    with migrations.connected(parsed(database_url)) as connection:
        found = connection.execute(text('SELECT id, name, "group", created_at FROM annotators')).one()
        assert tuple(found) == ("1", "Ada", "x", 5)
