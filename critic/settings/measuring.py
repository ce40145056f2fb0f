"""What measurements of judges are asked for: `cai certify`, `cai evaluate judge` and `cai evaluate injection`."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from base.option import Option
from critic.messages import Record
from critic.settings.panels import INPUT, JUDGING, LIMITS, OUTPUT
from critic.settings.shared import (
    Columns,
    Extended,
    FirstRows,
    Helpful,
    MeasurementFolder,
    OneJudge,
    OnePrinciple,
    SeveralModes,
)


class _Compared(Record):
    pairs: Annotated[str, Option(INPUT)] = Field(
        description="Rows with prompt, chosen (the better answer by people) and rejected."
    )


class _Reports(Record):
    fit: Annotated[Path | None, Option(OUTPUT)] = Field(
        default=None, description="Fit a linear contrast on the rows, and write it here: contrast?weights=FILE."
    )
    report: Annotated[Path | None, Option(OUTPUT)] = Field(
        default=None,
        description="Write a page here (.html): the first mode beside people, with their own agreement as its ceiling.",
    )


class MeasureJudgeSettings(
    Columns, Extended, _Reports, MeasurementFolder, FirstRows, OnePrinciple, Helpful, SeveralModes, OneJudge, _Compared
):
    """What `cai evaluate judge` is asked for."""


class _Planted(Record):
    limit: Annotated[int | None, Option(LIMITS)] = Field(
        default=None, ge=1, description="Plant only N texts, taken evenly from the suite."
    )


class InjectionSettings(Extended, MeasurementFolder, _Planted, OnePrinciple, Helpful, SeveralModes, OneJudge):
    """What `cai evaluate injection` is asked for."""


class _Certified(Record):
    pairs: Annotated[str, Option(INPUT)] = Field(
        description="Comparisons by people: feedback, or rows with chosen and rejected."
    )
    out: Annotated[Path, Option(OUTPUT)] = Field(
        description="A folder for certificate.json, report.html and the answers."
    )
    mode: Annotated[str | None, Option(JUDGING)] = Field(
        default=None, description="The judge mode. Default: the judge's."
    )
    run: Annotated[Path | None, Option(OUTPUT)] = Field(
        default=None,
        description="A run's folder that this judge labelled: the certificate is put there, and its manifest names it.",
    )


class CertifySettings(Columns, Extended, FirstRows, Helpful, OneJudge, _Certified):
    """What `cai certify` is asked for."""
