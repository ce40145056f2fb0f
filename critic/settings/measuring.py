"""What measurements of judges and policies are asked for: `cai certify`, and `cai evaluate` with engines."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from base.option import CommandOption
from critic.messages import Record
from critic.settings.judging import Seeded
from critic.settings.panels import INPUT, JUDGING, LIMITS, OUTPUT, SAMPLING
from critic.settings.shared import (
    Columns,
    Extended,
    FirstRows,
    Helpful,
    JurySettings,
    MeasurementFolder,
    OneJudge,
    OnePrinciple,
    RunFolder,
    SeveralModes,
)


class _Compared(Record):
    pairs: Annotated[str, CommandOption(INPUT)] = Field(
        description="Rows with prompt, chosen (the answer that people prefer) and rejected."
    )


class _Reports(Record):
    fit: Annotated[Path | None, CommandOption(OUTPUT)] = Field(
        default=None,
        description="Fit a linear contrast on the rows, and write it to this file, for contrast?weights=FILE.",
    )
    report: Annotated[Path | None, CommandOption(OUTPUT)] = Field(
        default=None,
        description="Write a page to this file (.html): the first mode beside people, and their own agreement.",
    )


class MeasureJudgeSettings(
    Columns, Extended, _Reports, MeasurementFolder, FirstRows, OnePrinciple, Helpful, SeveralModes, OneJudge, _Compared
):
    """What `cai evaluate judge` is asked for."""


class _Planted(Record):
    limit: Annotated[int | None, CommandOption(LIMITS)] = Field(
        default=None, ge=1, description="Plant only N texts, taken evenly from the suite."
    )


class InjectionSettings(Extended, MeasurementFolder, _Planted, OnePrinciple, Helpful, SeveralModes, OneJudge):
    """What `cai evaluate injection` is asked for."""


class _CertifiedRun(Record):
    pairs: Annotated[str, CommandOption(INPUT)] = Field(
        description="Comparisons by people: feedback, or rows with chosen and rejected."
    )
    out: Annotated[Path, CommandOption(OUTPUT)] = Field(
        description="A folder for certificate.json, report.html and the answers."
    )
    mode: Annotated[str | None, CommandOption(JUDGING)] = Field(
        default=None, description="The judge mode. Default: the judge's."
    )
    run: Annotated[Path | None, CommandOption(OUTPUT)] = Field(
        default=None,
        description="A run's folder that this judge labelled: the certificate is put there, and its manifest names it.",
    )


class CertifySettings(Columns, Extended, FirstRows, Helpful, OneJudge, _CertifiedRun):
    """What `cai certify` is asked for."""


class _Choices(Record):
    file: Annotated[str, CommandOption(metavar="FILE", is_argument=True)] = Field(
        description="Rows of prompt, corrects and incorrects."
    )
    format: Annotated[Literal["plain", "paper"], CommandOption(JUDGING)] = Field(
        default="plain", description="plain: this project's question; paper: the Constitutional AI paper's."
    )
    principles: Annotated[tuple[Path, ...], CommandOption(INPUT)] = Field(
        default=(), description="With paper: its comparison instructions (JSON), and its few-shots."
    )
    floor: Annotated[float, CommandOption(JUDGING)] = Field(
        default=0.1,
        ge=0,
        le=1,
        description="A pair is unreadable where all letters together have less probability than this.",
    )


class ChoicesSettings(Columns, MeasurementFolder, FirstRows, _Choices, OneJudge):
    """What `cai evaluate choices` is asked for."""


class _Policies(Record):
    policies: Annotated[tuple[str, ...], CommandOption(metavar="BASE TRAINED...", is_argument=True)] = Field(
        description="Engines, the base first: embedded, hf:PATH_OR_ID ..."
    )
    prompts: Annotated[str, CommandOption(INPUT)] = Field(description="Held-out prompts, on which nothing was trained.")
    red_team: Annotated[str | None, CommandOption(INPUT)] = Field(
        default=None, description="Prompts that ask for harm."
    )
    safe: Annotated[str | None, CommandOption(INPUT)] = Field(
        default=None, description="Harmless prompts that look harmful."
    )
    choices: Annotated[Path | None, CommandOption(INPUT, metavar="DIR")] = Field(
        default=None, description="Multiple-choice questions in MMLU's form: CSV files, or folders dev and val or test."
    )
    shots: Annotated[int, CommandOption(INPUT)] = Field(
        default=0, ge=0, le=5, description="Number of examples (shots) before each question."
    )
    choices_limit: Annotated[int | None, CommandOption(LIMITS)] = Field(
        default=None, ge=1, description="Use only N questions, taken evenly from the subjects."
    )


class _MeasuredBy(Record):
    harmless: Annotated[str, CommandOption(JUDGING)] = Field(
        default="harmlessness@1.1.0", description="The constitution for red-team prompts."
    )
    reward: Annotated[str | None, CommandOption(JUDGING)] = Field(
        default=None, description="The reward model that the policy was trained with: rm:PATH_OR_ID."
    )
    people: Annotated[str | None, CommandOption(INPUT)] = Field(
        default=None,
        description="What people prefer among these answers: rows with prompt, chosen and rejected.",
    )
    learnt_from: Annotated[tuple[Path, ...], CommandOption(INPUT, metavar="DIR")] = Field(
        default=(),
        description="A run whose pairs were trained on: its policy and judges are checked for leaks; repeatable.",
    )
    samples: Annotated[int, CommandOption(SAMPLING)] = Field(
        default=1, ge=1, description="Number of answers per prompt."
    )
    max_tokens: Annotated[int, CommandOption(SAMPLING)] = Field(
        default=256, ge=1, description="Longest answer, in tokens."
    )
    temperature: Annotated[float, CommandOption(SAMPLING)] = Field(
        default=1.0, ge=0, description="Sampling temperature of the answers."
    )


class PolicySettings(Columns, Seeded, FirstRows, _MeasuredBy, Helpful, JurySettings, RunFolder, _Policies):
    """What `cai evaluate policy` is asked for."""
