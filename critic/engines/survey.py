"""What a chat server can do: found with three tiny requests when the engine is opened.

At opening, and not at first need, so that it is known before the first row is paid for, and stands in the manifest of
a run that has nothing left to ask. "none" is recorded only where the server refused, or answered without what was asked
for. A probe that fails for a reason that may pass leaves "unknown": the first request that needs it will tell.
"""

import asyncio
import json
from collections.abc import Awaitable
from dataclasses import dataclass, field

from constitution.digest import canonical_json
from critic.engines.base import Choices, Engine, EngineError, Node, Request, Sampling
from critic.engines.capabilities import LIKELIHOODS, VARIES
from critic.engines.chat_reply import Card
from critic.engines.chat_server import NotOffered
from critic.records import Message
from critic.together import together

SERVER, CONTEXT, MODEL = "server", "context length", "model"
LOGPROBS, STRUCTURED, CONTINUED = "log-probabilities", "structured output", "continued answers"
NONE, UNKNOWN = "none", "unknown"
BY_TOKEN_ID, TOP_20 = "by token id", "top 20"
JSON_SCHEMA = "json_schema"
YES = "yes"

ASK_LETTER = "Answer with one letter: A or B."
ASK_GREETING = "Say hello."
ASK_COLOURS = "Write this again, word for word: red green blue red green blue"
_COLOURS_BEGUN = "red green blue red"
# No model answers a greeting with this unless it is held to it.
_WORD = "pear"
_SCHEMA = {
    "type": "object",
    "properties": {"word": {"type": "string", "enum": [_WORD]}},
    "required": ["word"],
    "additionalProperties": False,
}
_SECONDS = 30.0


@dataclass(slots=True)
class Known:
    """What is known of a server, from its card, its answers and `survey`."""

    card: Card
    capabilities: dict[str, str]
    limit: str = "max_tokens"
    ids: dict[str, int | None] = field(default_factory=dict)

    @classmethod
    def of(cls, card: Card) -> "Known":
        """What a card tells. Of the rest the best is believed, so that the survey can try it."""
        return cls(
            card,
            {
                SERVER: card.owned_by or UNKNOWN,
                CONTEXT: str(card.max_model_len or UNKNOWN),
                MODEL: UNKNOWN,
                LOGPROBS: UNKNOWN,
                STRUCTURED: UNKNOWN,
                CONTINUED: YES,
                LIKELIHOODS: NONE,
                VARIES: "the server's batches, prefix cache and version",
            },
        )


async def survey(engine: Engine) -> dict[str, str]:
    """Return what ``engine`` is found to offer. Raises `RunStopped` where its server takes no request at all."""
    probes = {LOGPROBS: _logprobs(engine), STRUCTURED: _structured(engine), CONTINUED: _continued(engine)}
    return dict(zip(probes, await together(_found(probe) for probe in probes.values()), strict=True))


async def _found(probe: Awaitable[str]) -> str:
    try:
        async with asyncio.timeout(_SECONDS):
            return await probe
    except NotOffered:
        return NONE
    except (EngineError, TimeoutError):
        return UNKNOWN


async def _logprobs(engine: Engine) -> str:
    await engine.score(Node((_user(ASK_LETTER),), Choices(("A", "B"))))
    return engine.capabilities[LOGPROBS]


async def _structured(engine: Engine) -> str:
    sampling = Sampling(max_tokens=32)
    answer = await engine.complete(Request((_user(ASK_GREETING),), sampling, 0, canonical_json(_SCHEMA)))
    if answer.finish == "length":
        return UNKNOWN
    return JSON_SCHEMA if is_json(answer.text) and json.loads(answer.text) == {"word": _WORD} else NONE


async def _continued(engine: Engine) -> str:
    """A server that takes the beginning for a whole answer starts anew, or says something about it."""
    if engine.capabilities[SERVER] == "vllm":
        return YES
    begun = (_user(ASK_COLOURS), Message(role="assistant", content=_COLOURS_BEGUN))
    answer = await engine.complete(Request(begun, Sampling(max_tokens=4, temperature=0.0), 0))
    return YES if answer.text.lstrip().startswith("green") else NONE


def _user(text: str) -> Message:
    return Message(role="user", content=text)


def is_json(text: str) -> bool:
    """Whether ``text`` is JSON."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
