"""What a mode says that it asks by is what it asks by: each text of a principle is changed, and the calls compared."""

from typing import Any

import pytest

from constitution import Principle
from constitution.schema import READ_BY_MODELS, Example
from critic.engine import Choices, Completion, Decision, Lane, Node, Read, Request, Score, reads
from critic.engines import parse_spec
from critic.judging import mode_of
from critic.judging.base import Question
from critic.judging.modes import MODES
from critic.local.rewards import UNGROUPED, capability
from tests.factories import FakeEngine, prompt

TEXTS = {
    "id": "kind",
    "title": "Kindness",
    "statement": "Be kind.",
    "critique": "Say what is unkind.",
    "revision": "Make it kind.",
    "compare": "Which is kinder?",
    "opposite": "Be rude.",
}
ENGINES = {"text": "scripted:s", "rewards": "verify:max-words=9", "decisions": "systemone:m"}


class Listening(FakeEngine):
    """Keeps all that it is asked, and says as little as a mode can read."""

    capabilities = capability((UNGROUPED,))

    def __init__(self) -> None:
        super().__init__("listening")
        self.asked: list[object] = []

    async def complete(self, request: Request, lane: Lane = "batch") -> Completion:
        self.asked.append(request)
        return Completion("A", "stop")

    async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
        asked = list(reads(tree))
        self.asked += [(path, read) for path, read, _ in asked]
        return tuple(Score((-1.0,) * _width(read), 1, 1.0) for _, read, _ in asked)


def _width(read: Read) -> int:
    if isinstance(read, Choices):
        return len(read.texts)
    return read.answers if isinstance(read, Decision) else 1


async def asked(text: str, principle: Principle) -> list[object]:
    """Everything that an engine is asked for one comparison."""
    name = text.partition("?")[0]
    engine = Listening()
    question = Question(prompt("Hello?"), "Hi.", "What now?", (principle,), seed=3)
    await mode_of(text, parse_spec(ENGINES[MODES[name].reads])).votes(engine, question)
    assert engine.asked
    return engine.asked


@pytest.mark.parametrize(
    "text",
    [
        *MODES,
        "logprob?prior=true",
        "contrast?against=none",
        "contrast?against=prompt",
        "decision?ask=predicate",
        "decision?ask=score",
        "cot?samples=2",
    ],
)
@pytest.mark.parametrize("field", READ_BY_MODELS)
async def test_a_mode_asks_by_what_it_says(text: str, field: str) -> None:
    example = Example(prompt="p", response="r", critique="c", revision="v")
    changed: Any = {"examples": (example,), "id": "other"}.get(field, "Something else.")
    one = Principle.model_validate(TEXTS)
    other = one.model_copy(update={field: changed})
    mode = mode_of(text, parse_spec(ENGINES[MODES[text.partition("?")[0]].reads]))
    assert (await asked(text, one) == await asked(text, other)) == (mode.asked_by(one) == mode.asked_by(other))


async def test_a_principle_without_an_opposite_is_another_question_where_the_opposite_is_read() -> None:
    one = Principle.model_validate(TEXTS)
    other = one.model_copy(update={"opposite": None})
    assert mode_of("contrast", parse_spec("scripted:s")).asked_by(one) != mode_of(
        "contrast", parse_spec("scripted:s")
    ).asked_by(other)


async def test_modes_that_read_no_principle_say_so() -> None:
    none = {
        text
        for text in ("rm", "contrast?against=prompt", "logprob")
        if _mode(text).asked_by(Principle.model_validate(TEXTS)) is None
    }
    assert none == {"rm", "contrast?against=prompt"}


def _mode(text: str) -> Any:
    return mode_of(text, parse_spec(ENGINES[MODES[text.partition("?")[0]].reads]))
