"""A ranking: responses in order, all or some of them."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from critic.feedback.base import Columns, FormField, Label, LabelMean, Row, Way
from critic.records import Response
from critic.statistics.raters import Level


class RankingLabel(Label):
    """``ranks`` by response: 1 is the best, equals share a rank, and no number is left out: 1, 2, 2, 3.

    A response whose rank is None was not ranked: nothing is said of it, not that it is worse. ``strengths`` are what a
    fitted ranking is made from (Bradley-Terry, in log-odds), where there are any.
    """

    kind: ClassVar[str] = "ranking"
    short: ClassVar[str | None] = "ranks"
    fewest_responses: ClassVar[int] = 2
    distinct_responses: ClassVar[bool] = True
    agreement: ClassVar[tuple[Level, ...]] = ("nominal", "ordinal")
    pairwise: ClassVar[bool] = True
    beside: ClassVar[frozenset[str]] = frozenset({"strengths"})

    ranks: tuple[int | None, ...] = Field(min_length=2)
    strengths: tuple[float, ...] | None = None

    @model_validator(mode="after")
    def _no_rank_is_left_out(self) -> Self:
        given = [rank for rank in self.ranks if rank is not None]
        if len(given) < 2:
            raise ValueError("a ranking orders two responses or more; at most one of these has a rank")
        if sorted(set(given)) != list(range(1, len(set(given)) + 1)):
            raise ValueError(f"the ranks {given} don't go 1, 2, 3 ... without a gap; equals share a rank")
        if self.strengths is not None and len(self.strengths) != len(self.ranks):
            raise ValueError(f"there are {len(self.ranks)} ranks and {len(self.strengths)} strengths")
        return self

    @classmethod
    def form(cls) -> tuple[FormField, ...]:
        """Ask for all ranks at once."""
        title = "Rank the responses: 1 is the best, equals share a rank; leave out those that you can't place"
        return (FormField(name="ranks", type="ranks", title=title),)

    @property
    def ranked(self) -> tuple[int, ...]:
        """The positions of the responses that have a rank."""
        return tuple(place for place, rank in enumerate(self.ranks) if rank is not None)

    def reordered(self, order: Sequence[int]) -> Self:
        """Return the same ranking of the responses in another order."""
        strengths = None if self.strengths is None else tuple(self.strengths[i] for i in order)
        return self.model_copy(update={"ranks": tuple(self.ranks[i] for i in order), "strengths": strengths})

    def check(self, responses: Sequence[Response]) -> None:
        """A rank, or None, for every response, and no two of the same text."""
        if len(responses) >= self.fewest_responses and len(self.ranks) != len(responses):
            raise ValueError(f"there are {len(responses)} responses and {len(self.ranks)} ranks; each needs one")
        super().check(responses)

    def rows(self, responses: Sequence[Response], *, ties: bool = False) -> Iterator[Row]:
        """Yield the responses that are ranked, with their ranks, unless all are equal."""
        ranks = [rank for rank in self.ranks if rank is not None]
        if len(set(ranks)) > 1:
            yield "rankings", {"responses": [responses[place].text for place in self.ranked], "ranks": ranks}

    def why_no_row(self) -> str:
        """Return that all are equal."""
        return "tie"

    @classmethod
    def mean(cls, labels: Sequence[Self], way: Way) -> LabelMean | None:
        """Return the responses by their mean rank (Borda's count), where all labels rank all of them.

        Where some don't, ranks of short and long rankings are no one scale: responses are ordered by the mean share of
        the others that they are above, over all pairs of which a label ranks both. One that nobody ranked has no rank.
        """
        every = range(len(labels))
        complete = [_ranked(label) for label in labels]
        size = len(labels[0].ranks)
        if all(len(ranks) == size for ranks in complete):
            label = cls(ranks=dense([sum(ranks) for ranks in zip(*complete, strict=True)]))
        else:
            label = cls(ranks=_by_share(labels, size))
        if len({rank for rank in label.ranks if rank is not None}) == 1:
            return LabelMean(None, dropped=Counter({"tie": len(labels)}))
        return LabelMean(label, every)

    def relation(self, first: int, second: int) -> float | None:
        """1 where the first is ranked above the second, 0 where below, and a half where they are equal."""
        one, other = self.ranks[first], self.ranks[second]
        if one is None or other is None:
            return None
        return 0.5 + 0.5 * ((one < other) - (one > other))

    @classmethod
    def exported(cls, columns: Columns, texts: Sequence[Any]) -> tuple[Columns, Sequence[Any]]:
        """Return the ranks, with the strengths that they are of."""
        return {"ranks": columns.get("ranks"), "strengths": columns.get("strengths")}, texts


def _ranked(label: RankingLabel) -> list[int]:
    """Return the ranks, without the responses that nobody ranked."""
    return [rank for rank in label.ranks if rank is not None]


def _by_share(labels: Sequence[RankingLabel], size: int) -> tuple[int | None, ...]:
    """Return the ranks of responses by how many of the others they are above, of those that they were ranked with."""
    above, of = [0.0] * size, [0] * size
    for label in labels:
        ranks = [rank for rank in label.ranks if rank is not None]
        equal, below, passed = Counter(ranks), {}, 0
        for rank in range(max(ranks), 0, -1):  # none is left out
            below[rank] = passed
            passed += equal[rank]
        for place in label.ranked:
            own = label.ranks[place]
            assert own is not None  # it is ranked
            above[place] += below[own] + 0.5 * (equal[own] - 1)
            of[place] += len(ranks) - 1
    known = [place for place in range(size) if of[place]]
    # Rounded, so that equal shares are equal ranks: thirds that are added up in another order differ in their last bit.
    shares = [-round(above[place] / of[place], 9) for place in known]
    by_place = dict(zip(known, dense(shares), strict=True))
    return tuple(by_place.get(place) for place in range(size))


def dense(values: Sequence[float]) -> tuple[int, ...]:
    """Return ranks without gaps for numbers of which the lowest is the best: 1, 1, 3 becomes 1, 1, 2."""
    ranks = {value: rank for rank, value in enumerate(sorted(set(values)), 1)}
    return tuple(ranks[value] for value in values)
