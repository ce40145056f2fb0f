"""The engine seam: one small protocol with two verbs, and the values that cross it.

`complete` writes one answer to one chat. `score` reads numbers off a tree of chats that share their beginnings:
log-probabilities, or a reward model's scores. Callers write per-item code, one request a call, and never batch:
batching, prefix reuse and back-pressure live inside the engine. Retry, rate limits, budget and the ledger's cache are
wrappers that are engines too.

A new engine is one new file in `critic.engines`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

from critic.records import Message

# How many tokens a server's model may think beside what is asked of it: what reasoning takes for a question, with some
# to spare.
REASONING_ROOM = 4096

Lane = Literal["batch", "interactive"]
Concern = Literal["request", "passing", "all", "unclear"]


@dataclass(frozen=True, slots=True)
class Signature:
    """What two failures have in common that are one and the same: told by the server's fields, not by its sentences.

    ``message`` is the sentence without what differs from request to request (see `critic.calls.faults.plain`), for
    servers whose fields say nothing. ``status`` is HTTP's.
    """

    message: str
    status: int | None = None
    code: str = ""
    kind: str = ""


class EngineError(Exception):
    """A request that an engine could not answer. The row that asked is quarantined; the others go on.

    ``concerns`` says what the failure is about: the ``request``, whose content is the cause; something that is
    ``passing``; ``all`` requests; or it is ``unclear``, and only `critic.calls.faults.Streak` can tell: where many
    fail alike and none is answered, the engine is at fault. ``signature`` is what makes two failures alike; without one
    it is the error's kind and words.
    """

    concerns: ClassVar[Concern] = "unclear"

    def __init__(self, problem: str, signature: Signature | None = None) -> None:
        super().__init__(problem)
        self.signature = signature


class RequestTooLong(EngineError):
    """The chat does not fit the model's context. Nothing was cut."""

    concerns: ClassVar[Concern] = "request"


class HeldBack(EngineError):
    """A filter of the server's held the chat, or its answer, back for what it says."""

    concerns: ClassVar[Concern] = "request"


class Unavailable(EngineError):
    """A failure that passes: too many requests, a restart, a time-out. The same request may be answered later.

    ``retry_after`` is how many seconds the server asked to wait, or None where it did not say.
    """

    concerns: ClassVar[Concern] = "passing"

    def __init__(self, problem: str, retry_after: float | None = None, *, signature: Signature | None = None) -> None:
        super().__init__(problem, signature)
        self.retry_after = retry_after


class RunStopped(Exception):
    """No request can be answered any more. The run stops, no row is blamed, and the same command goes on later."""

    concerns: ClassVar[Concern] = "all"


class BudgetExceeded(RunStopped):
    """The run's hard limit is reached; a larger one goes on."""


class EngineDown(RunStopped):
    """The engine is gone, or fails every request: its server was there, and is not any more, or has no quota left."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to draw tokens. ``temperature`` 0 is greedy.

    The first of the texts in ``stop`` ends an answer, before it. In thoughts they end nothing.
    """

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()

    def stop_in(self, answer: str) -> int | None:
        """Return where in ``answer`` the first of the texts that end it stands, if one is there."""
        return min((at for text in self.stop if (at := answer.find(text)) >= 0), default=None)


@dataclass(frozen=True, slots=True)
class Request:
    """One chat to complete, with its own seed: the answer does not depend on what else is in the batch's sampling.

    A final assistant message is a prefix that the completion continues. ``json_schema`` (JSON text) is the form that
    the answer must have: engines that can hold a model to it do, and say so in their ``capabilities``; others leave
    it to the chat's words.
    """

    messages: tuple[Message, ...]
    sampling: Sampling
    seed: int
    json_schema: str | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """``text`` without the prompt; ``finish`` says whether the model stopped or ran into ``max_tokens``.

    ``text`` is the answer alone. What the model thought before it is ``reasoning``: None where it did not, and with an
    empty ``text`` where the limit came before an answer did.
    """

    text: str
    finish: Literal["stop", "length"]
    prompt_tokens: int = 0
    completion_tokens: int = 0
    reasoning: str | None = None


def no_answer(completion: Completion) -> str:
    """Why a completion holds thoughts and no answer."""
    if completion.finish == "length":
        return f"the limit of {completion.completion_tokens} tokens was reached before an answer"
    return "the model thought, and gave no answer"


@dataclass(frozen=True, slots=True)
class Choices:
    """Read: the log-probabilities that each of ``texts`` comes next, at the node's end. Each must be a single token."""

    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OwnTokens:
    """Read: the summed log-probability of all of the node's own tokens, given everything above it."""


@dataclass(frozen=True, slots=True)
class Reward:
    """Read: a reward model's scores of the chat that ends at the node, with the assistant's turn, one a head.

    Language models have none.
    """


DecisionType = Literal["choice", "predicate", "score"]


@dataclass(frozen=True, slots=True)
class DecisionOption:
    """One answer that a `Decision` may have: its name, and what it means where the name alone doesn't say so."""

    name: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """Read: the probabilities of the answers to a typed question about the text that ends at the node.

    A ``choice`` is one of ``options``, and a ``score`` is one of them, too, in order from the lowest level up. A
    ``predicate`` is true or false, and has none. Nothing is written: the server computes the probabilities.
    """

    type: DecisionType
    instructions: str
    options: tuple[DecisionOption, ...] = ()

    @property
    def answers(self) -> int:
        """How many answers there are, of which `Score` has a value each. A predicate's are true and false."""
        return 2 if self.type == "predicate" else len(self.options)


Read = Choices | OwnTokens | Reward | Decision


@dataclass(frozen=True, slots=True)
class Node:
    """A tree of chats that share their beginnings.

    The path from the root to a node is one chat. A message whose role is that of the message before it on the path
    continues that turn: so a transcript in the root and a question in its child are one user turn. A path that ends
    with a user part is read after the assistant's turn is opened; one that ends with an assistant part is read in that
    open turn.
    """

    messages: tuple[Message, ...]
    read: Read | None = None
    children: tuple["Node", ...] = ()


@dataclass(frozen=True, slots=True)
class Score:
    """What was read at one node.

    For `Choices`, one log-probability a choice; for `OwnTokens`, their summed log-probability alone; for `Reward`, one
    score a head; for `Decision`, one log-probability an answer, given that it is one of them. ``tokens`` counts the
    node's own tokens, so that ``values[0] / tokens`` is the mean per token. A value may be NaN where the model's
    arithmetic failed; callers treat it as unreadable. ``mass`` is the probability of any of the choices, where a server
    tells it apart from theirs; None where it is the sum of theirs, and for a `Decision` where the server is silent
    about it. So it is with ``confidence``, by the server's own measure. ``note`` says why there is nothing to read: the
    model refused this one question, say.
    """

    values: tuple[float, ...]
    tokens: int
    mass: float | None = None
    confidence: float | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """What makes two engines give the same answer: part of every request's key.

    ``name`` is what people see (``SmolLM2-135M-Instruct``); ``revision`` is a hash of the weights or the script;
    ``settings`` are those options that change the numbers (dtype), not those that change the speed.
    """

    name: str
    revision: str
    settings: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class Usage:
    """What an engine has done so far, for rates and reports, and its prices: US dollars for a million tokens.

    ``room`` is how many tokens it lets a model think beside each limit that it is given.
    """

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds_busy: float = 0.0
    input_price: float = 0.0
    output_price: float = 0.0
    room: int = 0

    def price(self, prompt_tokens: int, completion_tokens: int) -> float:
        """What so many tokens cost, in US dollars."""
        return (prompt_tokens * self.input_price + completion_tokens * self.output_price) / 1e6

    @property
    def cost(self) -> float:
        """What it has cost so far, in US dollars."""
        return self.price(self.prompt_tokens, self.completion_tokens)


class Engine(Protocol):
    """See the module's docstring.

    Both verbs raise `EngineError` for a request that can't be answered, and `RunStopped` where none can be any more.
    """

    @property
    def identity(self) -> Identity:
        """What makes its answers the same; fixed for its life."""
        ...

    @property
    def capabilities(self) -> Mapping[str, str]:
        """What it was found to be able to do, for manifests: ``{"log-probabilities": "by token id", ...}``."""
        ...

    @property
    def whole_trees(self) -> bool:
        """Whether a tree is computed as a whole. Where not, each of its reads is a request of its own."""
        ...

    @property
    def usage(self) -> Usage:
        """What it has done so far."""
        ...

    async def complete(self, request: Request, lane: Lane = "batch") -> Completion:
        """Answer one chat."""
        ...

    async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
        """Return one `Score` for each node of ``tree`` that has a ``read``, in depth-first order, parents first.

        `EngineError` where the engine has nothing of a read's kind.
        """
        ...

    async def close(self) -> None:
        """Free threads, processes and memory. Calls under way end with `EngineError`."""
        ...


def reads(
    tree: Node, above: tuple[Message, ...] = ()
) -> Iterator[tuple[tuple[Message, ...], Read, tuple[Message, ...]]]:
    """Yield ``(path, read, own)`` for each node with a read, in the order of `Engine.score`'s answer.

    ``path`` is the whole chat from the root to the node, ``own`` the node's part of it.
    """
    path = above + tree.messages
    if tree.read is not None:
        yield path, tree.read, tree.messages
    for child in tree.children:
        yield from reads(child, path)
