"""Comparisons: which of two responses is better under a constitution, or in which order several are.

The same steps as a run's (`critic.pipeline`), for one prompt while the client waits; what comes out is stored as
feedback, like a run's and like people's.
"""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import ConfigDict, Field
from pydantic_core import to_json

from constitution import Constitution, InputError
from critic.engine import Engine, Sampling
from critic.judging.base import Mode
from critic.judging.jury import Juror, Jury
from critic.pipeline import Pipeline
from critic.records import Item, Line, Provenance, Row
from critic.settings.judging import Banded
from critic.statistics.intervals import Share
from critic.statistics.run import RunStatistics
from service.answers.judges import Bias, ComparisonAnswer
from service.api.body import StrictRoute
from service.api.judges.asking import EngineName, Ids, ModeSpec, Ref, Seed, feedback_of, item_of, principles_of
from service.bounds.watching import while_connected
from service.context import OnlyOnce, Parts, allowed
from service.keys.auth import Caller
from service.labels import labels
from service.labels.label_form import PromptForm, ResponseForm
from service.problems import responses

router = APIRouter(prefix="/v1/comparisons", tags=["comparisons"], route_class=StrictRoute, responses=responses())
IS_BUSY = True

MOST_RESPONSES = 10  # every two of them are compared

_UNUSED = Sampling(max_tokens=1)  # nothing is written here but by the judge's mode

Feedbacker = Annotated[Caller, allowed("feedback")]


class ComparisonRequest(Banded):
    """Responses to be compared. ``principles`` are ``all``, so many drawn by the seed, or those of these ids."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [
                {
                    "prompt": "How do I keep basil alive in winter?",
                    "responses": ["On a bright window sill, with little water.", "Buy a new one in spring."],
                    "constitution": "helpfulness",
                    "principles": 2,
                }
            ]
        },
    )

    prompt: PromptForm
    responses: Annotated[list[str | ResponseForm], Field(min_length=2, max_length=MOST_RESPONSES)]
    constitution: Ref
    principles: Literal["all"] | Annotated[int, Field(ge=1, le=1000)] | Ids = "all"
    engine: EngineName = None
    mode: ModeSpec = None
    seed: Seed = 0


@router.post("", status_code=201, response_model=ComparisonAnswer, responses=responses(408, 409, 502))
async def compare(
    asked: ComparisonRequest, request: Request, caller: Feedbacker, parts: Parts, once: OnlyOnce
) -> Response:
    """Compare responses under a constitution, and store what the judge says as feedback."""
    item = item_of(asked.prompt, asked.responses)
    parts.labels.texts.check(item)
    _refuse_equals(item)
    constitution = await parts.constitutions.get(asked.constitution)
    mode = parts.engines.mode(asked.engine, asked.mode)
    engine = await parts.engines.get(asked.engine)
    pipeline = pipeline_of(asked, constitution, engine, await engine.suited(mode))
    async with parts.turns.judged:
        row = await while_connected(request, pipeline.run(Line(row=0, where="", item=item)))
    provenance = provenance_of(constitution, engine, mode.name, asked.seed)
    given = feedback_of(row, provenance)
    ids, rows = labels.rows(given, labels.Origin(key=caller.key))
    answer = _answer(row, provenance, ids)
    await once.insert(rows, answer)
    labels.count(given)
    return Response(to_json(answer), 201, media_type="application/json")


def provenance_of(constitution: Constitution, judge: Engine, mode: str, seed: int) -> Provenance:
    """Where the labels of a call come from."""
    return Provenance(
        constitution=constitution.ref,
        constitution_hash=constitution.digest,
        policy="given",
        judge=judge.identity.name,
        mode=mode,
        strategy="samples",
        templates="",
        seed=seed,
    )


def _refuse_equals(item: Item) -> None:
    texts = [response.text for response in item.responses]
    for number, text in enumerate(texts):
        if (first := texts.index(text)) < number:
            problem = f"it is the same text as response {first}; equal sides can't be compared"
            raise InputError(problem, where=f"/responses/{number}", fix="leave one of them out")


def pipeline_of(asked: ComparisonRequest, constitution: Constitution, engine: Engine, mode: Mode) -> Pipeline:
    """What judges the responses under the principles that are asked for."""
    drawn = asked.principles if isinstance(asked.principles, int) else None
    if isinstance(asked.principles, list):
        wanted = {principle.id for principle in principles_of(constitution, asked.principles)}
        kept = tuple(principle for principle in constitution.principles if principle.id in wanted)
        constitution = constitution.model_copy(update={"principles": kept})
    return Pipeline(
        constitution,
        engine,
        engine,
        Jury((Juror(engine, mode),)),
        _UNUSED,
        _UNUSED,
        seed=asked.seed,
        judge_principles=drawn,
        pooling=asked.pooling(),
        ranking=len(asked.responses) > 2,
        lane="interactive",
    )


def _answer(row: Row, provenance: Provenance, ids: list[str]) -> dict[str, Any]:
    """A `ComparisonAnswer`, as plain values: validating it again would cost more than making it."""
    judged, ranked = ids[: len(row.judgements)], ids[len(row.judgements) :]
    judgements = [
        {
            "id": id,
            "group": judgement.group,
            "first": judgement.first,
            "second": judgement.second,
            "outcome": judgement.outcome,
            "probability": judgement.probability,
            "votes": judgement.votes,
        }
        for id, judgement in zip(judged, row.judgements, strict=True)
    ]
    rankings = [
        {"id": id, "group": ranking.group, "ranks": ranking.ranks, "strengths": ranking.strengths}
        for id, ranking in zip(ranked, row.rankings, strict=True)
    ]
    return {
        "constitution": provenance.constitution,
        "constitution_hash": provenance.constitution_hash,
        "judge": provenance.judge,
        "mode": provenance.mode,
        "seed": provenance.seed,
        "judgements": judgements,
        "rankings": rankings,
        "dropped": [drop for drop in row.drops if drop.what == "ranking"],
        "bias": _bias(row),
    }


def _bias(row: Row) -> dict[str, Any]:
    statistics = RunStatistics()
    statistics.add(row)
    return {name: _share(getattr(statistics, name)) for name in Bias.model_fields}


def _share(share: Share) -> dict[str, Any]:
    return {"share": share.total / share.n if share.n else None, "of": share.n}
