"""Settings that several commands have: each is a part that a command's model is put together from."""

from pathlib import Path
from typing import Annotated

from annotated_types import Le, MaxLen, MinLen
from pydantic import Field

from base.option import CommandOption, InRequests
from constitution.library import completed
from critic.messages import Record
from critic.settings.panels import INPUT, JUDGING, LIMITS, OUTPUT

COUNT_AT_MOST = 2**31 - 1  # of a request: what the database's integers hold
NAME_AT_MOST = 200  # characters


class Principled(Record):
    """What is judged, criticised and revised by."""

    principles: Annotated[str, CommandOption(INPUT, complete=completed)] = Field(
        description="A constitution: FILE, NAME@VERSION, or NAME for its newest version."
    )


class Helpful(Principled):
    """The same, where one is at hand for who names none."""

    principles: Annotated[str, CommandOption(INPUT, complete=completed)] = Field(
        default="helpfulness@1.0.0", description=Principled.model_fields["principles"].description
    )


class OnePrinciple(Record):
    """By which of a constitution's principles a judge is measured."""

    principle: Annotated[str | None, CommandOption(JUDGING), InRequests(MinLen(1), MaxLen(NAME_AT_MOST))] = Field(
        default=None, description="The id of the principle to judge by. Default: its first."
    )


class Columns(Record):
    """Under which names an input has what is read."""

    column: Annotated[str | None, CommandOption(INPUT, metavar="NAME=COLUMN,...")] = Field(
        default=None,
        description="Which columns of the input hold what, as in prompt=question,chosen=win; id= leaves the ids out. "
        "Names that differ only in case need no mapping.",
    )


class FirstRows(Record):
    """How much of an input is read."""

    limit: Annotated[int | None, CommandOption(LIMITS), InRequests(Le(COUNT_AT_MOST))] = Field(
        default=None, ge=1, description="Use only the first N rows."
    )


class OneJudge(Record):
    """Who judges, where that is one."""

    judge: Annotated[str, CommandOption(JUDGING)] = Field(
        default="embedded", description="The engine that judges: embedded, hf:PATH_OR_ID ..."
    )


class JurySettings(Record):
    """Who judges, where that may be several."""

    judge: Annotated[tuple[str, ...], CommandOption(JUDGING)] = Field(
        default=("embedded",),
        min_length=1,
        description="The engine that critiques, revises and judges: embedded, hf:PATH_OR_ID ... Several are a jury; "
        "the first that can write critiques and revises.",
    )
    mode: Annotated[tuple[str, ...], CommandOption(JUDGING)] = Field(
        default=(),
        description="The judge mode, as in logprob or cot?samples=4; one for all judges, or one for each. Default: by "
        "engine.",
    )


class SeveralModes(Record):
    """In which modes a judge is measured."""

    mode: Annotated[tuple[str, ...], CommandOption(JUDGING)] = Field(
        default=(), description="A judge mode; repeatable. Default: the judge's."
    )


class RunFolder(Record):
    """Where a run is kept."""

    out: Annotated[Path, CommandOption(OUTPUT)] = Field(
        description="The run's directory. Run the same command again to continue."
    )


class MeasurementFolder(Record):
    """Where a measurement's answers are kept."""

    out: Annotated[Path | None, CommandOption(OUTPUT)] = Field(
        default=None, description="A directory for all answers. Run the same command again to continue there."
    )


class Extended(Record):
    """What becomes of a directory whose run is another."""

    extend: Annotated[bool, CommandOption(OUTPUT)] = Field(
        default=False, description="Continue in a directory whose run had another configuration."
    )
