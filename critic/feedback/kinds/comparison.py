"""A comparison: which of two responses is better, or that neither is."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from critic.feedback.base import FormField, Kind, Label, Option, Row, answer, distinct
from critic.records import Response, Vote

Choice = Literal["first", "second", "tie"]


class ComparisonLabel(Label):
    """Which response is better. An answer that nobody could read is an outcome of its own, without a choice.

    ``probability`` is that the first is better: AI labels carry it, with their votes. ``strength`` says how much
    better, 1 (slightly) to ``levels``: a scale of five points, with the tie in the middle, has two levels.
    """

    kind: ClassVar[Kind] = "comparison"
    fewest_responses: ClassVar[int] = 2
    most_responses: ClassVar[int | None] = 2

    choice: Choice | None = None
    outcome: Literal["preference", "tie", "unreadable", "no_principle"] = "preference"
    probability: float | None = Field(default=None, ge=0, le=1)
    strength: int | None = Field(default=None, ge=1)
    levels: int | None = Field(default=None, ge=1)
    votes: tuple[Vote, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _outcome_of_choice(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("choice") is not None and data.get("outcome") is None:
            return data | {"outcome": "tie" if data["choice"] == "tie" else "preference"}
        return data

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        outcome = {"first": "preference", "second": "preference", "tie": "tie"}.get(self.choice or "")
        if outcome is None and self.outcome in ("preference", "tie"):
            raise ValueError("choice must say which response is better: first, second or tie")
        if outcome is not None and outcome != self.outcome:
            raise ValueError(f"the choice {self.choice!r} and the outcome {self.outcome!r} contradict each other")
        if self.probability is not None:
            self._fits_probability(self.probability)
        if (self.strength is None) != (self.levels is None):
            raise ValueError("strength (how much better) needs levels (how many strengths there are), and the reverse")
        if self.strength is not None and self.levels is not None:
            if self.outcome != "preference":
                raise ValueError("only a preference has a strength")
            if self.strength > self.levels:
                raise ValueError(f"a strength of {self.strength} is off its scale, 1 to {self.levels}")
        return self

    def _fits_probability(self, probability: float) -> None:
        if self.choice is None:
            raise ValueError("a comparison that was not read has no probability")
        if self.choice != "tie" and not (probability > 0.5 if self.choice == "first" else probability < 0.5):
            raise ValueError(f"the choice is {self.choice!r}, but the first is better with probability {probability:g}")

    @classmethod
    def form(cls, levels: int | None = None) -> tuple[FormField, ...]:
        """Ask which is better, and with ``levels`` by how much."""
        options = (
            Option(value="first", title="The first is better"),
            Option(value="tie", title="Both are equally good"),
            Option(value="second", title="The second is better"),
        )
        choice = FormField(name="choice", type="choice", title="Which response is better?", options=options)
        if levels is None:
            return (choice,)
        strength = FormField(
            name="strength",
            type="number",
            title="How much better?",
            required=False,
            min=1,
            max=levels,
            min_means="slightly",
            max_means="much",
        )
        return (choice, strength)

    @property
    def first_is_better(self) -> float | None:
        """The probability that the first is better: as given, or 1, 0.5 or 0 by the choice; None where unread."""
        if self.choice is None or self.probability is not None:
            return self.probability
        return {"first": 1.0, "tie": 0.5, "second": 0.0}[self.choice]

    def reordered(self, order: Sequence[int]) -> Self:
        """Return the same answer for the responses in another order, with its votes."""
        if list(order) == [0, 1]:
            return self
        other: dict[Choice | None, Choice | None] = {"first": "second", "second": "first", "tie": "tie", None: None}
        probability = None if self.probability is None else 1 - self.probability
        votes = tuple(_turned(vote) for vote in self.votes)
        return self.model_copy(update={"choice": other[self.choice], "probability": probability, "votes": votes})

    def check(self, responses: Sequence[Response]) -> None:
        """Two responses of different text."""
        super().check(responses)
        distinct(responses)

    def rows(self, responses: Sequence[Response]) -> Iterator[Row]:
        """Yield one pair, unless this is a tie or was not read."""
        if self.outcome == "preference":
            yield from self.pairs(responses)

    def pairs(self, responses: Sequence[Response]) -> Iterator[Row]:
        """Yield one pair, of a tie too, unless this was not read: trainers learn from ties that neither is better."""
        better = self.first_is_better
        if better is None:
            return
        chosen, rejected = responses if better >= 0.5 else reversed(responses)
        yield (
            "pairs",
            {
                "chosen": answer(chosen.text),
                "rejected": answer(rejected.text),
                "probability": max(better, 1 - better),
                "chosen_model": chosen.model,
                "rejected_model": rejected.model,
            },
        )


def _turned(vote: Vote) -> Vote:
    order = {"given": "swapped", "swapped": "given"}.get(vote.order or "")
    log_odds = None if vote.log_odds is None else -vote.log_odds
    values = None if vote.values is None else vote.values[::-1]
    return vote.model_copy(update={"order": order, "log_odds": log_odds, "values": values})
