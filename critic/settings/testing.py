"""What `cai constitution test` is asked for: stored votes to read, changes to try, limits to hold."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from base.option import CommandOption
from constitution.library import completed
from critic.messages import Record
from critic.settings.panels import INPUT, LIMITS, OUTPUT


class _Tested(Record):
    ref: Annotated[str, CommandOption(metavar="FILE|NAME@VERSION", is_argument=True, complete=completed)] = Field(
        description="The constitution to test."
    )
    run: Annotated[Path, CommandOption(INPUT)] = Field(description="The run whose stored votes are read.")
    again: Annotated[tuple[Path, ...], CommandOption(INPUT, metavar="DIR")] = Field(
        default=(),
        description="A run that judged the same pairs again, or with another judge; shows which clauses are ambiguous; "
        "repeatable.",
    )
    weight: Annotated[tuple[str, ...], CommandOption(INPUT, metavar="ID=W")] = Field(
        default=(), description="What if a principle had this weight? Repeatable; all weights apply together."
    )
    against: Annotated[tuple[str, ...], CommandOption(INPUT, metavar="FILE|NAME@VERSION")] = Field(
        default=(), description="What if this version were in force? Repeatable."
    )


class _Limits(Record):
    max_duplicates: Annotated[int | None, CommandOption(LIMITS, metavar="N")] = Field(
        default=None, ge=0, description="How many pairs of principles may say the same."
    )
    max_contradictions: Annotated[int | None, CommandOption(LIMITS, metavar="N")] = Field(
        default=None, ge=0, description="How many pairs of principles may contradict each other."
    )
    max_ambiguous: Annotated[int | None, CommandOption(LIMITS, metavar="N")] = Field(
        default=None, ge=0, description="How many clauses may be ambiguous."
    )
    max_silent: Annotated[float | None, CommandOption(LIMITS, metavar="SHARE")] = Field(
        default=None, ge=0, le=1, description="The largest allowed share of comparisons in which no principle speaks."
    )
    max_flips: Annotated[float | None, CommandOption(LIMITS, metavar="SHARE")] = Field(
        default=None,
        ge=0,
        le=1,
        description="The largest allowed share of the run's judgements that this constitution flips.",
    )
    out: Annotated[Path | None, CommandOption(OUTPUT)] = Field(
        default=None, description="A directory for test.json and test.html."
    )


class ConstitutionTestSettings(_Limits, _Tested):
    """What `cai constitution test` is asked for."""
