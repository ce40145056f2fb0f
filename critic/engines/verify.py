"""The `verify` engine: rewards from a program instead of a model, for judges and rewards whose labels are certain.

``verify:RULE`` gives an answer the reward 4.0 (log-odds: one that holds against one that doesn't is a probability of
0.98) where the rule holds, else 0. Rules: ``ends-with=TEXT``, ``contains=TEXT``, ``min-words=N``, ``max-words=N``
(words are what spaces part). Several joined with ``+`` must all hold: ``verify:min-words=5+max-words=40``.
"""

import re
from collections.abc import Callable, Mapping

from base.digest import digest
from base.errors import InputError
from critic.engine import Completion, EngineError, Identity, Lane, Node, Request, Reward, Score, Usage, reads
from critic.engine_kinds.kind import EngineKind
from critic.local.rewards import UNGROUPED, capability
from critic.records import Message

WORTH = 4.0

_TEXT_RULES: dict[str, Callable[[str, str], bool]] = {
    "ends-with": lambda answer, text: answer.rstrip().endswith(text),
    "contains": lambda answer, text: text in answer,
}
_COUNT_RULES: dict[str, Callable[[int, int], bool]] = {
    "min-words": lambda words, limit: words >= limit,
    "max-words": lambda words, limit: words <= limit,
}
_JOINT = re.compile(rf"\+(?=(?:{'|'.join((*_TEXT_RULES, *_COUNT_RULES))})=)")  # a text may hold plus signs
KNOWN = "ends-with=TEXT, contains=TEXT, min-words=N, max-words=N; join several with +"

Check = Callable[[str], bool]


class VerifyEngine:
    """See the module's docstring, and `critic.engine.Engine` for the verbs. ``holds`` is the rule itself."""

    whole_trees = True
    capabilities: Mapping[str, str] = capability((UNGROUPED,))

    def __init__(self, rule: str) -> None:
        self._checks = parse(rule)
        self.identity = Identity(f"verify:{rule}", digest(["verify", 1, rule]))
        self.usage = Usage()

    def holds(self, answer: str) -> bool:
        """Whether the whole rule holds for an answer."""
        return all(check(answer) for check in self._checks)

    async def complete(self, request: Request, lane: Lane = "batch") -> Completion:
        """Raise `EngineError`: a rule writes nothing."""
        raise EngineError(f"{self.identity.name} writes no text, it only checks answers")

    async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
        """Return the reward of each chat's last turn."""
        wanted = list(reads(tree))
        if not all(isinstance(read, Reward) for _, read, _ in wanted):
            raise EngineError(f"{self.identity.name} has no log-probabilities, it only gives rewards: use --mode rm")
        self.usage.calls += len(wanted)
        return tuple(Score((WORTH if self.holds(_answer(path)) else 0.0,), 1) for path, _, _ in wanted)

    async def close(self) -> None:
        """Nothing is held."""


def parse(rule: str) -> tuple[Check, ...]:
    """Return one check for each part of ``rule``. Raises `InputError` for what is no rule."""
    return tuple(_check(part, rule) for part in _JOINT.split(rule))


def _check(part: str, rule: str) -> Check:
    name, _, value = part.partition("=")
    where = f"verify:{rule}"
    if name not in _TEXT_RULES and name not in _COUNT_RULES:
        raise InputError(f"{part!r} is no rule", where=where, fix=f"known rules: {KNOWN}")
    if not value.strip():
        raise InputError(f"{name} has no value", where=where, fix=f"known rules: {KNOWN}")
    if name in _TEXT_RULES:
        return lambda answer: _TEXT_RULES[name](answer, value)
    if not value.isdecimal():
        raise InputError(f"{name}={value} is not a number of words", where=where, fix=f"write {name}=40")
    return lambda answer: _COUNT_RULES[name](len(answer.split()), int(value))


def _answer(path: tuple[Message, ...]) -> str:
    """Return the assistant's last turn; messages of one role that follow each other are one turn."""
    turn: list[str] = []
    for message in reversed(path):
        if message.role != "assistant":
            break
        turn.append(message.content)
    return "".join(reversed(turn))


def open_engine(rule: str, options: dict[str, str]) -> VerifyEngine:
    """Parse ``rule``. There are no options: a question mark belongs to the rule."""
    return VerifyEngine(rule)


ENGINE = EngineKind(
    name="verify", open=open_engine, check=open_engine, target="RULE", gives="rewards", mode="rm", is_text=True
)
