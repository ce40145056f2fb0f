"""What a run is: everything that its results depend on. Saved with the run, compared when it is started again."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from base.digest import digest
from base.errors import InputError
from base.nearest import meant
from critic.engine import Identity, Sampling
from critic.judging.aggregate import Method, Pooling
from critic.pipeline import Strategy
from critic.records import Record
from critic.run.differences import differences, raises_limit_only


class RunSettings(Record):
    """The choices of ``cai generate`` and ``cai judge``, as a person makes them."""

    strategy: Strategy = "samples"
    samples: int = Field(default=2, ge=1)
    revisions: int = Field(default=1, ge=0)
    judge_principles: int | None = Field(default=None, ge=1)
    tie_band: float = Field(default=0.02, ge=0, lt=0.5)
    aggregation: Method = "log-odds"
    priorities: bool = True
    ranking: bool = False
    seed: int = 0
    max_tokens: int = Field(default=256, ge=1)
    temperature: float = Field(default=1.0, ge=0)
    judge_max_tokens: int = Field(default=256, ge=1)
    judge_temperature: float = Field(default=0.7, ge=0)

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
        try:
            return cls(**values)
        except ValidationError as error:
            fault = error.errors()[0]
            if fault["type"] == "extra_forbidden":
                name = str(fault["loc"][0])
                raise InputError(f"there is no setting {name!r}", fix=meant(name, cls.model_fields)) from None
            option = "--" + "-".join(str(fault["loc"][0]).split("_")) if fault["loc"] else ""
            raise InputError(fault["msg"].removeprefix("Value error, "), where=option) from None

    def policy_sampling(self) -> Sampling:
        """How the policy's answers are drawn."""
        return Sampling(max_tokens=self.max_tokens, temperature=self.temperature)

    def judge_sampling(self) -> Sampling:
        """How critiques and revisions are drawn."""
        return Sampling(max_tokens=self.judge_max_tokens, temperature=self.judge_temperature)

    def pooling(self) -> Pooling:
        """How votes become a probability."""
        return Pooling(method=self.aggregation, priorities=self.priorities)


class Seat(Record):
    """One juror: the judge, and its mode with all options."""

    judge: Identity
    mode: dict[str, Any]


class RunConfig(Record):
    """A run's settings with what they were applied to. ``input_hash`` is None where the input has no bytes to hash.

    ``policy`` is None for ``cai judge``, whose responses are given, and so is ``critic``, who would revise them.
    """

    kind: Literal["generate", "judge"]
    settings: RunSettings
    constitution: str
    constitution_hash: str
    templates: dict[str, str]
    policy: Identity | None
    critic: Identity | None
    jury: tuple[Seat, ...]
    input: str
    input_hash: str | None
    limit: int | None = Field(default=None, ge=0)
    max_chars: int = Field(ge=1)
    truncate: bool = False
    columns: str | None = None

    @cached_property
    def plan(self) -> str:
        """Hash of what a row's result depends on, besides the row itself: not of the input."""
        of_input = {"input", "input_hash", "limit", "max_chars", "truncate", "columns"}
        return digest(self.model_dump(mode="json", exclude=of_input))

    def flat(self) -> dict[str, Any]:
        """As one flat dictionary, so that a difference can be named."""
        values = self.model_dump(mode="json")
        return {**values.pop("settings"), **values}

    @classmethod
    def of_flat(cls, flat: Mapping[str, Any]) -> Self:
        """Return the config whose `flat` this is, without other keys. Raises `ValidationError` if one is missing."""
        settings, own = ({k: flat[k] for k in of.model_fields if k in flat} for of in (RunSettings, cls))
        return cls.model_validate({**own, "settings": settings})


def agree(before: Mapping[str, Any], config: Mapping[str, Any], directory: Path, *, extend: bool) -> None:
    """Refuse to go on in ``directory`` with another config than its own, unless to ``extend``; name what differs.

    More rows of the same input are the same run.
    """
    changed = differences(before, config) if before else []
    another_kind = before.get("kind") != config.get("kind")
    if changed and (another_kind or not extend) and not raises_limit_only(before, config):
        raise InputError(
            "the directory holds a run of another config\n  " + "\n  ".join(changed),
            where=str(directory),
            fix="Name a new directory" + ("." if another_kind else ", or pass --extend to go on with the new config."),
        )
