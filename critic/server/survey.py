"""What a chat server can do: found with a few tiny requests when the engine is opened.

At opening, and not at first need, so that it is known before the first row is paid for, and stands in the manifest of
a run that has nothing left to ask. The first request looks like those of a run: a system message, a temperature, a
limit. Where it can't be answered in any way, none can, and the engine isn't opened. Of the others "none" is recorded
only where the server refused, or answered without what was asked for. A probe that fails for a reason that may pass
leaves "unknown": the first request that needs it will tell.
"""

import asyncio
import json
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from base.digest import canonical_json
from base.together import together
from critic.engine import Choices, Engine, EngineError, Node, Request, Sampling
from critic.engine_kinds import capabilities
from critic.records import Message
from critic.server.chat_reply import Card
from critic.server.chat_server import NotOffered
from critic.server.manners import Manners

LABEL_MASS, LIKELIHOODS, THINKS = capabilities.LABEL_MASS, capabilities.LIKELIHOODS, capabilities.THINKS
LOGPROBS, STRUCTURED = capabilities.LOGPROBS, capabilities.STRUCTURED
NO, NONE, YES = capabilities.NO, capabilities.NONE, capabilities.YES
SERVER, CONTEXT, MODEL = "server", "context length", "model"
CONTINUED, FINISH = "continued answers", "finish reasons"
UNKNOWN = "unknown"
BY_TOKEN_ID = "by token id"
JSON_SCHEMA = "json_schema"
NO_FINISH = "null, taken as stop"

ASK_PLAIN = "Answer with one word: hello."
SYSTEM = "You answer briefly."
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


# What a jinja template raises is one of these by the time that it is a server's.
_TEMPLATE_STATUSES = (400, 422, 500)
_PLAIN = Sampling(max_tokens=64, temperature=0.7)


@dataclass(slots=True)
class KnownServer:
    """What is known of a server, from its card, its answers and `survey`. ``template`` is what its template is told."""

    card: Card
    capabilities: dict[str, str]
    manners: Manners = field(default_factory=Manners)
    template: Mapping[str, object] = field(default_factory=dict)
    ids: dict[str, int | None] = field(default_factory=dict)

    @classmethod
    def of(cls, card: Card, template: Mapping[str, object] = MappingProxyType({})) -> "KnownServer":
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
                capabilities.VARIES: "the server's batches, prefix cache and version",
            },
            template=template,
        )

    def settings(self) -> tuple[tuple[str, str], ...]:
        """What changes the numbers beside the model, for an engine's identity."""
        options = {f"template.{name}": json.dumps(value) for name, value in self.template.items()}
        if self.manners.folds_system:
            options["system"] = "in the first user turn"
        return tuple(sorted(options.items()))


async def survey(engine: Engine, known: KnownServer) -> None:
    """Find out what ``engine``'s server offers, and note it in ``known``.

    Raises `EngineError` where it answers no request like a run's, and `RunStopped` where it takes none at all.
    """
    await _plain(engine, known)
    probes = {LOGPROBS: _logprobs(engine, known), STRUCTURED: _structured(engine), CONTINUED: _continued(engine)}
    outcomes = dict(zip(probes, await together(_found(probe) for probe in probes.values()), strict=True))
    known.capabilities.update(outcomes | known.manners.told())


async def _plain(engine: Engine, known: KnownServer) -> None:
    """Ask as a run does. A model without a system role is found by leaving it out, whatever its server says of it."""
    asked = Request((Message(role="system", content=SYSTEM), _user(ASK_PLAIN)), _PLAIN, 0)
    try:
        await engine.complete(asked)
    except EngineError as error:
        if error.signature is None or error.signature.status not in _TEMPLATE_STATUSES:
            raise
        known.manners.folds_system = True
        try:
            await engine.complete(asked)
        except EngineError:
            raise error from None
    known.capabilities.setdefault(THINKS, NO)


async def _found(probe: Awaitable[str]) -> str:
    try:
        async with asyncio.timeout(_SECONDS):
            return await probe
    except NotOffered:
        return NONE
    except (EngineError, TimeoutError):
        return UNKNOWN


async def _logprobs(engine: Engine, known: KnownServer) -> str:
    [score] = await engine.score(Node((_user(ASK_LETTER),), Choices(("A", "B"))))
    if score.mass is not None:
        known.capabilities[LABEL_MASS] = f"{score.mass:.2g}"
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
