"""What measurements from few human and many AI labels are asked for; no model is asked."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from base.option import CommandOption
from critic.messages import Record
from critic.settings.panels import INPUT, LIMITS, OUTPUT, SAMPLING
from critic.settings.shared import Columns


class _Gathered(Record):
    files: Annotated[tuple[str, ...], CommandOption(metavar="FILE|DIR...", is_argument=True)] = Field(
        min_length=1,
        description="Comparisons by people and by judges: files of feedback or pairs, and runs' folders; one or more.",
    )


class _Models(Record):
    model: Annotated[tuple[str, ...], CommandOption(INPUT)] = Field(
        default=(),
        description="A model whose win rate is estimated; repeatable. Default: every model that was compared.",
    )


class PoolGroups(Record):
    """Whether labels of several groups of people are brought together."""

    pool_groups: Annotated[bool, CommandOption(INPUT)] = Field(
        default=False,
        description="Pool the labels of all groups of people, which otherwise stay apart.",
    )


class _Drawn(Record):
    drawn: Annotated[tuple[Path, ...], CommandOption(INPUT, metavar="FILE")] = Field(
        default=(),
        description="routing.jsonl of `cai evaluate routing`, if people labelled what it drew: its probabilities "
        "count. Repeatable, for items that were drawn in several rounds.",
    )
    report: Annotated[Path | None, CommandOption(OUTPUT)] = Field(
        default=None, description="Write a page with charts to this file (.html)."
    )


class PoweredSettings(Columns, _Drawn, PoolGroups, _Models, _Gathered):
    """What `cai evaluate powered` is asked for."""


class _Width(Record):
    width: Annotated[float, CommandOption(LIMITS, metavar="WIDTH")] = Field(
        gt=0,
        lt=1,
        description="The width of a 95 % interval from its lower to its upper limit: 0.1 is 5 points to either side.",
    )


class PlanSettings(Columns, PoolGroups, _Models, _Width, _Gathered):
    """What `cai evaluate plan` is asked for."""


class _Draw(Record):
    budget: Annotated[int, CommandOption(LIMITS, metavar="N")] = Field(
        ge=1, description="How many more items people can label."
    )
    out: Annotated[Path, CommandOption(OUTPUT)] = Field(
        description="A folder for routing.jsonl (each item with its probability) and to-label.jsonl (those for people)."
    )
    seed: Annotated[int, CommandOption(SAMPLING)] = Field(default=0, ge=0, description="Seeds the draw.")


class RoutingSettings(Columns, _Draw, _Gathered):
    """What `cai evaluate routing` is asked for."""
