"""Every rendered prompt is a file in ``snapshots/``: a change of a template is a visible diff.

``CAI_UPDATE_SNAPSHOTS=1 pytest tests/critic/test_prompts.py`` writes them anew.
"""

import asyncio
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from constitution import Principle
from constitution.schema import Example
from critic import prompts
from critic.engines import parse_spec
from critic.engines.base import Completion, Lane, Node, Request, Score, reads
from critic.engines.scripted import Rule, Script, ScriptedEngine
from critic.judging import mode_of
from critic.judging.base import Question
from critic.records import Message, Prompt

SNAPSHOTS = Path(__file__).parent / "snapshots"
CALM = Principle(
    id="calm",
    title="Stay calm",
    statement="Answer calmly, also when the user is upset.",
    critique="Point at words in the response that would make an upset user angrier.",
    revision="Rewrite the response so that it calms the user down.",
    compare="Which response would calm an upset user more?",
    opposite="Answer in a way that upsets the user.",
)
TAUGHT = CALM.model_copy(
    update={
        "id": "taught",
        "examples": (
            Example.model_validate(
                {
                    "prompt": "My train is late again!",
                    "response": "That is your own fault.",
                    "critique": "It blames the user.",
                    "revision": "That is annoying. Shall we look for another connection?",
                }
            ),
        ),
    }
)
BARE = CALM.model_copy(update={"id": "bare", "opposite": None})
PROMPT = Prompt(
    messages=(
        Message(role="system", content="You help travellers."),
        Message(role="user", content="Where is my bag?"),
        Message(role="assistant", content="In which town did you lose it?"),
        Message(role="user", content="You lost it, not me!"),
    )
)
QUESTION = Question(PROMPT, "I am sorry. Let us find it.", "Calm down.", (CALM, BARE), seed=0)


def chat(messages: tuple[Message, ...]) -> str:
    return "\n".join(f"--- {m.role}\n{m.content}" for m in messages) + "\n"


def asked(mode: str) -> str:
    """Every chat that a mode asks its judge, in order."""

    class Judge(ScriptedEngine):
        async def complete(self, request: Request, lane: Lane = "batch") -> Completion:
            shown.append(f"{chat(request.messages)}>>> {request.sampling} {request.json_schema or ''}".rstrip())
            return await super().complete(request, lane)

        async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
            shown.extend(f"{chat(path)}>>> {read}" for path, read, _ in reads(tree))
            return await super().score(tree, lane)

    shown: list[str] = []
    judge = Judge(Script(replies=(Rule(reply="Both are short."),)))
    asyncio.run(mode_of(mode, parse_spec("scripted:s")).votes(judge, QUESTION))
    return "\n=========\n".join(shown) + "\n"


def rendered() -> dict[str, str]:
    critique = prompts.critique_chat(PROMPT, QUESTION.second, TAUGHT, seed=0)
    return {
        "critique": chat(critique),
        "revision": chat(prompts.revision_chat(critique, "It orders the user about.", TAUGHT)),
        "logprob": asked("logprob"),
        "contrast": asked("contrast"),
        "contrast_prompt": asked("contrast?against=prompt"),
        "cot": asked("cot"),
        "verdict": asked("verdict"),
        "score": asked("score"),
        "plain": chat(prompts.plain_chat(PROMPT, QUESTION.first, QUESTION.second, CALM)),
    }


@pytest.mark.parametrize("name", sorted(rendered()))
def test_prompts_are_as_in_their_snapshots(name: str) -> None:
    file = SNAPSHOTS / f"{name}.txt"
    if os.environ.get("CAI_UPDATE_SNAPSHOTS"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(rendered()[name])
    assert rendered()[name] == file.read_text()


def test_every_template_is_hashed() -> None:
    folder = Path(prompts.__file__).parent / "templates"
    assert sorted(prompts.template_hashes()) == sorted(file.stem for file in folder.glob("*.j2"))


def test_text_is_a_value_and_never_a_template() -> None:
    hostile = "{{ 7 * 7 }} {% for x in [] %} {{ mark }}"
    asked = prompts.critique_chat(PROMPT, hostile, CALM.model_copy(update={"critique": hostile}), seed=0)
    assert asked[-1].content.count(hostile) == 2


@given(st.text(), st.integers())
def test_no_text_can_hold_the_mark_of_its_own_fence(text: str, seed: int) -> None:
    mark = prompts.fence_mark(seed, text)
    assert mark not in text.lower()
    assert mark == prompts.fence_mark(seed, text)


@pytest.mark.parametrize(
    ("critique", "nothing"),
    [
        ("NOTHING TO REVISE", True),
        ('"Nothing to revise."', True),
        ("**NOTHING TO REVISE**\nIt is calm already.", True),
        ("There is nothing to revise in tone, but the facts are wrong.", False),
        ("Nothing to revise? Hardly.", False),
        ("", False),
    ],
)
def test_nothing_to_revise_is_read_from_the_first_line(critique: str, nothing: bool) -> None:
    assert prompts.finds_nothing(critique) is nothing
