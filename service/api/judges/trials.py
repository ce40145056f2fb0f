"""Trying a draft: what a judge says under a principle that nobody has published, of examples that people labelled."""

from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from constitution import InputError
from critic.feedback import ComparisonLabel
from critic.records import Item, Line, Message, Response, Vote
from service.api.body import StrictRoute
from service.api.judges.asking import EngineName, ModeSpec, principles_of
from service.api.judges.comparisons import ComparisonRequest, pipeline_of
from service.bounds.watching import while_connected
from service.context import Parts, allowed
from service.keys.auth import Caller
from service.labels.label_query import StoredFeedback
from service.problems import responses
from service.refusals import Invalid
from service.review import examples as stored_examples

router = APIRouter(prefix="/v1/trials", tags=["constitutions"], route_class=StrictRoute, responses=responses())
IS_BUSY = True

MOST_EXAMPLES = 3

Feedbacker = Annotated[Caller, allowed("feedback")]


class TrialRequest(BaseModel):
    """A constitution's ``text`` (YAML), and the id of one of its principles. ``items``: by default the newest ones."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"text": "name: brief ...", "principle": "short"}]},
    )

    text: str = Field(min_length=1, max_length=1_000_000)
    principle: str = Field(min_length=1, max_length=200)
    engine: EngineName = None
    mode: ModeSpec = None
    items: Annotated[list[Annotated[str, Field(max_length=64)]], Field(max_length=MOST_EXAMPLES)] = []


class TrialExample(BaseModel):
    """One example: what the judge says under the principle, and what people and judges had said of it before.

    Probabilities are that the first response is better; ``before`` is the mean of the labels that are there.
    """

    item: str
    prompt: list[Message]
    responses: list[str]
    probability: float | None
    outcome: str
    votes: list[Vote]
    before: float | None
    people: int


class Trial(BaseModel):
    """What came of a trial. Nothing of it is stored."""

    principle: str
    judge: str
    mode: str
    examples: list[TrialExample]


@router.post("", responses=responses(408, 502))
async def tried(asked: TrialRequest, request: Request, caller: Feedbacker, parts: Parts) -> Trial:
    """Judge up to three stored comparisons under one principle of a draft."""
    await parts.constitutions.refresh()
    try:
        constitution = await parts.figures.run(
            request, lambda stop: parts.constitutions.checked(asked.text.encode(), stop.check)
        )
    except InputError as error:
        raise Invalid(f"{error.where}: {error.problem}", error.fix, where="/text") from None
    principles_of(constitution, [asked.principle])
    mode = parts.engines.mode(asked.engine, asked.mode)
    engine = await parts.engines.get(asked.engine)
    suited = await engine.suited(mode)
    examples = []
    for labels in await stored_examples.comparisons(parts.database, asked.items, MOST_EXAMPLES):
        item = Item(prompt=labels[0].prompt, responses=_blind(labels[0]))
        wanted = ComparisonRequest(
            prompt=labels[0].prompt,
            responses=[response.text for response in item.responses],
            constitution=constitution.ref,
            principles=[asked.principle],
        )
        pipeline = pipeline_of(wanted, constitution, engine, suited)
        async with parts.turns.judged:
            row = await while_connected(request, pipeline.run(Line(row=0, where="", item=item)))
        judgement = row.judgements[0]
        before, people = _before(labels)
        examples.append(
            TrialExample(
                item=labels[0].item,
                prompt=list(item.prompt.messages),
                responses=[response.text for response in item.responses],
                probability=judgement.probability,
                outcome=judgement.outcome,
                votes=list(judgement.votes),
                before=before,
                people=people,
            )
        )
    return Trial(principle=asked.principle, judge=engine.identity.name, mode=suited.name, examples=examples)


def _blind(label: StoredFeedback) -> tuple[Response, ...]:
    return tuple(Response(text=response.text, model="given") for response in label.responses)


def _before(labels: list[StoredFeedback]) -> tuple[float | None, int]:
    """The mean of what was said that the first response is better, in the first label's order; how many people said it.

    Of people, where there are any.
    """
    order = [response.text for response in labels[0].responses]
    people = [label for label in labels if label.source == "human"]
    said = []
    for label in people or labels:
        turned = label.in_order_of(order).label
        if isinstance(turned, ComparisonLabel) and turned.first_is_better is not None:
            said.append(turned.first_is_better)
    return (sum(said) / len(said) if said else None), len(people)
