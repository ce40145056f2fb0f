"""Chats that were written out by a policy's chat template, as trainers send them, back to messages.

What the policy thought before it answered is no part of the answer, whoever opened the thoughts: it or its template.
Three templates are known by their control tokens. A text in another one is refused, never taken for something a person
wrote; a text without any control token is one message.
"""

import re
from dataclasses import dataclass

from critic.chats import reasoning
from critic.records import Message, Prompt

_ROLES = {"system": "system", "user": "user", "assistant": "assistant", "model": "assistant"}
_BEGINNINGS = ("<|begin_of_text|>", "<bos>", "<s>")
_ENDS = ("<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>", "<eos>", "</s>")
_CONTROL = re.compile(r"<[|\uff5c][^<>|\uff5c]{1,40}[|\uff5c]>|<(start|end)_of_turn>|\[/?INST\]|<</?SYS>>")


class ChatTextError(ValueError):
    """The text can't be read as a chat."""


@dataclass(frozen=True, slots=True)
class TurnMarks:
    """A turn is ``start`` role ``after_role`` content ``end``."""

    start: str
    after_role: str
    end: str


TEMPLATES = (
    TurnMarks("<|im_start|>", "\n", "<|im_end|>"),  # ChatML: Qwen, SmolLM ...
    TurnMarks("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),  # Llama 3
    TurnMarks("<start_of_turn>", "\n", "<end_of_turn>"),  # Gemma
)


def split(query: str, prompt: str | None) -> tuple[Prompt, str | None]:
    """The prompt and the response that ``query`` joins; None for one that is all thoughts. Raises `ChatTextError`.

    Without ``prompt``, the query has to be in a known template, and its last turn is the response.
    """
    if prompt is None:
        *turns, last = _turns(query) or [Message(role="user", content="")]
        if last.role != "assistant":
            raise ChatTextError("the query does not end with an answer in a known chat template; send prompts, too")
        return _prompt(turns), answer_of(last.content)
    before, given, response = query.partition(prompt) if prompt else (query, "", "")
    if not given or before.strip() not in ("", *_BEGINNINGS):
        raise ChatTextError("the query does not begin with its prompt")
    return prompt_of(prompt), answer_of(_without_end(response), prompt)


def answer_of(response: str, prompt: str = "") -> str | None:
    """The answer in what a policy wrote after ``prompt``, without its thoughts; None where there is nothing else."""
    answer, thoughts = reasoning.split(response, opened=reasoning.opens(prompt))
    return None if thoughts is not None and not answer.strip() else answer


def prompt_of(text: str) -> Prompt:
    """The prompt that a text is: a written-out chat up to where the answer begins, or one message."""
    turns = _turns(text)
    if turns is None:
        if control := _CONTROL.search(text):
            raise ChatTextError(f"the prompt is written in a chat template that is not known here ({control[0]})")
        turns = [Message(role="user", content=text.strip())]
    elif turns[-1].role == "assistant" and not any(reasoning.split(turns[-1].content)):
        turns.pop()  # the answer's turn, with the opening of its thoughts or with an empty block of them
    return _prompt(turns)


def _prompt(turns: list[Message]) -> Prompt:
    try:
        return Prompt(messages=tuple(turns))
    except ValueError as error:
        raise ChatTextError(str(error).partition("Value error, ")[2].partition(" [type")[0] or str(error)) from None


def _turns(text: str) -> list[Message] | None:
    """The turns of a text in a known template; None where it is in none."""
    for template in TEMPLATES:
        head, *parts = text.split(template.start)
        if parts and head.strip() in ("", *_BEGINNINGS):
            return [_turn(part, template) for part in parts]
    return None


def _turn(text: str, template: TurnMarks) -> Message:
    role, _, content = text.partition(template.after_role)
    if role.strip() not in _ROLES:
        raise ChatTextError(f"a turn of {role.strip()[:40]!r} can't be read; expected system, user or assistant")
    return Message.model_validate({"role": _ROLES[role.strip()], "content": _without_end(content)})


def _without_end(text: str) -> str:
    """A turn's content without what ends it."""
    text = text.strip()
    while end := next((end for end in _ENDS if text.endswith(end)), None):
        text = text.removesuffix(end).strip()
    return text
