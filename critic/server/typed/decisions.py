"""The shape of ``POST /v1/decisions``, and how a server of it is opened (`critic.engines.decisions`)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, StrictBool, StrictStr

from critic.engine import Decision, Engine, Score
from critic.server.typed.decision_engine import (
    Api,
    DecisionAnswer,
    DecisionReply,
    expect_api,
    open_api,
    read_of,
    unreadable,
)


class Predicate(DecisionAnswer):
    """A statement's probability of being true."""

    type: Literal["predicate"]
    probability: float

    def read(self, asked: Decision, mass: float | None) -> Score:
        """See `DecisionAnswer.read`: of true and of false."""
        return read_of(asked, [self.probability, 1 - self.probability], mass)


class ChoiceProbability(BaseModel):
    """One option's. Its value has a type: the text ``true`` is not the boolean."""

    value: StrictStr | StrictBool
    probability: float


class Chosen(DecisionAnswer):
    """The probabilities of a choice's options."""

    type: Literal["choice"]
    probabilities: tuple[ChoiceProbability, ...]
    confidence: float | None = None

    def read(self, asked: Decision, mass: float | None) -> Score:
        """See `DecisionAnswer.read`: in the order of the options, whatever the reply's is."""
        told = [(one.value, one.probability) for one in self.probabilities]
        return _by_value(told, [option.name for option in asked.options], asked, mass, self.confidence)


class LevelProbability(BaseModel):
    """One level's, by its place from 0."""

    value: int
    probability: float


class Scored(DecisionAnswer):
    """The probabilities of a scale's levels."""

    type: Literal["score"]
    probabilities: tuple[LevelProbability, ...]
    confidence: float | None = None

    def read(self, asked: Decision, mass: float | None) -> Score:
        """See `DecisionAnswer.read`: from the lowest level up, whatever the reply's order is."""
        told = [(one.value, one.probability) for one in self.probabilities]
        return _by_value(told, list(range(len(asked.options))), asked, mass, self.confidence)


class DecisionsReply(DecisionReply):
    """The answers, each with its question's name: so their order does not matter."""

    forms: ClassVar[Mapping[str, type[DecisionAnswer]]] = {"choice": Chosen, "predicate": Predicate, "score": Scored}

    answers: tuple[dict[str, Any], ...]

    def told(self) -> Iterator[tuple[object, object, float | None]]:
        """See `DecisionReply.told`: the API tells no mass."""
        for answer in self.answers:
            yield answer.get("name"), answer, None


class DecisionsApi(Api):
    """``POST /v1/decisions``."""

    def body(self, text: str, questions: Mapping[str, Decision]) -> dict[str, object]:
        """See `Api.body`."""
        return {"input": text, "questions": [_question(name, read) for name, read in questions.items()]}


API = DecisionsApi("decisions", "/decisions", DecisionsReply, most_questions=64, most_choices=255, most_levels=10)


def open_engine(target: str, options: dict[str, str]) -> Engine:
    """Open a server of this API; see the module's docstring, and `open_api` for what it raises."""
    return open_api(API, target, options)


def expect_there(target: str, options: dict[str, str]) -> None:
    """Raise `InputError` where the server isn't there."""
    expect_api(API, target, options)


def _question(name: str, read: Decision) -> dict[str, object]:
    asked: dict[str, object] = {"type": read.type, "name": name, "instructions": read.instructions}
    match read.type:
        case "choice":
            asked["choices"] = [_described("value", option.name, option.description) for option in read.options]
        case "score":
            asked["levels"] = [_described("label", option.name, option.description) for option in read.options]
        case "predicate":
            pass
    return asked


def _described(key: str, name: str, description: str) -> dict[str, str]:
    return {key: name} | ({"description": description} if description else {})


def _by_value(
    told: Sequence[tuple[str | int, float]],
    values: Sequence[str | int],
    asked: Decision,
    mass: float | None,
    confidence: float | None,
) -> Score:
    by_value = dict(told)
    if len(by_value) < len(told) or by_value.keys() != set(values):
        return unreadable(f"the server answered about {[value for value, _ in told]}, and not about {values}", asked)
    return read_of(asked, [by_value[value] for value in values], mass, confidence)
