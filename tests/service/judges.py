"""Engines for tests of the service: scripts, rules, and a constitution whose principles are easy to count."""

from pathlib import Path
from typing import Any

import yaml

from service.settings import EngineSettings, Settings
from tests.factories import small_constitution


def scripted(folder: Path, name: str, mode: str | None = "logprob", **script: Any) -> EngineSettings:
    """An engine that follows ``script``."""
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(script))
    return EngineSettings(spec=f"scripted:{file}", mode=mode)


def judged_by(database_url: str, folder: Path, **engines: EngineSettings) -> Settings:
    """A service's settings with these engines."""
    return Settings(database=database_url, data=folder / "data", worker=False, engines=engines)


def constitution(name: str = "small", version: str = "1.0.0", principles: int = 2, **more: Any) -> dict[str, Any]:
    """A constitution's file as plain data."""
    return small_constitution(principles) | {"name": name, "version": version} | more


def in_groups(name: str, *groups: str) -> dict[str, Any]:
    """A constitution with one principle of each group."""
    made = constitution(name, principles=len(groups))
    for principle, group in zip(made["principles"], groups, strict=True):
        principle["group"] = {"id": group}
    return made
