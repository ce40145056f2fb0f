"""How answers are judged: from votes to a verdict, and which principles are asked."""

from typing import Annotated, Literal

from annotated_types import Ge, Le
from pydantic import Field

from base.option import CommandOption, InRequests
from critic.messages import Record
from critic.settings.panels import JUDGING, SAMPLING

Method = Literal["log-odds", "probability", "majority", "minimum"]


class Banded(Record):
    """What makes a tie of a probability."""

    tie_band: Annotated[float, CommandOption(JUDGING)] = Field(
        default=0.02, ge=0, lt=0.5, description="A probability this close to 0.5 is a tie, and makes no pair."
    )

    def is_tie(self, probability: float) -> bool:
        """Whether a probability is so near one half that it prefers neither side."""
        # What is one half by arithmetic may be off by rounding; it is a tie without any band.
        return abs(probability - 0.5) < max(self.tie_band, 1e-12)

    def pooling(self) -> "Pooling":
        """How votes become a verdict; what isn't said here is as by default."""
        return Pooling(**self.model_dump(include=set(Pooling.model_fields)))


class Pooling(Banded):
    """How votes become a verdict: see `critic.judging.aggregate`.

    Without ``priorities`` all principles are in one class.
    """

    aggregation: Annotated[Method, CommandOption(JUDGING)] = Field(
        default="log-odds", description="How principles' votes are pooled."
    )
    priorities: bool = True


EXACT = Pooling(tie_band=0.0)
"""Of measurements, whose figures read the probability itself."""


class Drawn(Record):
    """How many principles are asked."""

    judge_principles: Annotated[
        int | None, CommandOption(JUDGING, metavar="all|K", word="all"), InRequests(Le(10_000))
    ] = Field(
        default=None, ge=1, description="How many principles judge a comparison: all, or a number drawn for each."
    )


class JudgingSettings(Pooling, Drawn):
    """What `cai judge` and `cai generate` share of how they judge."""

    ranking: Annotated[bool, CommandOption(JUDGING)] = Field(
        default=False, description="Rank all answers by all comparisons, and make pairs from the ranks."
    )


class Seeded(Record):
    """What draws something."""

    seed: Annotated[int, CommandOption(SAMPLING), InRequests(Ge(-(2**53)), Le(2**53))] = Field(
        default=0, description="Seeds everything that is random."
    )
