"""Options of commands that write a table in the format of another tool: each setting is `Tabled`'s."""

from typing import Annotated

from critic.settings.exporting import Tabled
from service.cli.given.expand import option

Options = Annotated[str, option(Tabled, "options")]
TableName = Annotated[str | None, option(Tabled, "table")]
