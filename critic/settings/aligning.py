"""What `cai align` is asked for, beside the settings of its stages."""

from typing import Annotated, Literal

from annotated_types import Ge, Le
from pydantic import Field

from base.option import CommandOption, InRequests
from critic.messages import Record
from critic.settings.panels import INPUT, LIMITS, SAMPLING
from critic.settings.shared import COUNT_AT_MOST, Columns, JurySettings, Principled, RunFolder

AlignMethod = Literal["dpo", "ppo"]
STAGES = ("generate", "sft", "reward", "dpo", "ppo", "evaluate")


class ChainSettings(Record):
    """What a chain is asked for on a command line and in a request alike."""

    method: Annotated[AlignMethod, CommandOption(SAMPLING)] = Field(
        default="dpo", description="How the policy learns from preferences."
    )
    held_out: Annotated[float, CommandOption(INPUT)] = Field(
        default=0.25, gt=0, lt=1, description="The share of prompts kept for the report."
    )
    limit: Annotated[int | None, CommandOption(LIMITS), InRequests(Le(COUNT_AT_MOST))] = Field(
        default=None, ge=1, description="Use only the first N prompts."
    )
    seed: Annotated[int, CommandOption(SAMPLING), InRequests(Ge(0), Le(2**32 - 1))] = Field(
        default=0, description="Seeds everything that is random."
    )


class _ChainPrompts(Principled):
    prompts: Annotated[str, CommandOption(INPUT)] = Field(
        description="JSON Lines, JSON, CSV, Parquet, text, or a dataset."
    )
    policy: Annotated[str, CommandOption(SAMPLING)] = Field(
        default="embedded", description="What is trained: embedded, hf:PATH_OR_ID ..."
    )


class AlignSettings(Columns, ChainSettings, JurySettings, RunFolder, _ChainPrompts):
    """What `cai align` is asked for."""
