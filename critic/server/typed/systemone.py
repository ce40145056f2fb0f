"""The shape of ``POST /v1/systemone``, and how a server of it is opened (`critic.engines.systemone`)."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

from pydantic import BaseModel

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

# This project's word for a question's type -> the API's.
_TYPES = {"choice": "choice", "predicate": "noul", "score": "score"}


class Noul(DecisionAnswer):
    """A statement's probability of being true. ``probabilities`` has those of yes and no, where they are told."""

    type: Literal["noul"]
    noul: float
    probabilities: dict[str, float] | None = None
    confidence: float | None = None

    def read(self, asked: Decision, mass: float | None) -> Score:
        """See `DecisionAnswer.read`. One side from the other would lose the digits of a small one."""
        told = self.probabilities or {}
        sides = [told["yes"], told["no"]] if told.keys() == {"yes", "no"} else [self.noul, 1 - self.noul]
        return read_of(asked, sides, mass, self.confidence)


class SystemOneChoice(DecisionAnswer):
    """The probabilities of a choice's options, by name."""

    type: Literal["choice"]
    probabilities: dict[str, float]
    confidence: float | None = None

    def read(self, asked: Decision, mass: float | None) -> Score:
        """See `DecisionAnswer.read`: in the order of the options."""
        return _by_key(self.probabilities, [option.name for option in asked.options], asked, mass, self.confidence)


class SystemOneScale(DecisionAnswer):
    """The probabilities of a scale's levels, by their place from 0."""

    type: Literal["score"]
    probabilities: dict[str, float]
    confidence: float | None = None

    def read(self, asked: Decision, mass: float | None) -> Score:
        """See `DecisionAnswer.read`: from the lowest level up."""
        places = [str(place) for place in range(len(asked.options))]
        return _by_key(self.probabilities, places, asked, mass, self.confidence)


class Diagnostics(BaseModel):
    """vLLM's: the probability of any label, over the whole vocabulary."""

    label_mass: float | None = None


class SystemOneReply(DecisionReply):
    """Answers and diagnostics, by the question's id."""

    forms: ClassVar[Mapping[str, type[DecisionAnswer]]] = {
        "choice": SystemOneChoice,
        "predicate": Noul,
        "score": SystemOneScale,
    }

    answers: dict[str, Any]
    diagnostics: dict[str, Diagnostics] | None = None

    def told(self) -> Iterator[tuple[object, object, float | None]]:
        """See `DecisionReply.told`."""
        for name, answer in self.answers.items():
            diagnostic = (self.diagnostics or {}).get(name)
            yield name, answer, diagnostic.label_mass if diagnostic is not None else None


class SystemOne(Api):
    """``POST /v1/systemone``."""

    def body(self, text: str, questions: Mapping[str, Decision]) -> dict[str, object]:
        """See `Api.body`."""
        asked = {name: _question(read) for name, read in questions.items()}
        return {"state": text, "questions": asked}


API = SystemOne("systemone", "/systemone", SystemOneReply, most_questions=64, most_choices=26, most_levels=10)


def open_engine(target: str, options: dict[str, str]) -> Engine:
    """Open a server of this API; see the module's docstring, and `open_api` for what it raises."""
    return open_api(API, target, options)


def expect_there(target: str, options: dict[str, str]) -> None:
    """Raise `InputError` where the server isn't there."""
    expect_api(API, target, options)


def _question(read: Decision) -> dict[str, object]:
    asked: dict[str, object] = {"type": _TYPES[read.type], "instructions": read.instructions}
    match read.type:
        case "choice":
            asked["criteria"] = {option.name: option.description or None for option in read.options}
        case "score":
            asked["criteria"] = [
                f"{option.name}: {option.description}" if option.description else option.name for option in read.options
            ]
        case "predicate":
            pass
    return asked


def _by_key(
    told: Mapping[str, float], keys: list[str], asked: Decision, mass: float | None, confidence: float | None
) -> Score:
    if told.keys() != set(keys):
        return unreadable(f"the server answered about {sorted(told)}, and not about {keys}", asked)
    return read_of(asked, [told[key] for key in keys], mass, confidence)
