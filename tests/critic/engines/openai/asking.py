"""Short names for what an engine is asked."""

from typing import Any

from critic.engine import Choices, Node, Request, Sampling
from critic.records import Message


def user(text: str) -> Message:
    return Message(role="user", content=text)


def assistant(text: str) -> Message:
    return Message(role="assistant", content=text)


def request(*messages: Message, seed: int = 5, **sampling: Any) -> Request:
    return Request(messages or (user("hi"),), Sampling(**{"max_tokens": 16} | sampling), seed)


def question(*texts: str, choices: tuple[str, ...] = ("A", "B")) -> Node:
    return Node(tuple(map(user, texts)), Choices(choices))
