"""The option that says under which names an input has what is read: one for every command with an input."""

from typing import Annotated

from critic.settings.run import GenerateSettings
from service.cli.given.expand import option

Column = Annotated[str | None, option(GenerateSettings, "column")]
