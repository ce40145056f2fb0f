"""Options of the command line alone, which no file of settings and no request has; the rest is in `critic.settings`."""

from typing import Annotated

import typer

from critic.settings.panels import INPUT as INPUT
from critic.settings.panels import LIMITS as LIMITS
from critic.settings.panels import OUTPUT as OUTPUT
from critic.settings.panels import SERVER as SERVER

DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Only count calls and tokens; ask no engine.", rich_help_panel=LIMITS)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.", rich_help_panel=OUTPUT)]
