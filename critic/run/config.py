"""What a run is: everything that its results depend on. Saved with the run, compared when it is started again."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field

from base.digest import digest
from base.errors import InputError
from critic.engine import Identity
from critic.records import Record
from critic.run.differences import differences, raises_limit_only
from critic.settings.run import RunSettings as RunSettings


class Seat(Record):
    """One juror: the judge, and its mode with all options."""

    judge: Identity
    mode: dict[str, Any]


class RunConfig(Record):
    """A run's settings with what they were applied to. ``input_hash`` is None where the input has no bytes to hash.

    ``policy`` is None for ``cai judge``, whose responses are given, and so is ``critic``, who would revise them.
    """

    kind: Literal["generate", "judge"]
    settings: RunSettings
    constitution: str
    constitution_hash: str
    templates: dict[str, str]
    policy: Identity | None
    critic: Identity | None
    jury: tuple[Seat, ...]
    input: str
    input_hash: str | None
    limit: int | None = Field(default=None, ge=0)
    max_chars: int = Field(ge=1)
    truncate: bool = False
    columns: str | None = None

    @cached_property
    def plan(self) -> str:
        """Hash of what a row's result depends on, besides the row itself: not of the input."""
        of_input = {"input", "input_hash", "limit", "max_chars", "truncate", "columns"}
        return digest(self.model_dump(mode="json", exclude=of_input))

    def flat(self) -> dict[str, Any]:
        """As one flat dictionary, so that a difference can be named."""
        values = self.model_dump(mode="json")
        return {**values.pop("settings"), **values}

    @classmethod
    def of_flat(cls, flat: Mapping[str, Any]) -> Self:
        """Return the config whose `flat` this is, without other keys. Raises `ValidationError` if one is missing."""
        settings = {key: flat[key] for key in RunSettings.model_fields if key in flat}
        own = {key: flat[key] for key in cls.model_fields if key in flat}
        return cls.model_validate({**own, "settings": settings})


def agree(before: Mapping[str, Any], config: Mapping[str, Any], directory: Path, *, extend: bool) -> None:
    """Refuse to go on in ``directory`` with another config than its own, unless to ``extend``; name what differs.

    More rows of the same input are the same run.
    """
    changed = differences(before, config) if before else []
    another_kind = before.get("kind") != config.get("kind")
    if changed and (another_kind or not extend) and not raises_limit_only(before, config):
        raise InputError(
            "the directory holds a run of another config\n  " + "\n  ".join(changed),
            where=str(directory),
            fix="Name a new directory" + ("." if another_kind else ", or pass --extend to go on with the new config."),
        )
