"""Critiques: what is wrong with a response under a principle, and a better one where it is asked for.

The steps are those of `critic.revise`: a round is one principle's critique, then the revision, which the next round
goes on from. Each stage is told as it comes, to clients that ask for server-sent events.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any, Self

from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import to_json

from base.digest import seed_of
from constitution import Constitution, InputError, Principle, sample
from critic.calls.wrappers import Wrapper
from critic.engine import Completion, Engine, Lane, Sampling
from critic.engine import Request as EngineRequest
from critic.records import Chain, Item, Row
from critic.revise import revise
from service.answers.judges import CritiqueAnswer
from service.api.body import StrictRoute
from service.api.judges.asking import EngineName, Ids, Ref, Seed, feedback_of, item_of, principles_of
from service.api.judges.comparisons import provenance_of
from service.bounds.watching import while_connected
from service.context import OnlyOnce, Parts, allowed
from service.keys.auth import Caller
from service.labels import labels
from service.labels.label_form import PromptForm, ResponseForm
from service.problems import responses
from service.store.repeats.idempotency import Once, Replay

router = APIRouter(prefix="/v1/critiques", tags=["critiques"], route_class=StrictRoute, responses=responses())
IS_BUSY = True

EVENTS = "text/event-stream"
MOST_ROUNDS = 16
PING_SECONDS = 15.0  # after so long without a word, proxies take a connection for dead

Feedbacker = Annotated[Caller, allowed("feedback")]
Tell = Callable[[str, Any], None]


class CritiqueRequest(BaseModel):
    """A response to be critiqued, and revised where ``revise`` says so.

    A round is one principle: those of ``principles`` in their order, or ``rounds`` drawn by the seed from those that
    apply to the prompt's tags, as in a run. Without ``revise`` every round is about the response as it was given.
    """

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [
                {
                    "prompt": "Why is my bread so flat?",
                    "response": "You obviously can't read a recipe.",
                    "constitution": "helpfulness",
                    "rounds": 1,
                    "revise": True,
                }
            ]
        },
    )

    prompt: PromptForm
    response: str | ResponseForm
    constitution: Ref
    principles: Ids | None = None
    rounds: int | None = Field(default=None, ge=1, le=MOST_ROUNDS, description="None: one, or one for each principle.")
    revise: bool = False
    engine: EngineName = None
    seed: Seed = 0
    max_tokens: int = Field(default=256, ge=1, le=16_384)
    temperature: float = Field(default=0.7, ge=0, le=10)
    stream: bool = Field(default=False, description="Send events. So does `Accept: text/event-stream`.")

    @model_validator(mode="after")
    def _a_round_is_a_principle(self) -> Self:
        if self.principles is not None and len(self.principles) > MOST_ROUNDS:
            raise ValueError(f"at most {MOST_ROUNDS} principles, one a round")
        if self.principles is not None and self.rounds not in (None, len(self.principles)):
            raise ValueError(f"{self.rounds} rounds of {len(self.principles)} principles; leave rounds out")
        return self


class Stages(Wrapper):
    """Tells each critique and revision as the engine writes it, and leaves revisions out where none is asked for.

    `critic.revise` gives a round's critique the seed that it was given for it, and the revision the next number.
    """

    def __init__(self, engine: Engine, asked: CritiqueRequest, seeds: list[int], ids: list[str], tell: Tell) -> None:
        super().__init__(engine)
        stages = {seed: ("critique", number) for number, seed in enumerate(seeds)}
        self._stages = {seed + 1: ("revision", number) for number, seed in enumerate(seeds)} | stages
        self._revises, self._ids, self._tell = asked.revise, ids, tell

    async def complete(self, request: EngineRequest, lane: Lane = "batch") -> Completion:
        """See `Engine.complete`."""
        stage, number = self._stages[request.seed]
        if stage == "revision" and not self._revises:
            return Completion("", "stop")  # an empty revision leaves the response as it is
        answer = await super().complete(request, lane)
        self._tell(stage, {"round": number, "principle": self._ids[number], "text": answer.text.strip()})
        return answer


_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"description": "The stages, as events", "content": {EVENTS: {"schema": {"type": "string"}}}}
}


@router.post("", status_code=201, response_model=CritiqueAnswer, responses=responses(408, 409, 502) | _STREAM)
async def critique(
    asked: CritiqueRequest,
    request: Request,
    caller: Feedbacker,
    parts: Parts,
    once: OnlyOnce,
    accept: Annotated[str, Header(max_length=1000)] = "",
) -> Response:
    """Critique a response, revise it where that is asked for, and store both as feedback.

    As server-sent events: ``critique`` and ``revision`` as each is written, then ``done`` with the whole answer, or
    ``error`` with a problem document.
    """
    item = item_of(asked.prompt, [asked.response])
    parts.labels.texts.check(item)
    constitution = await parts.constitutions.get(asked.constitution)
    drawn = _drawn(asked, item, constitution)
    engine = await parts.engines.get(asked.engine)

    async def work(tell: Tell) -> dict[str, Any]:
        chain = await _chain(asked, item, drawn, engine, tell)
        return await _store(asked, item, chain, constitution, engine, caller, once)

    if asked.stream or EVENTS in accept:
        return StreamingResponse(_events(request, work), media_type=EVENTS, headers={"Cache-Control": "no-store"})
    answer = await while_connected(request, work(lambda stage, body: None))
    return Response(to_json(answer), 201, media_type="application/json")


def _drawn(asked: CritiqueRequest, item: Item, constitution: Constitution) -> list[Principle]:
    """One principle a round."""
    if asked.principles is not None:
        return principles_of(constitution, asked.principles)
    applicable = [principle for principle in constitution.principles if principle.applies(item.prompt.tags)]
    if not applicable:
        raise InputError("no principle applies to the prompt's tags", where="/prompt/tags", fix="name principles")
    key = f"{item.prompt.key}:0"
    return [
        sample(applicable, seed=asked.seed, prompt=key, round=number, k=1)[0] for number in range(asked.rounds or 1)
    ]


async def _chain(asked: CritiqueRequest, item: Item, drawn: list[Principle], engine: Engine, tell: Tell) -> Chain:
    seeds = [seed_of(asked.seed, item.prompt.key, "revise", 0, number) for number in range(len(drawn))]
    stages = Stages(engine, asked, seeds, [principle.id for principle in drawn], tell)
    sampling = Sampling(asked.max_tokens, asked.temperature)
    return await revise(stages, item.prompt, item.responses[0], drawn, sampling, seeds, "interactive")


async def _store(
    asked: CritiqueRequest,
    item: Item,
    chain: Chain,
    constitution: Constitution,
    engine: Engine,
    caller: Caller,
    once: Once,
) -> dict[str, Any]:
    """Store critiques and corrections, and return the `CritiqueAnswer`."""
    row = Row(row=0, where="", prompt=item.prompt, chains=(chain,), candidates=(), judgements=(), pairs=())
    provenance = provenance_of(constitution, engine, "critique", asked.seed)
    given = feedback_of(row, provenance)
    ids, rows = labels.rows(given, labels.Origin(key=caller.key))
    answer = {
        "ids": ids,
        "constitution": provenance.constitution,
        "constitution_hash": provenance.constitution_hash,
        "judge": provenance.judge,
        "seed": asked.seed,
        "rounds": [
            {"critique": r.critique, "outcome": r.outcome if asked.revise else None, "response": r.response}
            for r in chain.revisions
        ],
        "final": chain.final.text,
    }
    await once.insert(rows, answer)
    labels.count(given)
    return answer


async def _events(request: Request, work: Callable[[Tell], Awaitable[Any]]) -> AsyncIterator[bytes]:
    """Do ``work``, and yield what it tells; it ends where the client goes away."""
    told: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()

    async def run() -> None:
        try:
            done = to_json(await work(lambda stage, body: told.put_nowait((stage, to_json(body)))))
            told.put_nowait(("done", done))
        except Replay as before:
            told.put_nowait(("done", to_json(before.body)))
        except Exception as error:  # the status is sent already: whatever it is can only be told as an event
            told.put_nowait(("error", await _problem(request, error)))

    task, stage = asyncio.create_task(run()), ""
    try:
        while stage not in ("done", "error"):
            try:
                stage, body = await asyncio.wait_for(told.get(), PING_SECONDS)
            except TimeoutError:
                yield b": still at work\n\n"
            else:
                yield b"event: %b\ndata: %b\n\n" % (stage.encode(), body)
    finally:
        task.cancel()


async def _problem(request: Request, error: Exception) -> bytes:
    """What the application would answer to ``error``."""
    handlers = request.app.exception_handlers
    handler = next(handlers[kind] for kind in type(error).__mro__ if kind in handlers)
    return bytes((await handler(request, error)).body)
