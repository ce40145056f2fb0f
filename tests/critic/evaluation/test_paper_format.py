"""The paper's prompts in its own layout, with texts of our own; `tests/golden` holds the published ones to the byte."""

import json
from pathlib import Path

import pytest

from constitution.importers.cai_paper import Paper, read_paper
from critic.evaluation import paper_format
from critic.records import Message

REQUEST = {
    "prompt": ["\n\nCritiqueRequest: Rude?\n\nCritique:"],
    "edit_request": "\n\nRevisionRequest: Mend it.\n\nRevision:",
}
SHOT = (
    "\n\nHuman: Hi.\n\nAssistant: Go.\n\nCritiqueRequest: Rude?\n\nCritique: Yes."
    "\n\nRevisionRequest: Mend it.\n\nRevision: Hello!"
)
REASONED = (
    "\n\nHuman: Consider the following conversation between a human (H) and an assistant (A):\n\nH: Hey."
    "\n\n{}\n (A) [[[What?]]]\n (B) [[[Hello!]]]\n\nAssistant: Let's think step by step: (B) greets back."
    "\n\nHuman:\nSo the answer is: (B)"
)
FILES = {
    "requests": {"kind0": REQUEST},
    "comparisons": ["\nTake the kinder one. Options:"],
    "few_shots": [f"{SHOT}\n\nHuman:"],
    "contrasts": [
        {"prompt": "\n\nHuman: May I come in?\n\nAssistant:", "corrects": ["Please do."], "incorrects": ["No."]},
        {"prompt": "\n\nHuman: Is it late?\n\nAssistant:", "corrects": ["It is ten."], "incorrects": ["Buy a watch."]},
    ],
    "reasoned": [{"prompt": REASONED}],
}
CHAT = (
    Message(role="user", content="A joke, please."),
    Message(role="assistant", content=" Which kind? "),
    Message(role="user", content="A short one.\n\nOr two."),
)


@pytest.fixture
def paper(tmp_path: Path) -> Paper:
    for name, content in FILES.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content), "utf-8")
    return read_paper([tmp_path / f"{name}.json" for name in FILES])


def test_a_transcript_is_read_as_it_is_written() -> None:
    text = "\n\nHuman: A joke, please.\n\nAssistant:  Which kind? \n\nHuman: A short one.\n\nOr two."
    assert paper_format.transcript(CHAT) == text
    assert paper_format.messages_of(text) == CHAT
    assert paper_format.messages_of(text + "\n\nAssistant:") == CHAT
    assert paper_format.messages_of(text.lstrip()) == CHAT


@pytest.mark.parametrize(
    "text", ["Is grass green?", "Here is a chat:\n\nHuman: Hi.\n\nAssistant: Hey.\n\nWas it kind?"]
)
def test_text_that_does_not_begin_with_a_turn_is_one_message(text: str) -> None:
    assert paper_format.messages_of(text) == (Message(role="user", content=text),)


def test_a_system_message_has_no_place() -> None:
    with pytest.raises(ValueError, match="no place for a system message"):
        paper_format.transcript((Message(role="system", content="Be brief."), *CHAT))


def test_multiple_choice(paper: Paper) -> None:
    [instruction] = paper.comparisons
    asked = paper_format.multiple_choice(CHAT[:1], instruction, ("Knock, knock.", "No."))
    assert asked == (
        "\n\nConsider the following conversation between a human and an assistant:"
        "\n\nHuman: A joke, please.\n\n\nTake the kinder one. Options:"
        "\n (A) [[[Knock, knock.]]]\n (B) [[[No.]]]\n\nThe answer is:"
    )
    middle = "\n\n\nTake the kinder one. Options:"
    few_shots = (
        f"{paper_format.INTRODUCTION}\n\nHuman: May I come in?{middle}"
        "\n (A) [[[Please do.]]]\n (B) [[[No.]]]\n\nThe answer is: (A)"
        f"{paper_format.INTRODUCTION}\n\nHuman: Is it late?{middle}"
        "\n (A) [[[Buy a watch.]]]\n (B) [[[It is ten.]]]\n\nThe answer is: (B)"
    )
    shots = paper_format.few_shots(paper.contrasts, instruction)
    again = paper_format.multiple_choice(CHAT[:1], instruction, ("Knock, knock.", "No."), shots)
    assert again == few_shots + asked


def test_reasoned_choice(paper: Paper) -> None:
    [instruction] = paper.comparisons
    asked = paper_format.reasoned_choice(CHAT, instruction, ("Knock, knock.", "No."), paper.reasoned)
    assert asked == (
        REASONED.replace("{}", "\nTake the kinder one. Options:")
        + "\n\nHuman: Consider the following conversation between a human (H) and an assistant (A):"
        "\n\nH: A joke, please.\n\nA:  Which kind? \n\nH: A short one.\n\nOr two.\n\n\nTake the kinder one. Options:"
        "\n (A) [[[Knock, knock.]]]\n (B) [[[No.]]]\n\nAssistant: Let's think step by step:"
    )


def test_critique_and_revision(paper: Paper) -> None:
    [request] = paper.requests
    chat = (*CHAT[:1], Message(role="assistant", content="No!"))
    asked = "\n\nHuman: A joke, please.\n\nAssistant: No!\n\nCritiqueRequest: Rude?\n\nCritique:"
    assert paper_format.critique(chat, request, paper.few_shots) == SHOT + asked
    assert paper_format.revision(chat, request, "Very.", paper.few_shots) == (
        f"{SHOT}{asked} Very.\n\nRevisionRequest: Mend it.\n\nRevision:"
    )
