"""What measurements of people's labels are asked for; no model is asked."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from base.option import CommandOption
from critic.messages import Record
from critic.settings.labels.few_labels import PoolGroups
from critic.settings.panels import INPUT, JUDGING, OUTPUT
from critic.settings.shared import Columns, FirstRows


class _Labels(Record):
    file: Annotated[str, CommandOption(metavar="FILE", is_argument=True)] = Field(
        description="Labels by people: feedback, or pairs with an annotator in each row."
    )
    kind: Annotated[str | None, CommandOption(INPUT)] = Field(
        default=None, description="comparison, rating, ranking or thumbs. Default: the most frequent."
    )
    gold: Annotated[str | None, CommandOption(INPUT)] = Field(
        default=None, description="A file of labels that are known to be right, on some of the items."
    )
    report: Annotated[Path | None, CommandOption(OUTPUT)] = Field(
        default=None, description="Write a page with charts to this file (.html)."
    )


class AgreementSettings(Columns, PoolGroups, _Labels):
    """What `cai evaluate agreement` is asked for."""


class _Groups(Record):
    labels: Annotated[str, CommandOption(metavar="LABELS", is_argument=True)] = Field(
        description="Feedback with a group and an annotator; only comparisons are read."
    )
    by: Annotated[tuple[str, ...], CommandOption(JUDGING)] = Field(
        default=(),
        description="Only this way of deciding: mean, majority, borda, maximin, nash, proportional, soft; repeatable.",
    )


class GroupsSettings(Columns, FirstRows, _Groups):
    """What `cai evaluate groups` is asked for."""


class _LabelledPairs(Record):
    pairs: Annotated[str, CommandOption(metavar="PAIRS", is_argument=True)] = Field(
        description="Rows with prompt, chosen (the better answer) and rejected."
    )
    run: Annotated[Path | None, CommandOption(INPUT)] = Field(
        default=None,
        description="A run that judged these pairs: its principles are candidates, too, with its stored votes.",
    )


class RecoverSettings(Columns, FirstRows, _LabelledPairs):
    """What `cai constitution recover` is asked for."""
