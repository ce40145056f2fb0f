"""``reward.json``: what the numbers of a reward model's folder mean, and how an engine tells it to whoever asks.

The trainer writes it beside the weights; a folder without it, as other trainers leave them, has one head.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from base.errors import InputError

FILE = "reward.json"
UNGROUPED = "reward"
"""The head for principles of no group, and the only one of a folder without a manifest."""

_CAPABILITY = "rewards"
_PREFIX = "heads: "


class Manifest(BaseModel):
    """The content of ``reward.json``.

    ``heads`` names the rows of the model's ``score`` layer, in order: ids of groups whose preferences are learnt apart,
    or ``reward`` for what has no group (so no group can have that id here). An unknown key is an error.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    heads: tuple[Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")], ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        if len(set(self.heads)) < len(self.heads):
            raise ValueError(f"two heads have one name: {', '.join(self.heads)}")
        return self

    def write(self, folder: Path) -> None:
        """Write ``reward.json`` into a model's folder."""
        (folder / FILE).write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read_manifest(folder: Path, labels: int) -> Manifest:
    """Return the manifest of a model whose configuration has ``labels`` labels.

    Raises `InputError` where the file is not what is written here, or counts other heads than the model has.
    """
    file = folder / FILE
    try:
        manifest = Manifest.model_validate_json(file.read_bytes()) if file.exists() else Manifest(heads=(UNGROUPED,))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise InputError(
            f"{place}: {first['msg']}" if place else first["msg"],
            where=str(file),
            fix=f'expected, for example: {{"format": 1, "heads": ["{UNGROUPED}"]}}',
        ) from error
    if len(manifest.heads) != labels:
        named = f"{FILE} names the heads {', '.join(manifest.heads)}" if file.exists() else f"there is no {FILE}"
        raise InputError(
            f"the model has {labels} labels (num_labels in config.json), and {named}",
            where=str(folder),
            fix=f"a reward model has one label a head named in {FILE}, or one label and no such file",
        )
    return manifest


def head_of(group: str | None) -> str:
    """Return the name of the head that judges under the principles of ``group``."""
    return UNGROUPED if group is None else group


def capability(heads: tuple[str, ...]) -> dict[str, str]:
    """Return the entry of `critic.engine.Engine.capabilities` that names a reward model's heads."""
    return {_CAPABILITY: _PREFIX + ", ".join(heads)}


def heads_of(capabilities: Mapping[str, str]) -> tuple[str, ...]:
    """Return the heads that an engine's ``capabilities`` name, in the order of its scores; none where it gives none."""
    said = capabilities.get(_CAPABILITY, "")
    return tuple(said.removeprefix(_PREFIX).split(", ")) if said else ()
