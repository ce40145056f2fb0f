"""A comparison: which of two responses is better, that neither is, or that whoever was asked can't tell."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from base.errors import InputError
from critic.feedback.base import (
    MOST_PRINCIPLES,
    Columns,
    Form,
    FormField,
    Label,
    LabelMean,
    LabelOption,
    PrincipleId,
    ProjectOptions,
    Row,
    Unit,
    Way,
    YesNo,
    answer,
    by_principle,
    not_given,
)
from critic.records import Response, Vote
from critic.statistics.raters import Level

Choice = Literal["first", "second", "tie"]
ByPrinciple = Literal["first", "second", "tie", "unsure"]
TieKind = Literal["both_good", "both_bad"]

DIGITS = 6  # of a probability: 1 - 0.3 and 0.7 are the same
_OTHER_SIDE: Mapping[Any, Any] = {"first": "second", "second": "first"}
_WORTH = {"first": 1.0, "tie": 0.5, "second": 0.0}
_WORDS: dict[str, dict[str, Any]] = {
    "both_good": {"choice": "tie", "tie_kind": "both_good"},
    "both_bad": {"choice": "tie", "tie_kind": "both_bad"},
    "unsure": {"choice": None, "outcome": "unsure"},
}
"""Answers that people pick with one key, and the fields that they mean."""


class ComparisonOptions(ProjectOptions):
    """How a project asks for comparisons.

    ``levels`` says how many strengths a preference has; with ``by_principle`` people also answer for each principle of
    the constitution, and say which of them decided.
    """

    levels: Annotated[int, Field(ge=1, le=10, strict=True)] | None = None
    by_principle: YesNo | None = None

    @property
    def needs_constitution(self) -> bool:
        """Whether people answer by principle."""
        return bool(self.by_principle)


class ComparisonLabel(Label):
    """Which response is better. An answer that nobody could read is an outcome of its own, without a choice.

    ``probability`` is that the first is better: AI labels carry it, with their votes. ``strength`` says how much
    better, 1 (slightly) to ``levels``: a scale of five points, with the tie in the middle, has two levels.

    ``tie_kind`` says of a tie whether both are good or both bad, where that was asked. ``unsure`` is the outcome of a
    person who can't tell: it is counted, and is never a pair. ``by_principle`` has the answer by one principle each,
    and ``deciding`` the principles that the choice was made by, where people were asked for them.
    """

    kind: ClassVar[str] = "comparison"
    short: ClassVar[str | None] = "choice"
    fewest_responses: ClassVar[int] = 2
    most_responses: ClassVar[int | None] = 2
    distinct_responses: ClassVar[bool] = True
    agreement: ClassVar[tuple[Level, ...]] = ("nominal", "ordinal")
    two_sided: ClassVar[bool] = True
    beside: ClassVar[frozenset[str]] = frozenset({"votes", "probability"})
    options: ClassVar[type[ProjectOptions]] = ComparisonOptions

    choice: Choice | None = None
    outcome: Literal["preference", "tie", "unsure", "unreadable", "no_principle"] = "preference"
    probability: float | None = Field(default=None, ge=0, le=1)
    strength: int | None = Field(default=None, ge=1)
    levels: int | None = Field(default=None, ge=1)
    votes: tuple[Vote, ...] = ()
    tie_kind: TieKind | None = Field(default=None, exclude_if=not_given)
    by_principle: dict[PrincipleId, ByPrinciple] = Field(
        default_factory=dict, max_length=MOST_PRINCIPLES, exclude_if=not_given
    )
    deciding: tuple[PrincipleId, ...] = Field(default=(), max_length=MOST_PRINCIPLES, exclude_if=not_given)

    @model_validator(mode="before")
    @classmethod
    def _outcome_of_choice(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        if isinstance(word := data.get("choice"), str) and word in _WORDS:
            for name, value in _WORDS[word].items():
                if name != "choice" and data.get(name) not in (None, value):
                    raise ValueError(f"the choice {word!r} and the {name} {data[name]!r} contradict each other")
            data = data | _WORDS[word]
        if data.get("choice") is not None and data.get("outcome") is None:
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
        self._fits_outcome()
        return self

    def _fits_probability(self, probability: float) -> None:
        if self.choice is None:
            raise ValueError("a comparison that was not read has no probability")
        if self.choice != "tie" and not (probability > 0.5 if self.choice == "first" else probability < 0.5):
            raise ValueError(f"the choice is {self.choice!r}, but the first is better with probability {probability:g}")

    def _fits_outcome(self) -> None:
        if self.tie_kind is not None and self.choice != "tie":
            raise ValueError(f"only a tie is {self.tie_kind!r}; the choice is {self.choice!r}")
        if self.deciding and self.choice is None:
            raise ValueError("principles decide a choice, and there is none")
        if len(set(self.deciding)) < len(self.deciding):
            raise ValueError("a principle is named twice among those that decided")

    @classmethod
    def form(cls, levels: int | None = None, by_principle: bool = False) -> tuple[FormField, ...]:
        """Ask which is better, with ``levels`` by how much, and ``by_principle`` the same for each principle."""
        choice = FormField(name="choice", type="choice", title="Which response is better?", options=_OPTIONS)
        fields = [choice]
        if levels is not None:
            fields.append(_strength(levels))
        if by_principle:
            fields += _PRINCIPLES
        return tuple(fields)

    @classmethod
    def complete(cls, given: Any, form: Form) -> Any:
        """Return the long form, with the project's levels where a strength is given."""
        if isinstance(given, dict) and given.get("strength") is not None and "strength" in form:
            return {"levels": int(form["strength"].max or 0)} | given
        return cls.long_form(given)

    def fits_form(self, form: Form) -> None:
        """The levels are the project's."""
        asked = form["strength"].max if "strength" in form else None
        if self.levels is not None and self.levels != asked:
            raise InputError("the levels are not the project's", where="/label/levels", fix="Leave them out.")

    @property
    def first_is_better(self) -> float | None:
        """The probability that the first is better: as given, or 1, 0.5 or 0 by the choice; None where unread."""
        if self.choice is None or self.probability is not None:
            return self.probability
        return _WORTH[self.choice]

    def reordered(self, order: Sequence[int]) -> Self:
        """Return the same answer for the responses in another order, with its votes."""
        if list(order) == [0, 1]:
            return self
        votes = tuple(_turned(vote) for vote in self.votes)
        changes = {
            "choice": _OTHER_SIDE.get(self.choice, self.choice),
            "probability": None if self.probability is None else 1 - self.probability,
            "votes": votes,
            "by_principle": {name: _OTHER_SIDE.get(said, said) for name, said in self.by_principle.items()},
        }
        return self.model_copy(update=changes)

    def principles(self) -> Sequence[str]:
        """Return those that were answered for, and those that decided."""
        return list(dict.fromkeys([*self.by_principle, *self.deciding]))

    def rows(self, responses: Sequence[Response], *, ties: bool = False) -> Iterator[Row]:
        """Yield one pair, unless this is a tie or has no choice; of two bad answers each as rated down.

        Where ``ties`` asks for it, a tie is a pair, too: trainers learn from it that neither is better.
        """
        if self.outcome == "preference" or (ties and self.outcome == "tie"):
            yield self._pair(responses)
        if self.tie_kind == "both_bad":
            for response in responses:
                yield "ratings", {"completion": answer(response.text), "label": False, "model": response.model}

    def _pair(self, responses: Sequence[Response]) -> Row:
        better = self.first_is_better
        assert better is not None  # rows of a preference or tie alone
        chosen, rejected = responses if better >= 0.5 else reversed(responses)
        return (
            "pairs",
            {
                "chosen": answer(chosen.text),
                "rejected": answer(rejected.text),
                "probability": max(better, 1 - better),
                "chosen_model": chosen.model,
                "rejected_model": rejected.model,
                **self._principles_of(better >= 0.5),
            },
        )

    def _principles_of(self, first_is_chosen: bool) -> Columns:
        """Return the columns that say what was chosen by each principle, and which of them decided."""
        sides = ("chosen", "rejected") if first_is_chosen else ("rejected", "chosen")
        names = dict(zip(("first", "second"), sides, strict=True))
        said = {principle: names.get(choice, choice) for principle, choice in self.by_principle.items()}
        return by_principle("choice", said) | ({"deciding": list(self.deciding)} if self.deciding else {})

    def why_no_row(self) -> str:
        """Return the outcome: ``tie``, ``unsure``, ``unreadable`` or ``no_principle``."""
        return self.outcome

    @classmethod
    def mean(cls, labels: Sequence[Self], way: Way) -> LabelMean | None:
        """Return the answer that most gave, or the mean probability; labels without a choice are dropped.

        Where that is a tie and more than half say that both are bad, it is such a tie, which gives rows; any other is
        dropped.
        """
        read = [place for place, label in enumerate(labels) if label.choice is not None]
        dropped = Counter(label.outcome for label in labels if label.choice is None)
        kept = [labels[place] for place in read]
        label = (_majority(kept) if way == "majority" else _soft(kept)).model_copy(update=_principles(kept))
        if label.choice == "tie" and label.tie_kind is None:
            dropped["tie"] += len(kept)
            return LabelMean(None, dropped=+Counter[str](dropped))
        return LabelMean(label, read, +Counter[str](dropped))

    def unit(self, responses: Sequence[Response]) -> tuple[Unit, float] | None:
        """Return the comparison itself, and 1, 0.5 or 0: whether the first is better."""
        return None if self.choice is None else ("comparison", _WORTH[self.choice])

    def units_by_principle(self, responses: Sequence[Response]) -> Mapping[str, tuple[Unit, float]]:
        """Return the same by each principle that a choice was made by."""
        said = self.by_principle.items()
        return {name: ("comparison", _WORTH[choice]) for name, choice in said if choice != "unsure"}

    @property
    def unsure(self) -> bool:
        """Whether that is the outcome."""
        return self.outcome == "unsure"

    @property
    def prefers(self) -> int | None:
        """The better one's position."""
        return {"first": 0, "second": 1}.get(self.choice or "")

    def said(self) -> dict[str, Any]:
        """Return the choice, and the rounded probability in place of how it was come by."""
        better = self.first_is_better
        return super().said() | ({} if better is None else {"first_is_better": round(better, DIGITS)})

    @classmethod
    def exported(cls, columns: dict[str, Any], texts: Sequence[Any]) -> tuple[dict[str, Any], Sequence[Any]]:
        """Return the label, with the choice that its probability means."""
        probability, outcome = columns.get("probability"), columns.get("outcome")
        choice = None
        if isinstance(probability, int | float):
            is_tie = outcome == "tie" or probability == 0.5
            better = "first" if probability > 0.5 else "second"
            choice = "tie" if is_tie else better
        votes = columns.get("votes") or ()
        return {"choice": choice, "outcome": outcome, "probability": probability, "votes": votes}, texts


_OPTIONS = (
    LabelOption(value="first", title="The first is better"),
    LabelOption(value="both_good", title="Both are equally good"),
    LabelOption(value="both_bad", title="Both are equally bad"),
    LabelOption(value="second", title="The second is better"),
    LabelOption(value="unsure", title="I can't tell"),
)
_PRINCIPLES = (
    FormField(
        name="by_principle",
        type="by_principle",
        title="Which response is better by this principle?",
        required=False,
        options=(
            LabelOption(value="first", title="The first"),
            LabelOption(value="tie", title="Neither"),
            LabelOption(value="second", title="The second"),
            LabelOption(value="unsure", title="I can't tell"),
        ),
    ),
    FormField(name="deciding", type="principles", title="Which principles decided?", required=False),
)


def _strength(levels: int) -> FormField:
    return FormField(
        name="strength",
        type="number",
        title="How much better?",
        required=False,
        min=1,
        max=levels,
        min_means="slightly",
        max_means="much",
    )


def _majority(labels: Sequence[ComparisonLabel]) -> ComparisonLabel:
    """Return the answer given most often; a tie where two share the lead, or there is none."""
    choice = _leading([label.choice for label in labels if label.choice is not None])
    return ComparisonLabel(choice=choice) if choice in ("first", "second") else _tie(labels)


def _soft(labels: Sequence[ComparisonLabel]) -> ComparisonLabel:
    """Return the mean probability that the first is better."""
    given = [probability for label in labels if (probability := label.first_is_better) is not None]
    mean = sum(given) / len(given) if given else 0.5
    if abs(mean - 0.5) < 1e-12:
        return _tie(labels)
    return ComparisonLabel(choice="first" if mean > 0.5 else "second", probability=mean)


def _principles(labels: Sequence[ComparisonLabel]) -> dict[str, Any]:
    """Return what most said by each principle, a tie where none leads, and those that more than half say decided."""
    said: dict[str, list[ByPrinciple]] = {}
    deciding: Counter[str] = Counter()
    for label in labels:
        deciding.update(label.deciding)
        for name, choice in label.by_principle.items():
            said.setdefault(name, []).append(choice)
    leading = {}
    for name, choices in said.items():
        leading[name] = _leading([choice for choice in choices if choice != "unsure"])
    most = tuple(name for name, count in deciding.items() if 2 * count > len(labels))
    return {"by_principle": leading, "deciding": most}


def _leading(choices: Sequence[ByPrinciple]) -> ByPrinciple:
    if not choices:
        return "unsure"
    ahead, behind = [*Counter(choices).most_common(2), ("tie", 0)][:2]
    return ahead[0] if ahead[1] > behind[1] else "tie"


def _tie(labels: Sequence[ComparisonLabel]) -> ComparisonLabel:
    bad = sum(label.tie_kind == "both_bad" for label in labels)
    return ComparisonLabel(choice="tie", tie_kind="both_bad" if 2 * bad > len(labels) else None)


def _turned(vote: Vote) -> Vote:
    order = {"given": "swapped", "swapped": "given"}.get(vote.order or "")
    log_odds = None if vote.log_odds is None else -vote.log_odds
    values = None if vote.values is None else vote.values[::-1]
    return vote.model_copy(update={"order": order, "log_odds": log_odds, "values": values})
