"""What `cai reweigh` is asked for."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from base.option import CommandOption, unset
from constitution.library import completed
from critic.messages import Record
from critic.settings.judging import Pooling
from critic.settings.panels import INPUT, JUDGING, OUTPUT
from critic.settings.run import Exported

if TYPE_CHECKING:  # a checker of types has no use for what is unset
    PoolingOfTheRun = Pooling
else:
    PoolingOfTheRun = unset(Pooling, "Default: as in the run.")


class _Reweighed(Record):
    directory: Annotated[Path, CommandOption(metavar="DIR", is_argument=True)] = Field(
        description="The --out directory of a run; it is only read."
    )
    out: Annotated[Path, CommandOption(OUTPUT)] = Field(description="A new directory for the results.")
    principles: Annotated[str | None, CommandOption(INPUT, complete=completed)] = Field(
        default=None,
        description="Another constitution: FILE, NAME@VERSION or NAME. Default: the run's own.",
    )
    only: Annotated[tuple[str, ...], CommandOption(JUDGING, metavar="ID")] = Field(
        default=(), description="Count only this principle; repeatable."
    )
    weight: Annotated[tuple[str, ...], CommandOption(JUDGING, metavar="ID=W")] = Field(
        default=(), description="Give a principle another weight; repeatable."
    )


class _Mended(Record):
    ignore_priorities: Annotated[bool, CommandOption(JUDGING)] = Field(
        default=False, description="Pool all principles as if they had one priority."
    )
    certificate: Annotated[Path | None, CommandOption(JUDGING, metavar="FILE")] = Field(
        default=None, description="Calibrate probabilities with the map in this certificate of the run's judge."
    )


class ReweighSettings(Exported, _Mended, PoolingOfTheRun, _Reweighed):
    """What `cai reweigh` is asked for; what is None of its pooling stays as the run had it."""
