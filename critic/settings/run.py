"""What a run is asked for: `cai generate` and `cai judge`, jobs of both kinds, and the Python API."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from annotated_types import Ge, Gt, Le
from pydantic import Field, model_validator

from base.option import CommandOption, InRequests, read
from critic.engine import Sampling
from critic.messages import Record
from critic.settings.judging import JudgingSettings, Seeded
from critic.settings.panels import INPUT, JUDGING, LIMITS, OUTPUT, SAMPLING
from critic.settings.shared import COUNT_AT_MOST, Columns, Extended, JurySettings, Principled, RunFolder

Strategy = Literal["samples", "revision", "best-of-n"]
Format = Literal["jsonl", "parquet"]

SAMPLES_AT_MOST, TOKENS_AT_MOST = 64, 131_072  # of one request
RETEST = 0.01
"""The share of votes that are asked twice; see `critic.run.retest`."""

Tokens = Annotated[int, CommandOption(SAMPLING), InRequests(Le(TOKENS_AT_MOST))]
Temperature = Annotated[float, CommandOption(SAMPLING), InRequests(Le(100))]


class WritingSettings(Record):
    """How answers are sampled, criticised and revised."""

    samples: Annotated[int, CommandOption(SAMPLING), InRequests(Le(SAMPLES_AT_MOST))] = Field(
        default=2, ge=1, description="How many answers each prompt gets."
    )
    revisions: Annotated[int, CommandOption(SAMPLING), InRequests(Le(16))] = Field(
        default=1, ge=0, description="Rounds of critique and revision for each answer."
    )
    strategy: Annotated[Strategy, CommandOption(SAMPLING)] = Field(
        default="samples", description="Which answers are paired."
    )
    max_tokens: Tokens = Field(default=256, ge=1, description="Longest answer, in tokens.")
    temperature: Temperature = Field(
        default=1.0, ge=0, description="Sampling temperature of the policy's answers; 0 is greedy."
    )
    judge_max_tokens: Tokens = Field(default=256, ge=1, description="Longest critique and revision, in tokens.")
    judge_temperature: Temperature = Field(
        default=0.7, ge=0, description="Sampling temperature of critiques and revisions."
    )

    def policy_sampling(self) -> Sampling:
        """How the policy's answers are drawn."""
        return Sampling(max_tokens=self.max_tokens, temperature=self.temperature)

    def judge_sampling(self) -> Sampling:
        """How critiques and revisions are drawn."""
        return Sampling(max_tokens=self.judge_max_tokens, temperature=self.judge_temperature)


class RunSettings(Seeded, WritingSettings, JudgingSettings):
    """The choices of a run on which its rows depend, as a person makes them."""

    @model_validator(mode="after")
    def _strategy_has_what_it_needs(self) -> Self:
        if self.strategy == "revision" and self.revisions == 0:
            raise ValueError("--strategy revision needs --revisions 1 or more: it pairs an answer with its revision")
        if self.strategy == "samples" and self.samples < 2:
            raise ValueError("--strategy samples needs --samples 2 or more: it pairs answers with each other")
        if self.strategy == "best-of-n" and self.samples < 2:
            raise ValueError("--strategy best-of-n needs --samples 2 or more: it pairs the best with the worst")
        if self.strategy == "revision" and self.ranking:
            raise ValueError(
                "--ranking needs every answer compared with every other; --strategy revision compares each answer with "
                "its own revision only. Use --strategy samples or best-of-n, or leave --ranking out"
            )
        return self

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """Return the settings that a person gave; raises `InputError` with the option's name."""
        return read(cls, values)


class Exported(Record):
    """What the tables of a run are written as."""

    format: Annotated[Format, CommandOption(OUTPUT)] = Field(default="jsonl", description="The exports' format.")


class RunLimits(Exported):
    """How much of the input a run reads, what it may cost, and what it leaves: no row depends on these."""

    limit: Annotated[int | None, CommandOption(LIMITS), InRequests(Le(COUNT_AT_MOST))] = Field(
        default=None,
        ge=1,
        description="Use only the first N rows of the input. A larger number continues in the same directory.",
    )
    max_chars: Annotated[int, CommandOption(LIMITS), InRequests(Le(10_000_000))] = Field(
        default=32_000, ge=1, description="Quarantine longer prompts."
    )
    truncate: Annotated[bool, CommandOption(LIMITS)] = Field(
        default=False, description="Cut the end off prompts that are longer than --max-chars, and count them."
    )
    max_calls: Annotated[int | None, CommandOption(LIMITS), InRequests(Ge(1), Le(COUNT_AT_MOST))] = Field(
        default=None, ge=0, description="A hard limit on the run's recorded calls."
    )
    max_cost: Annotated[float | None, CommandOption(LIMITS), InRequests(Gt(0), Le(1e9))] = Field(
        default=None,
        ge=0,
        description="A hard limit on the run's cost, in US dollars, at the prices in the engines' specs (input_price, "
        "output_price); it is exceeded by at most the error of the estimated prompt tokens.",
    )
    with_reasoning: Annotated[bool, CommandOption(OUTPUT)] = Field(
        default=False, description="Also export what models thought before they answered."
    )
    retest: Annotated[float, CommandOption(JUDGING)] = Field(
        default=RETEST,
        ge=0,
        le=1,
        description="The share of votes (at least 8) that is asked twice if a judge's answers can vary; 0: none.",
    )


class _Run(Columns, Extended, RunLimits):
    on: Annotated[str | None, CommandOption(LIMITS, metavar="ray[://HOST:PORT]")] = Field(
        default=None,
        description="Run on a Ray cluster, and write its rows as Parquet shards: ray, or ray://HOST:PORT, with "
        "?actors=MIN-MAX&cpus=C&gpus=G&shard=ROWS as needed.",
    )


class _Prompts(Principled):
    prompts: Annotated[str, CommandOption(INPUT)] = Field(
        description="JSON Lines, JSON, CSV, Parquet, text, - for stdin, or a dataset."
    )
    policy: Annotated[str, CommandOption(SAMPLING)] = Field(
        default="embedded", description="The engine that answers the prompts."
    )


class _RunPairs(Principled):
    pairs: Annotated[str, CommandOption(INPUT)] = Field(
        description="Prompts with 2 or more responses each, or chosen and rejected."
    )


class GenerateSettings(_Run, RunSettings, JurySettings, RunFolder, _Prompts):
    """What `cai generate` is asked for."""


class JudgeSettings(_Run, Seeded, JudgingSettings, JurySettings, RunFolder, _RunPairs):
    """What `cai judge` is asked for."""
