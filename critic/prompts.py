"""Every text that a judge is shown: templates, their hashes, and the fencing of text that nobody vouches for.

Templates are Jinja2 in a sandbox, with undefined names as errors. Prompts, responses and principles enter them as
values, never as templates. Responses and conversations stand between lines that carry a mark derived from the seed and
the content: text can't forge a line whose mark it would have to contain. The models' own control tokens are kept out
of content by the engines (`critic.chats.chat`).
"""

from functools import cache
from importlib import resources
from string import ascii_lowercase
from typing import Any

from jinja2 import BaseLoader, StrictUndefined, Template
from jinja2.sandbox import ImmutableSandboxedEnvironment

from base.digest import digest
from constitution import Principle
from critic.engine import Decision, DecisionOption, DecisionType
from critic.records import Message, Prompt

NOTHING_TO_REVISE = "NOTHING TO REVISE"

_ENVIRONMENT = ImmutableSandboxedEnvironment(
    loader=BaseLoader(), undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True, trim_blocks=False
)


def template_digests() -> dict[str, str]:
    """SHA-256 of each template's text, by name: part of a run's identity."""
    names = ("contrast", "cot", "critique", "decision", "logprob", "plain", "score", "verdict")
    return {name: digest(_source(name)) for name in names}


def critique_chat(prompt: Prompt, response: str, principle: Principle, seed: int) -> tuple[Message, ...]:
    """Ask for a critique of ``response`` under ``principle``, after the principle's examples, each in full."""
    chat = [Message(role="system", content=_render("critique", "system"))]
    for example in principle.examples:  # seed 0: the same text for every response, so that a prefix cache keeps it
        earlier = tuple(Message(role=turn.role, content=turn.content) for turn in example.history)
        asked = (*earlier, Message(role="user", content=example.prompt))
        chat += [
            _ask_critique(asked, example.response, principle, 0),
            Message(role="assistant", content=example.critique),
            _ask_revision(principle),
            Message(role="assistant", content=example.revision),
        ]
    return (*chat, _ask_critique(prompt.messages, response, principle, seed))


def revision_chat(critique_chat: tuple[Message, ...], critique: str, principle: Principle) -> tuple[Message, ...]:
    """Ask for the revision, in the chat in which the critique was given."""
    return (*critique_chat, Message(role="assistant", content=critique), _ask_revision(principle))


def conversation_parts(prompt: Prompt, mark: str) -> tuple[Message, ...]:
    """The root of a `logprob` tree: the system message, and the conversation as the user's turn begins."""
    return (
        Message(role="system", content=_render("logprob", "system")),
        Message(role="user", content=_render("logprob", "conversation", mark=mark, messages=_shown(prompt.messages))),
    )


def responses_part(first: str, second: str, mark: str) -> Message:
    """The two responses in the order shown; the user's turn goes on."""
    return Message(role="user", content=_render("logprob", "responses", mark=mark, first=first, second=second))


def question_part(principle: Principle) -> Message:
    """One principle's question; the user's turn ends here."""
    return Message(role="user", content=_render("logprob", "question", principle=principle))


def reasoning_part(principle: Principle) -> Message:
    """One principle's question, to be thought through first; the user's turn ends here."""
    return Message(role="user", content=_render("cot", "question", principle=principle))


def answer_part() -> Message:
    """What asks for the letter after the reasoning, as the user's next turn."""
    return Message(role="user", content=_render("cot", "answer"))


def verdict_part(principle: Principle) -> Message:
    """One principle's question, to be answered in JSON; the user's turn ends here."""
    return Message(role="user", content=_render("verdict", "question", principle=principle))


def score_parts(prompt: Prompt, mark: str) -> tuple[Message, ...]:
    """The root of a `score` tree: the system message, and the conversation as the user's turn begins."""
    return (
        Message(role="system", content=_render("score", "system")),
        Message(role="user", content=_render("logprob", "conversation", mark=mark, messages=_shown(prompt.messages))),
    )


def response_part(response: str, mark: str) -> Message:
    """The response to be scored; the user's turn goes on."""
    return Message(role="user", content=_render("score", "response", mark=mark, response=response))


def score_part(principle: Principle) -> Message:
    """One principle's question, to be answered by a digit; the user's turn ends here."""
    return Message(role="user", content=_render("score", "question", principle=principle))


def decided_pair(prompt: Prompt, first: str, second: str, mark: str) -> Message:
    """The text that a choice is about: the conversation, and two responses in the order shown."""
    shown = _render("decision", "responses", mark=mark, first=first, second=second)
    return Message(role="user", content=_decided_conversation(prompt, mark) + shown)


def decided_response(prompt: Prompt, response: str, mark: str) -> Message:
    """The text that a predicate or a score is about: the conversation, and one response."""
    shown = _render("decision", "response", mark=mark, response=response)
    return Message(role="user", content=_decided_conversation(prompt, mark) + shown)


def decision(principle: Principle, kind: DecisionType) -> Decision:
    """One principle's typed question."""
    names = {"choice": "options", "score": "levels"}
    options = tuple(_render("decision", names[kind]).splitlines()) if kind in names else ()
    return Decision(kind, _render("decision", kind, principle=principle), tuple(map(DecisionOption, options)))


def no_prompt() -> Message:
    """What stands in the prompt's place where a response's likelihood is read without it."""
    return Message(role="user", content=_render("contrast", "no_prompt"))


def under_part(principle: Principle) -> Message:
    """What puts the conversation under ``principle``; the user's turn goes on and ends."""
    return Message(role="user", content=_render("contrast", "under", principle=principle))


def against_part(principle: Principle) -> Message:
    """What puts the conversation under the opposite of ``principle``, which must have one."""
    return Message(role="user", content=_render("contrast", "against", principle=principle))


def plain_chat(prompt: Prompt, first: str, second: str, principle: Principle) -> tuple[Message, ...]:
    """Ask which response is better with nothing marked off: the control for `critic.evaluation.injection`."""
    text = _render(
        "plain", "question", messages=_shown(prompt.messages), first=first, second=second, principle=principle
    )
    return (Message(role="user", content=text),)


def fence_mark(seed: int, *texts: str, avoiding: tuple[str, ...] = ()) -> str:
    """Return six letters, fixed by seed and texts, that occur in none of the texts (in either letter case).

    Nor do they occur in those to be avoided, which play no other part: so pages that show the same texts beside
    others have the same mark, unless one of the others holds it.

    Letters, because most tokenizers spend one token on each digit.
    """
    attempt = 0
    while True:
        number = int(digest(["fence", seed, attempt, *texts]), 16)
        mark = "".join(ascii_lowercase[number // 26**place % 26] for place in range(6))
        if not any(mark in text.lower() for text in (*texts, *avoiding)):
            return mark
        attempt += 1


def finds_nothing(critique: str) -> bool:
    """Whether a critique's first line is the agreed phrase for "no fault", give or take punctuation and case."""
    first_line = critique.strip().splitlines()[0] if critique.strip() else ""
    return " ".join("".join(c if c.isalnum() else " " for c in first_line).split()).upper() == NOTHING_TO_REVISE


def _decided_conversation(prompt: Prompt, mark: str) -> str:
    return _render("decision", "frame") + _render("logprob", "conversation", mark=mark, messages=prompt.messages)


def _ask_critique(messages: tuple[Message, ...], response: str, principle: Principle, seed: int) -> Message:
    mark = fence_mark(seed, *(m.text for m in messages), response)
    text = _render(
        "critique",
        "critique",
        messages=_shown(messages),
        response=response,
        principle=principle,
        mark=mark,
        nothing=NOTHING_TO_REVISE,
    )
    return Message(role="user", content=text)


def _ask_revision(principle: Principle) -> Message:
    return Message(role="user", content=_render("critique", "revision", principle=principle))


def _shown(messages: tuple[Message, ...]) -> list[dict[str, str]]:
    """Return a conversation for templates, with tool calls as text: a judge reads what was called."""
    return [{"role": message.role, "content": message.text} for message in messages]


@cache
def _source(name: str) -> str:
    return (resources.files("critic") / "templates" / f"{name}.j2").read_text(encoding="utf-8")


@cache
def _template(name: str) -> Template:
    return _ENVIRONMENT.from_string(_source(name))


def _render(name: str, block: str, **values: Any) -> str:
    template = _template(name)
    return "".join(template.blocks[block](template.new_context(values)))
