"""An engine whose server answers typed questions with probabilities, and writes nothing.

`critic.engines.decisions` and `critic.engines.systemone` are two shapes of one idea: a text, and questions about it, of
which each is a choice, a predicate or a score. All questions about one text go in one request, as many as the API
takes. A question's name is made of what it asks, since some models are shown it: so neither its place nor the others
beside it change an answer.

What comes back is checked, question by question. One that was refused, left out or answered with what are no
probabilities has NaN for values, and a note that says why: the others stand. A probability of exactly 0 is one that
was rounded, as some servers round to hundredths; it counts as half of a hundredth, so that no label is louder than its
evidence.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import BaseModel, Field, ValidationError

from base.digest import digest
from base.errors import InputError
from critic.calls.wrappers import Retrying
from critic.engine import (
    Completion,
    Decision,
    DecisionOption,
    Engine,
    EngineDown,
    EngineError,
    Identity,
    Lane,
    Node,
    Request,
    Score,
    Unavailable,
    Usage,
    reads,
)
from critic.engine_kinds.capabilities import (
    DECISIONS,
    LABEL_MASS,
    LIKELIHOODS,
    LOGPROBS,
    NONE,
    NOT_TOLD,
    STRUCTURED,
    VARIES,
)
from critic.records import Message
from critic.server import survey
from critic.server.chat_reply import Card
from critic.server.chat_server import ChatServer, NotOffered
from critic.server.defuse import defuse
from critic.server.served import ServedEngine, apart, expect_server, priced, wrapped
from critic.server.server_options import SERVER_OPTIONS, ServerOptions

UNANSWERED = "the server's reply holds no answer to this question"
REFUSED = "the model refused to answer this question"
# What a probability of 0 stands for at a server that rounds to hundredths.
LEAST = 0.005
# By how much probabilities may miss a sum of 1: each is rounded, and computed in the model's own precision.
_SLACK = 0.001
_NAME_LETTERS = 12

_PROBE_TEXT = "The grass is green, and the sky is blue."
_PROBE = Decision("choice", "Which colour does the grass have?", (DecisionOption("green"), DecisionOption("blue")))


class Used(BaseModel):
    """What the server counted."""

    input_tokens: int = Field(default=0, ge=0)
    output_tokens: int = Field(default=0, ge=0)


class DecisionAnswer(BaseModel):
    """One answer, in the API's form."""

    def read(self, asked: Decision, mass: float | None) -> Score:
        """Return what it says of ``asked``."""
        raise NotImplementedError  # each form of answer has its own


class DecisionRefusal(DecisionAnswer):
    """The model declined to answer this question."""

    type: Literal["refusal"]

    def read(self, asked: Decision, mass: float | None) -> Score:
        """See `DecisionAnswer.read`."""
        return unreadable(REFUSED, asked)


class DecisionReply(BaseModel):
    """A reply to typed questions. ``model`` is who answered. One answer that has another form costs no other."""

    model: str | None = None
    usage: Used | None = None

    # By the API's word for a question's type: the form that an answer to it has.
    forms: ClassVar[Mapping[str, type[DecisionAnswer]]]

    def told(self) -> Iterator[tuple[object, object, float | None]]:
        """Yield each answer's name, the answer, and its label mass where it is told."""
        raise NotImplementedError  # each API has its own

    def scores(self, asked: Mapping[str, Decision]) -> Mapping[str, Score]:
        """Return what was read, by the question's name.

        Raises `Unavailable` where the reply is to other questions than were ``asked``, or to none of them.
        """
        by_name: dict[str, Score] = {}
        for name, answer, mass in self.told():
            if not isinstance(name, str) or name not in asked or name in by_name:
                raise Unavailable(f"the server answered a question that was not asked, or one twice: {name!r}")
            by_name[name] = self._score(answer, asked[name], mass)
        if not by_name:
            raise Unavailable("the server answered none of the questions")
        return by_name

    def _score(self, answer: object, asked: Decision, mass: float | None) -> Score:
        kind = answer.get("type") if isinstance(answer, dict) else None
        form = DecisionRefusal if kind == "refusal" else self.forms[asked.type]
        try:
            return form.model_validate(answer).read(asked, mass)
        except ValidationError as error:
            fault = error.errors()[0]
            where = ".".join(map(str, fault["loc"])) or "the answer"
            return unreadable(f"the server answered a {asked.type} in another form: {where}: {fault['msg']}", asked)


@dataclass(frozen=True, slots=True)
class Api:
    """One shape of typed decisions: where and how it is asked, what it answers, and how much it takes at once."""

    kind: str
    path: str
    reply: type[DecisionReply]
    most_questions: int
    most_choices: int
    most_levels: int

    def body(self, text: str, questions: Mapping[str, Decision]) -> dict[str, object]:
        """Return the request but for its model: ``questions`` by name, about ``text``."""
        raise NotImplementedError  # each API has its own

    def check(self, read: Decision) -> None:
        """Raise `EngineError` for a question that the API has no room for."""
        match read.type:
            case "predicate":
                least, most = 0, 0
            case "choice":
                least, most = 2, self.most_choices
            case "score":
                least, most = 2, self.most_levels
        if not least <= len(read.options) <= most:
            raise EngineError(
                f"a {read.type} of {len(read.options)} options was asked for; {self.kind} takes {least} to {most}"
            )


class DecisionEngine(ServedEngine):
    """See the module's docstring, and `critic.engine.Engine` for the verbs."""

    whole_trees = True

    def __init__(
        self, server: ChatServer, api: Api, card: Card, capabilities: dict[str, str], usage: Usage, must_count: bool
    ) -> None:
        identity = Identity(card.id, digest([api.kind, card.id, card.root, card.parent]))
        super().__init__(server, identity, capabilities, usage, must_count)
        self._api = api

    async def complete(self, request: Request, lane: Lane = "batch") -> Completion:
        """Raise `EngineError`: such a server writes nothing."""
        raise EngineError(
            "a server of typed decisions writes no text, it only decides: let a language model answer, and judge "
            "finished answers with --mode decision"
        )

    async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
        """Ask all questions about one text at once, one request after the other."""
        asked: list[tuple[str, Decision]] = []
        for path, read, _ in reads(tree):
            if not isinstance(read, Decision):
                raise EngineError(
                    f"a server of typed decisions can't read {type(read).__name__}; judge with --mode decision"
                )
            self._api.check(read)
            asked.append((_text(path), read))
        by_place: dict[tuple[str, Decision], Score] = {}
        for text in dict.fromkeys(text for text, _ in asked):
            questions = list(dict.fromkeys(read for about, read in asked if about == text))
            for start in range(0, len(questions), self._api.most_questions):
                some = questions[start : start + self._api.most_questions]
                scores = await self._ask(text, some)
                by_place |= {(text, read): score for read, score in zip(some, scores, strict=True)}
        return tuple(by_place[place] for place in asked)

    async def _ask(self, text: str, questions: Sequence[Decision]) -> list[Score]:
        named = {_name(read): _defused(read) for read in questions}
        body = {"model": self.identity.name} | self._api.body(text, named)
        with self._timed():
            reply = await self._server.send(self._api.path, body, self._api.reply, "typed decisions")
        used = reply.usage
        self._count((used.input_tokens, used.output_tokens) if used else None)
        self._check_model(reply.model)
        scores = reply.scores(named)
        return [scores.get(name, unreadable(UNANSWERED, read)) for name, read in named.items()]


def read_of(
    asked: Decision, probabilities: Sequence[float], mass: float | None = None, confidence: float | None = None
) -> Score:
    """Return what a server says of the answers to ``asked``, in their order; unreadable where it can't be true."""
    told = [value for value in (*probabilities, mass, confidence) if value is not None]
    if not all(-_SLACK <= value <= 1 + _SLACK for value in told):
        return unreadable(f"the server's figures are no probabilities: {told}", asked)
    if abs(math.fsum(probabilities) - 1) > _SLACK + LEAST * len(probabilities):
        return unreadable(f"the server's probabilities do not sum to 1: {list(probabilities)}", asked)
    values = tuple(math.log(value if value > 0 else LEAST) for value in probabilities)
    return Score(values, 0, _clipped(mass), _clipped(confidence))


def unreadable(note: str, asked: Decision) -> Score:
    """Return the score of a question to which there is no answer, with the reason."""
    return Score((math.nan,) * asked.answers, 0, note=note)


def open_api(api: Api, target: str, options: Mapping[str, str]) -> Engine:
    """Find the server and its model, and ask it one tiny question; options are those of `critic.engines.openai`.

    Raises `InputError` for an unknown option or value, a server that isn't there or refuses the key, a model that it
    doesn't serve, and one that answers no typed decisions.
    """
    wanted = ServerOptions.parse(target, options, api.kind, SERVER_OPTIONS)
    usage = priced(wanted)
    card, capabilities = apart(_learn(api, wanted, usage))
    server = ChatServer(wanted.address, wanted.model)
    return wrapped(DecisionEngine(server, api, card, capabilities, usage, wanted.must_count), wanted)


def expect_api(api: Api, target: str, options: Mapping[str, str]) -> None:
    """Raise `InputError` where the server doesn't answer, or refuses the key."""
    expect_server(ServerOptions.parse(target, options, api.kind, SERVER_OPTIONS))


async def _learn(api: Api, wanted: ServerOptions, usage: Usage) -> tuple[Card, dict[str, str]]:
    """Return the model's card, and what is known of it after one tiny question."""
    where = f"{api.kind}:{wanted.model}"
    server = ChatServer(wanted.address, wanted.model)
    try:
        card = await server.card()
        capabilities = {
            survey.SERVER: card.owned_by or survey.UNKNOWN,
            survey.CONTEXT: str(card.max_model_len or survey.UNKNOWN),
            survey.MODEL: survey.UNKNOWN,
            DECISIONS: api.path,
            VARIES: "the server's batches, prefix cache and version",
            LOGPROBS: NONE,
            LIKELIHOODS: NONE,
            STRUCTURED: NONE,
        }
        engine = Retrying(DecisionEngine(server, api, card, capabilities, usage, wanted.must_count), wanted.retries)
        asked = Node((Message(role="user", content=_PROBE_TEXT),), _PROBE)
        [score] = await engine.score(asked)
        server.check_served(card, capabilities[survey.MODEL])
    except NotOffered as error:
        if not card.listed:
            raise server.not_served(card, str(error)) from None
        raise InputError(
            f"the server answers no typed decisions for this model: {error}",
            where=where,
            fix=f"Judge with openai:{wanted.model}@{wanted.address.place} in --mode logprob, which reads "
            "log-probabilities, or in --mode verdict where the server has none.",
        ) from None
    except (EngineError, EngineDown) as error:
        raise InputError(f"the server did not answer a first question: {error}", where=where) from None
    finally:
        await server.close()
    if score.note is not None:
        raise InputError(f"a first question could not be read: {score.note}", where=where)
    capabilities[LABEL_MASS] = NOT_TOLD if score.mass is None else f"{score.mass:.3g}"
    return card, capabilities


def _text(path: Sequence[Message]) -> str:
    if not path or any(message.role != "user" for message in path):
        raise EngineError("a decision is about one text, given as the user's; this chat has other roles, or no text")
    return defuse("".join(message.content for message in path))


def _name(read: Decision) -> str:
    options = [[option.name, option.description] for option in read.options]
    return "q" + digest(["question", read.type, read.instructions, options])[:_NAME_LETTERS]


def _defused(read: Decision) -> Decision:
    options = tuple(DecisionOption(defuse(option.name), defuse(option.description)) for option in read.options)
    return Decision(read.type, defuse(read.instructions), options)


def _clipped(share: float | None) -> float | None:
    return None if share is None else max(0.0, min(1.0, share))
