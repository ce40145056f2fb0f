"""The key that a new service prints once: without it nobody could make the others."""

from collections.abc import Callable

from sqlalchemy import func, select

from service.keys import administrators, key_store
from service.keys.auth import NewKey, new_key
from service.settings import Settings
from service.store import migrations
from service.store.database import Database
from service.store.disk.synced import make_folder
from service.store.tables import keys


async def first_key(settings: Settings) -> str | None:
    """Make an administrator's key where there is no key at all, and return its text when it can be used; else None."""
    made = await _made(settings)
    return None if made is None else made.text


async def _made(settings: Settings) -> NewKey | None:
    make_folder(settings.data.absolute())
    await migrations.upgrade(settings.url)
    async with Database(settings.url) as database, database.transaction() as connection:
        await administrators.in_turn(connection)  # servers that start together make one
        if (await connection.execute(select(func.count()).select_from(keys))).scalar_one():
            return None
        made = new_key("first key", ["admin"])
        await connection.execute(keys.insert(), made.row)
    return made


async def tell_first_key(settings: Settings, tell: Callable[[str], object]) -> None:
    """Make the first key where it is missing, and ``tell`` its text.

    Where telling fails (standard output is a full disk, or closed), the key is taken back: the next start makes and
    tells another. Raises what ``tell`` raised. A start that is killed between the two leaves a key that nobody knows:
    ``cai keys make`` is the way in.
    """
    made = await _made(settings)
    if made is None:
        return
    try:
        tell(made.text)
    except BaseException:
        await key_store.take_back(settings.url, made.id)
        raise
