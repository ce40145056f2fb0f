"""What a task is for: work, practice before it, or gold among it.

Practice has a right answer that is explained, and whoever has too few right may not begin. Gold has one, too, and looks
like work: whoever answers it can't tell. Its answers are labels like any others; those who run the project see how many
were right. How often gold comes, and when, is fixed for each annotator by a hash, so that asking twice changes nothing.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from base.digest import unit_interval
from critic.feedback import Label
from critic.records import Response

Role = Literal["work", "gold", "practice"]
WORK, GOLD, PRACTICE = "work", "gold", "practice"
ENDED = ("break_minutes", "gold_every")  # by null


class PageSettings(BaseModel):
    """How a project's pages are.

    ``blur`` hides texts until an annotator asks for them. ``break_minutes`` reminds of a break after so long without
    one. ``pass_share`` of all practice tasks have to be right before work begins. Of ``gold_every`` tasks one is gold.
    """

    model_config = ConfigDict(extra="forbid")

    blur: Annotated[bool, Field(strict=True)] = False
    break_minutes: Annotated[int, Field(ge=1, le=600, strict=True)] | None = 45
    pass_share: Annotated[float, Field(ge=0, le=1, strict=True)] = 0.0
    gold_every: Annotated[int, Field(ge=2, le=1000, strict=True)] | None = None


class PageChange(BaseModel):
    """What changes of them; what is left out stays. ``break_minutes`` and ``gold_every`` end with null."""

    model_config = ConfigDict(extra="forbid")

    blur: Annotated[bool, Field(strict=True)] | None = None
    break_minutes: Annotated[int, Field(ge=1, le=600, strict=True)] | None = None
    pass_share: Annotated[float, Field(ge=0, le=1, strict=True)] | None = None
    gold_every: Annotated[int, Field(ge=2, le=1000, strict=True)] | None = None

    def changed(self, stored: Mapping[str, Any]) -> dict[str, Any]:
        """What is to be stored in the place of ``stored``."""
        said = self.model_dump(include=self.model_fields_set)
        return dict(stored) | {name: value for name, value in said.items() if name in ENDED or value is not None}


def settings_of(stored: Mapping[str, Any]) -> PageSettings:
    """How a project's pages are, by what is stored of them."""
    return PageSettings.model_validate(stored)


def is_golds_turn(project: str, annotator: str, done: int, every: int | None) -> bool:
    """Whether the task after ``done`` others is gold: one of each ``every``, at a place of the annotator's own."""
    if every is None:
        return False
    block, place = divmod(done, every)
    return place == int(unit_interval("gold", project, annotator, block) * every)


def is_right(given: Label, expected: Label, responses: Sequence[Response]) -> bool:
    """Whether a label says what was expected of the same ``responses``, as agreement counts it.

    A ranking is right where it orders as expected all that is ranked there. Kinds in words have no one right answer:
    whatever was written will do, and the expected text is an example.
    """
    if not given.agreement:
        return True
    if given.pairwise:
        pairs = list(combinations(range(len(responses)), 2))
        known = [pair for pair in pairs if expected.relation(*pair) is not None]
        return all(given.relation(*pair) == expected.relation(*pair) for pair in known)
    return given.unit(responses) == expected.unit(responses)
