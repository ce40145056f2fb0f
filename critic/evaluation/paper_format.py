"""The prompts of the Constitutional AI paper, from its published strings (Bai et al. 2022, sections 3.1 and 4.1).

`constitution.importers.cai_paper` reads instructions and few-shots; what stands around them here is the layout of the
published few-shots and evaluation files, to the byte. The files don't say how few-shots follow one another, nor where
their right answers stand: here one stands right behind the other (without the open turn that some of them end with),
and the right answer is A and B in turn.

A transcript is two line feeds, ``Human:`` or ``Assistant:``, a space and the text, turn after turn.
"""

import re
from collections.abc import Iterable, Sequence

from constitution.importers.cai_paper import PaperContrast, PaperRequest
from critic.records import Message, Role

INTRODUCTION = "\n\nConsider the following conversation between a human and an assistant:"
ANSWER = "\n\nThe answer is:"
REASONING_INTRODUCTION = "\n\nHuman: Consider the following conversation between a human (H) and an assistant (A):"
REASONING = "\n\nAssistant: Let's think step by step:"
VERDICT = "\n\nHuman:\nSo the answer is:"

_SPEAKERS = {"user": "Human", "assistant": "Assistant"}
_ROLES: dict[str, Role] = {"Human": "user", "Assistant": "assistant"}
_TURN = re.compile(r"(?:\A\n{0,2}|\n\n)(Human|Assistant):")


def transcript(messages: Sequence[Message], speakers: dict[str, str] = _SPEAKERS) -> str:
    """Write a conversation. Raises ValueError for a system message: the paper's transcripts have none."""
    if any(message.role not in speakers for message in messages):
        raise ValueError("the paper's transcripts have no place for a system message")
    return "".join(f"\n\n{speakers[message.role]}: {message.text}" for message in messages)


def messages_of(text: str) -> tuple[Message, ...]:
    """Read a transcript, without an open turn at its end. Text that doesn't begin with a turn is one user message."""
    before, *parts = _TURN.split(text)
    if before or not parts:
        return (Message(role="user", content=text),)
    turns = [
        Message(role=_ROLES[speaker], content=content.removeprefix(" "))
        for speaker, content in zip(parts[::2], parts[1::2], strict=True)
    ]
    return tuple(turns if turns[-1].role == "user" or turns[-1].content.strip() else turns[:-1])


def letters(count: int) -> tuple[str, ...]:
    """The names of ``count`` options: A, B and so on."""
    return tuple(chr(ord("A") + i) for i in range(count))


def options(responses: Sequence[str]) -> str:
    """Responses to choose from, each under its letter."""
    named = zip(letters(len(responses)), responses, strict=True)
    return "".join(f"\n ({letter}) [[[{response}]]]" for letter, response in named)


def stem(messages: Sequence[Message], instruction: str) -> str:
    """The beginning of a multiple-choice question: all before its options."""
    return f"{INTRODUCTION}{transcript(messages)}\n\n{instruction}"


def multiple_choice(
    messages: Sequence[Message],
    instruction: str,
    responses: Sequence[str],
    few_shots: Iterable[tuple[str, str]] = (),
) -> str:
    """The question that `` (A)`` or `` (B)`` answers, read by log-probability (section 4.1).

    ``instruction`` is a published comparison instruction; ``few_shots`` are questions with their answers.
    """
    shots = "".join(question + answer for question, answer in few_shots)
    return f"{shots}{stem(messages, instruction)}{options(responses)}{ANSWER}"


def few_shots(contrasts: Sequence[PaperContrast], instruction: str) -> tuple[tuple[str, str], ...]:
    """Published few-shots with a right and a wrong answer as questions and answers."""
    shots = []
    for number, contrast in enumerate(contrasts):
        responses, answer = (contrast.corrects[0], contrast.incorrects[0]), " (A)"
        if number % 2:
            responses, answer = responses[::-1], " (B)"
        shots.append((multiple_choice(messages_of(contrast.prompt), instruction, responses), answer))
    return tuple(shots)


def reasoned_choice(
    messages: Sequence[Message], instruction: str, responses: Sequence[str], few_shots: Iterable[str] = ()
) -> str:
    """The question that is reasoned about before it is answered (section 4.1, chain of thought).

    The reasoning is followed by `VERDICT`, and that by an answer as in `multiple_choice`. ``few_shots`` are those that
    reason step by step, as published: each has a place for the instruction.
    """
    shots = "".join(shot.replace("{}", instruction) for shot in few_shots)
    conversation = transcript(messages, {"user": "H", "assistant": "A"})
    return f"{shots}{REASONING_INTRODUCTION}{conversation}\n\n{instruction}{options(responses)}{REASONING}"


def critique(messages: Sequence[Message], request: PaperRequest, few_shots: Iterable[str] = ()) -> str:
    """The request for a critique of the conversation's last response (section 3.1), after few-shots as published."""
    shots = "".join(shot.removesuffix("\n\nHuman:") for shot in few_shots)
    return f"{shots}{transcript(messages)}{request.critique}"


def revision(messages: Sequence[Message], request: PaperRequest, written: str, few_shots: Iterable[str] = ()) -> str:
    """The request for a revision, after the critique ``written``."""
    return f"{critique(messages, request, few_shots)} {written}{request.revision}"
