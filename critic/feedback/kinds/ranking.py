"""A ranking: all responses in order."""

from collections.abc import Iterator, Sequence
from typing import ClassVar, Self

from pydantic import Field, model_validator

from critic.feedback.base import FormField, Kind, Label, Row, distinct
from critic.records import Response


class RankingLabel(Label):
    """``ranks`` by response: 1 is the best, equals share a rank, and no number is left out: 1, 2, 2, 3.

    ``strengths`` are what a fitted ranking is made from (Bradley-Terry, in log-odds), where there are any.
    """

    kind: ClassVar[Kind] = "ranking"
    fewest_responses: ClassVar[int] = 2

    ranks: tuple[int, ...] = Field(min_length=2)
    strengths: tuple[float, ...] | None = None

    @model_validator(mode="after")
    def _no_rank_is_left_out(self) -> Self:
        if sorted(set(self.ranks)) != list(range(1, len(set(self.ranks)) + 1)):
            raise ValueError(f"the ranks {list(self.ranks)} don't go 1, 2, 3 ... without a gap; equals share a rank")
        if self.strengths is not None and len(self.strengths) != len(self.ranks):
            raise ValueError(f"there are {len(self.ranks)} ranks and {len(self.strengths)} strengths")
        return self

    @classmethod
    def form(cls) -> tuple[FormField, ...]:
        """Ask for all ranks at once."""
        return (FormField(name="ranks", type="ranks", title="Rank the responses: 1 is the best, equals share a rank"),)

    def reordered(self, order: Sequence[int]) -> Self:
        """Return the same ranking of the responses in another order."""
        strengths = None if self.strengths is None else tuple(self.strengths[i] for i in order)
        return self.model_copy(update={"ranks": tuple(self.ranks[i] for i in order), "strengths": strengths})

    def check(self, responses: Sequence[Response]) -> None:
        """A rank for every response, and no two of the same text."""
        super().check(responses)
        if len(self.ranks) != len(responses):
            raise ValueError(f"there are {len(responses)} responses and {len(self.ranks)} ranks; each needs one")
        distinct(responses)

    def rows(self, responses: Sequence[Response]) -> Iterator[Row]:
        """Yield the whole ranking, unless all are equal."""
        if len(set(self.ranks)) > 1:
            yield "rankings", {"responses": [response.text for response in responses], "ranks": list(self.ranks)}


def dense(values: Sequence[float]) -> tuple[int, ...]:
    """Return ranks without gaps for numbers of which the lowest is the best: 1, 1, 3 becomes 1, 1, 2."""
    ranks = {value: rank for rank, value in enumerate(sorted(set(values)), 1)}
    return tuple(ranks[value] for value in values)
