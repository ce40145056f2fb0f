"""One turn of a chat as files have it: OpenAI's names or ShareGPT's, roles by any of their names, what is left out.

Real sets keep a date, a language or a filter's verdict in each turn: these say nothing to a model, and are not read.
What a model thought is no part of a chat, either, but it is counted. Pictures and sounds are, so a turn with one is
refused.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from critic.files.blocks import in_turns, thoughts
from critic.rows import RowError, Twice

ROLES = {
    "system": "system",
    "developer": "system",
    "human": "user",
    "user": "user",
    "prompter": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "assistant": "assistant",
    "bot": "assistant",
    "chatbot": "assistant",
    "ai": "assistant",
    "model": "assistant",
    "tool": "tool",
    "observation": "tool",
    "function": "tool",
}
_KNOWN = tuple(set(ROLES.values()))
CALL = "function_call"  # ShareGPT: a turn of its own, whose text is the call; OpenAI, once: the call, within a turn
THOUGHTS = ("reasoning_content", "reasoning", "thinking")  # as servers and templates name them
KEPT = ("role", "content", "tool_calls", "tool_call_id", "name")
CHATS = (
    *("prompt", "messages", "conversations", "conversation", "context", "chosen", "rejected", "completion"),
    *("responses", "completions", "context_messages"),
    *("chosen_messages", "rejected_messages", "chosen_conversations", "rejected_conversations"),
)
"""Columns that may hold chats."""
_NAMES = ("role", "from")
_TEXTS = ("content", "value")
_PLAIN = {"role", "content"}
_SPEAKERS = ("user", "assistant", "system")
_MEDIA = ("images", "image", "audio", "audios", "video", "videos")
_READ = frozenset((*KEPT, *_NAMES, *_TEXTS, *_MEDIA, CALL))


def role_of(turn: object) -> object:
    """Return whose turn it is, by its name here; what is no known name as it is, and None where nothing says it."""
    if not isinstance(turn, Mapping):
        return None
    role = next((turn[name] for name in _NAMES if turn.get(name) is not None), None)
    if role == CALL:
        return "assistant"
    return ROLES.get(role.strip().casefold(), role) if isinstance(role, str) else role


def is_plain(turn: object) -> bool:
    """Whether a turn is a role of a chat and a text alone, by the names that they have here: most are."""
    if type(turn) is not dict or turn.keys() != _PLAIN:  # no `Twice`
        return False
    return turn["role"] in _SPEAKERS and isinstance(turn["content"], str)


def plain_turn(turn: Any) -> Any:
    """Return a turn with what is read of it, by the names that it has here; what is no object as it is.

    Tables give every turn the keys that any of them has, so null ones are none. Raises `RowError`.
    """
    if isinstance(turn, Twice):
        raise RowError("same_key", f"a turn has two values under {turn.key[:40]!r}")
    if not isinstance(turn, dict) or (turn.keys() == _PLAIN and turn["role"] in ("user", "assistant")):
        return turn  # as most
    if media := next((name for name in _MEDIA if turn.get(name)), None):
        raise RowError("not_text", f"a turn has something in {media}, and only texts are read")
    if turn.get("from") == CALL and turn.get("role") is None:
        return {"role": "assistant", "content": None, "tool_calls": [_called(turn.get("value"))]}
    text = next((name for name in _TEXTS if name in turn), None)
    kept = {name: turn[name] for name in KEPT if turn.get(name) is not None}
    if (role := role_of(turn)) is not None:
        if role not in _KNOWN:
            raise RowError("role_order", f"a turn from {str(role)[:40]!r}; expected user and assistant, system or tool")
        kept["role"] = role
    if text is not None and turn[text] is not None:
        kept["content"] = turn[text]  # a missing text stays missing: it is no empty one
    if role != "tool":
        kept.pop("name", None)  # of one among several who speak
    calls = [*_listed(kept.pop("tool_calls", None))]
    if turn.get(CALL):
        calls.append(_called(turn[CALL]))
    return kept | {"tool_calls": calls} if calls else kept


def plain_turns(values: Iterable[Any]) -> list[Any]:
    """Return turns as `plain_turn` does; one of blocks may be several. Raises `RowError`."""
    turns: list[Any] = []
    for value in values:
        if isinstance(value, dict) and isinstance(value.get("content"), list):
            turns += map(plain_turn, in_turns(value))
        else:
            turns.append(plain_turn(value))
    return turns


def _listed(calls: Any) -> Iterable[Any]:
    if calls is None:
        return ()
    if not isinstance(calls, list):
        raise RowError("bad_prompt", "tool_calls is not a list")
    return (_without_null(call) for call in calls)


def _without_null(call: object) -> object:
    return {key: value for key, value in call.items() if value is not None} if isinstance(call, dict) else call


def _called(value: object) -> dict[str, Any]:
    """Return a tool call in OpenAI's form. Raises `RowError`."""
    try:
        call = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        call = None
    if not isinstance(call, dict) or "name" not in call:
        raise RowError("bad_prompt", "a function_call is no JSON object with name and arguments")
    arguments = call.get("arguments", {})
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return {"type": "function", "function": {"name": call["name"], "arguments": text}}


def thoughts_in(value: Any) -> int:
    """Return in how many turns of a chat, or of several, a model's thoughts stand, which are left out."""
    if isinstance(value, dict):
        content = value.get("content")
        if isinstance(content, list) and thoughts(content):
            return 1
        # Most turns are plain, and millions are asked.
        if value.keys() == _PLAIN:
            return 0
        if any(value.get(name) for name in THOUGHTS):
            return 1
        return sum(thoughts_in(part) for part in value.values() if isinstance(part, list))
    return thoughts_among(value) if isinstance(value, list) else 0


def thoughts_among(values: Iterable[Any]) -> int:
    """Return the sum of `thoughts_in` of several values."""
    count = 0
    for value in values:
        if value is not None and not isinstance(value, str):  # texts are most, and hold no turns
            count += thoughts_in(value)
    return count


def thinks(columns: Mapping[str, Any]) -> bool:
    """Whether a row's chats say what a model thought."""
    return any(thoughts_in(columns.get(name)) for name in CHATS)


def unread_keys(value: Any) -> Iterable[str]:
    """Yield the keys of a chat's turns that are not read, each as often as it holds something."""
    if isinstance(value, list):
        for turn in value:
            if isinstance(turn, dict) and role_of(turn) is not None:
                yield from (key for key, held in turn.items() if key not in _READ and held not in (None, [], ""))


def texts_in(value: object) -> Iterator[str]:
    """Yield all strings in ``value``, a text or lists and objects of them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from texts_in(inner)
