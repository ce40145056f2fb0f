"""What is asked of one prompt: `cai critique` and `cai compare`."""

from typing import Annotated

from pydantic import Field

from base.option import CommandOption
from critic.messages import Record
from critic.settings.judging import Banded, Drawn, Seeded
from critic.settings.panels import INPUT, JUDGING, SAMPLING
from critic.settings.shared import OneJudge, Principled


class _Prompt(Principled):
    prompt: Annotated[str, CommandOption(INPUT)] = Field(
        description="The user's message; - reads it from standard input."
    )


class _Response(Record):
    response: Annotated[str | None, CommandOption(INPUT)] = Field(
        default=None, description="The response to work on. Default: the judge writes one."
    )


class _Rounds(Record):
    rounds: Annotated[int, CommandOption(SAMPLING)] = Field(
        default=1, ge=1, description="Rounds of critique and revision."
    )
    principle: Annotated[str | None, CommandOption(INPUT)] = Field(
        default=None, description="The id of the principle. Default: one is drawn for each round."
    )
    max_tokens: Annotated[int, CommandOption(SAMPLING)] = Field(
        default=256, ge=1, description="Longest answer, in tokens."
    )
    temperature: Annotated[float, CommandOption(SAMPLING)] = Field(
        default=0.0, ge=0, description="Sampling temperature; 0 is greedy."
    )


class CritiqueSettings(Seeded, _Rounds, OneJudge, _Response, _Prompt):
    """What `cai critique` is asked for."""


class _Responses(Record):
    response: Annotated[tuple[str, ...], CommandOption(INPUT)] = Field(
        description="A response to compare; repeat it for each."
    )


class _Mode(Record):
    mode: Annotated[str | None, CommandOption(JUDGING)] = Field(
        default=None, description="The judge mode, with options as in cot?samples=4. Default: by engine."
    )


class CompareSettings(Seeded, Banded, Drawn, _Mode, OneJudge, _Responses, _Prompt):
    """What `cai compare` is asked for."""
