"""The key that a new service prints once: without it nobody could make the others."""

from sqlalchemy import func, select

from service import migrations
from service.auth import new_key
from service.database import Database
from service.settings import Settings
from service.tables import keys


async def first_key(settings: Settings) -> str | None:
    """Make an administrator's key where there is no key at all, and return its text; else None."""
    settings.data.mkdir(parents=True, exist_ok=True)
    await migrations.upgrade(settings.url)
    async with Database(settings.url) as database, database.transaction() as connection:
        if (await connection.execute(select(func.count()).select_from(keys))).scalar_one():
            return None
        made = new_key("first key", ["admin"])
        await connection.execute(keys.insert(), made.row)
        return made.text
