"""Write a new migration: see `service.store.migrations`."""

import sys
import tempfile
from pathlib import Path

from alembic import command

from service.store.database import database_url
from service.store.migrations import config, connected

VERSIONS = Path(__file__).parent / "versions"

with (
    tempfile.TemporaryDirectory() as folder,
    connected(database_url(f"sqlite:///{Path(folder) / 'new.db'}")) as connection,
):
    command.upgrade(config(connection), "head")
    connection.commit()
    number = 1 + len(list(VERSIONS.glob("*.py")))
    command.revision(config(connection), sys.argv[1], autogenerate=True, rev_id=f"{number:04}")
