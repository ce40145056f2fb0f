"""The settings of a service as a command was told them, and whether its database is there."""

from pathlib import Path
from typing import Any

from service.cli.shown.voice import say
from service.settings import Settings
from service.store.there import check_answers, check_there


def read_settings(file: Path | None, **said: Any) -> Settings:
    """Return the service's settings, and tell which of the file's give way to what was ``said``."""
    settings, replaced = Settings.read_told(file, **said)
    for name in replaced:
        say(f"--{name} goes before {name} of {file}", err=True)
    return settings


def read_reachable(file: Path | None, **said: Any) -> Settings:
    """Return the same where the database is to be made or filled. Raises `InputError` where nobody answers for it."""
    settings = read_settings(file, **said)
    check_answers(settings)
    return settings


def read_existing(file: Path | None, **said: Any) -> Settings:
    """Return the same for a service that is there. Raises `InputError` where its database isn't: nothing is made."""
    settings = read_settings(file, **said)
    check_there(settings)
    return settings
