"""The `decisions` engine: a server of ``POST /v1/decisions`` as judge (OpenAI's beta since October 2026, and others).

Spec: ``decisions:MODEL@URL?key=value``, with the options of `critic.engines.openai`; without ``@URL`` it is the
`openai` library's default server. The API tells no label mass. Each question may be refused, and the others answered.

Bounds: 64 questions a request (OpenAI takes 400, others fewer; the text that they are about is cached all the same),
255 choices (Fireworks 208), 10 levels.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, Field, StrictBool, StrictStr

from critic.engines.base import Decision, Engine, Score
from critic.engines.decision_engine import Api, DecisionReply, open_api, other_questions, read_of, unreadable

REFUSED = "the model refused to answer this question"


class Predicate(BaseModel):
    """A statement's probability of being true."""

    type: Literal["predicate"]
    name: str | None = None
    probability: float

    def read(self, asked: Decision) -> Score:
        """Return what was read of true and false."""
        return read_of(asked, [self.probability, 1 - self.probability])


class ChoiceProbability(BaseModel):
    """One option's. Its value has a type: the text ``true`` is not the boolean."""

    value: StrictStr | StrictBool
    probability: float


class Chosen(BaseModel):
    """The probabilities of a choice's options."""

    type: Literal["choice"]
    name: str | None = None
    probabilities: tuple[ChoiceProbability, ...]
    confidence: float | None = None

    def read(self, asked: Decision) -> Score:
        """Return what was read, in the order of the options, whatever the reply's is."""
        told = [(one.value, one.probability) for one in self.probabilities]
        return _by_value(told, [option.name for option in asked.options], asked, self.confidence)


class LevelProbability(BaseModel):
    """One level's, by its place from 0."""

    value: int
    probability: float


class Scored(BaseModel):
    """The probabilities of a scale's levels."""

    type: Literal["score"]
    name: str | None = None
    probabilities: tuple[LevelProbability, ...]
    confidence: float | None = None

    def read(self, asked: Decision) -> Score:
        """Return what was read, from the lowest level up, whatever the reply's order is."""
        told = [(one.value, one.probability) for one in self.probabilities]
        return _by_value(told, list(range(len(asked.options))), asked, self.confidence)


class Refusal(BaseModel):
    """The model declined to answer this question."""

    type: Literal["refusal"]
    name: str | None = None

    def read(self, asked: Decision) -> Score:
        """Return that there is nothing to read."""
        return unreadable(REFUSED, asked)


Answer = Annotated[Predicate | Chosen | Scored | Refusal, Field(discriminator="type")]


class DecisionsReply(DecisionReply):
    """The answers, each with its question's name: so their order does not matter."""

    answers: tuple[Answer, ...]

    def scores(self, asked: Mapping[str, Decision]) -> Mapping[str, Score]:
        """See `DecisionReply.scores`."""
        found: dict[str, Score] = {}
        for answer in self.answers:
            if answer.name is None or answer.name not in asked or answer.name in found:
                raise other_questions(answer.name)
            found[answer.name] = _score(answer, asked[answer.name])
        return found


class Decisions(Api):
    """``POST /v1/decisions``."""

    def body(self, text: str, questions: Mapping[str, Decision]) -> dict[str, object]:
        """See `Api.body`."""
        return {"input": text, "questions": [_question(name, read) for name, read in questions.items()]}


API = Decisions("decisions", "/decisions", DecisionsReply, most_questions=64, most_choices=255, most_levels=10)


def open_engine(target: str, options: dict[str, str]) -> Engine:
    """Open a server of this API; see the module's docstring, and `open_api` for what it raises."""
    return open_api(API, target, options)


def _score(answer: Predicate | Chosen | Scored | Refusal, asked: Decision) -> Score:
    if answer.type not in (asked.type, "refusal"):
        return unreadable(f"the server answered a {asked.type} with a {answer.type}", asked)
    return answer.read(asked)


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
    told: Sequence[tuple[str | int, float]], values: Sequence[str | int], asked: Decision, confidence: float | None
) -> Score:
    found = dict(told)
    if len(found) < len(told) or found.keys() != set(values):
        return unreadable(f"the server answered about {[value for value, _ in told]}, and not about {values}", asked)
    return read_of(asked, [found[value] for value in values], confidence=confidence)
