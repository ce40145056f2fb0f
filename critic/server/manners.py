"""How a chat server wants to be asked: what it refuses, and what is sent in its place.

Servers differ in the name of the limit, and some models take no temperature but their own, no seed, no top_p, or fewer
alternatives than others. Each of these is learnt from the server's refusal, mostly at opening, and once. What can't be
sent in another way without changing what is asked stays a refusal.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from critic.engine import REASONING_ROOM
from critic.records import Message
from critic.server.chat_fault import ServerFault

LIMITS = ("max_tokens", "max_completion_tokens")
TEMPERATURE, TOP_P, SEED, TOP = "temperature", "top_p", "seed", "top_logprobs"
# The most that vLLM (by default) and the hosted API give.
MOST_LISTED = 20
# To servers that call 0 no temperature (TGI): so cold that a token twice as likely is 2^100 times as likely.
_COLDEST = 0.01
# Of a context that is known, reasoning gets no more than this part, the fourth.
_OF_CONTEXT = 4

Turn = dict[str, Any]
"""A message as the API takes it: ``role``, ``content``, and the fields of tool turns."""


@dataclass(slots=True)
class Manners:
    """What is known of a server's manners; see the module's docstring.

    ``room`` is how many tokens are added to each limit for a model's thoughts. ``folds_system`` says that system text
    stands at the head of the first user turn.
    """

    limit: str = LIMITS[0]
    top: int = MOST_LISTED
    room: int = 0
    folds_system: bool = False
    coldest: float = 0.0
    refused: set[str] = field(default_factory=set)

    def adapted(self, body: Mapping[str, object], max_tokens: int) -> dict[str, object]:
        """Return a request as this server takes it."""
        sent = {name: value for name, value in body.items() if name not in self.refused}
        if TOP in sent:
            sent[TOP] = self.top
        if sent.get(TEMPERATURE) == 0:
            sent[TEMPERATURE] = self.coldest
        return sent | {self.limit: max_tokens}

    def learn(self, fault: ServerFault, sent: Mapping[str, object]) -> None:
        """Take a lesson from the refusal of what was ``sent``, if it holds one."""
        other = LIMITS[1 - LIMITS.index(self.limit)]
        if self.limit in sent and fault.names(self.limit) and (fault.param or other in fault.message):
            self.limit = other
        elif TOP in sent and _is_about_alternatives(fault):
            self.top = _fewer(fault.message, self.top)
        elif TEMPERATURE in sent and fault.names(TEMPERATURE):
            self._learn_temperature(sent[TEMPERATURE])
        elif TOP_P in sent and fault.names(TOP_P) and sent[TOP_P] == 1:
            self.refused.add(TOP_P)
        elif SEED in sent and fault.names(SEED):
            self.refused.add(SEED)

    def make_room(self, context: int | None) -> bool:
        """Leave room for thoughts from now on. Return whether there was none before."""
        if self.room:
            return False
        self.room = REASONING_ROOM if context is None else min(REASONING_ROOM, context // _OF_CONTEXT)
        return True

    def turns(self, messages: Iterable[Message]) -> list[Turn]:
        """Return a chat as this server takes it: parts of one turn joined, and no system turn that it refuses."""
        turns: list[Turn] = [{"role": m.role, "content": m.content} | m.tools for m in messages]
        joined: list[Turn] = []
        for turn in _folded(turns) if self.folds_system else turns:
            if joined and _is_text(turn) and _is_text(joined[-1]) and turn["role"] == joined[-1]["role"]:
                joined[-1] = joined[-1] | {"content": joined[-1]["content"] + turn["content"]}
            else:
                joined.append(turn)
        return joined

    def told(self) -> dict[str, str]:
        """What was learnt, for manifests."""
        lessons = {
            "temperature": "the model's own" if TEMPERATURE in self.refused else "",
            "temperature 0": f"asked as {self.coldest}" if self.coldest else "",
            "top_p": "not taken" if TOP_P in self.refused else "",
            "seed": "not taken" if SEED in self.refused else "",
            "system role": "in the first user turn" if self.folds_system else "",
            "room for reasoning": f"{self.room} tokens" if self.room else "",
        }
        return {name: lesson for name, lesson in lessons.items() if lesson}

    def _learn_temperature(self, sent: object) -> None:
        """A 0 that is refused may be too cold; anything else that is refused is no affair of ours."""
        if sent == 0 and not self.coldest:
            self.coldest = _COLDEST
        else:
            self.refused.add(TEMPERATURE)


def _is_text(turn: Turn) -> bool:
    """Whether a turn is text alone: calls of tools and their results stay apart, each with its own id."""
    return turn.keys() == {"role", "content"} and turn["role"] != "tool"


def _folded(turns: Sequence[Turn]) -> list[Turn]:
    """Put each system turn's text at the head of the user turn after it; what no user turn follows becomes one."""
    folded: list[Turn] = []
    above: list[str] = []
    for turn in turns:
        if turn["role"] == "system":
            above.append(turn["content"])
        elif turn["role"] == "user":
            folded.append(turn | {"content": "\n\n".join([*above, turn["content"]])})
            above = []
        else:
            folded.append(turn)
    if above:
        folded.append({"role": "user", "content": "\n\n".join(above)})
    return folded


def _is_about_alternatives(fault: ServerFault) -> bool:
    return fault.names(TOP) or (
        not fault.param and "logprobs" in fault.message and bool(re.search(r"\d", fault.message))
    )


def _fewer(message: str, top: int) -> int:
    """Return how many alternatives to ask for in place of ``top``: what the server names, else half."""
    named = [int(number) for number in re.findall(r"\d+", message) if 0 < int(number) < top]
    return max(named) if named else top // 2
