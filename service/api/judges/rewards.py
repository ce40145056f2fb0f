"""Rewards for trainers elsewhere, in the form in which OpenRLHF asks remote reward models.

OpenRLHF sends no header of ours: its address holds everything, as in
``http://cai:KEY@HOST:8300/v1/rewards?engine=NAME``. For verl there is `service.rewards.verl_reward`.
"""

import base64
import binascii
import sys
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Annotated, Any, Self

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from constitution import Principle
from critic.judging import offered
from critic.records import Message, Prompt
from critic.rewarding.comparing import ComparisonRewards
from critic.rewarding.sources import check_untagged, of_one_group
from service.answers.judges import RewardAnswer
from service.api.body import PassingRequest, StrictRoute
from service.bounds.watching import while_connected
from service.context import Parts, allowed
from service.keys.auth import Caller
from service.problems import responses
from service.refusals import Invalid
from service.rewards.chat_text import ChatTextError, answer_of, prompt_of, split
from service.rewards.group import GroupAnswer, GroupRequest, compared, principle_of, text_of
from service.rewards.rewards import Answer, rewards, source_of

MOST_ANSWERS = 1024

Reader = Annotated[Caller, allowed("read", "jobs")]


class PasswordRoute(StrictRoute):
    """A route that takes a key as the password of HTTP's basic scheme, too: an address can hold that."""

    request = PassingRequest  # a policy writes what it likes, and each of its answers has a reward

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See `StrictRoute`."""
        handler = super().get_route_handler()

        async def with_password(request: Request) -> Response:
            headers = request.scope["headers"]
            request.scope["headers"] = [
                (name, _bearer(value) if name == b"authorization" else value) for name, value in headers
            ]
            return await handler(request)

        return with_password


router = APIRouter(prefix="/v1/rewards", tags=["rewards"], route_class=PasswordRoute, responses=responses())


class RewardRequest(BaseModel):
    """Answers to be rewarded: ``responses`` with their ``prompts``, or, as OpenRLHF sends them, each ``query``: prompt
    and answer in one text, written out by the policy's chat template (ChatML, Llama 3, Gemma, or none).

    ``labels`` are the trainer's own, and play no part here.
    """

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [
                {"prompts": ["Name a river."], "responses": ["The Po."]},
                {
                    "query": ["<|im_start|>user\nName a river.<|im_end|>\n<|im_start|>assistant\nThe Po.<|im_end|>"],
                    "prompts": ["<|im_start|>user\nName a river.<|im_end|>\n<|im_start|>assistant\n"],
                    "labels": [None],
                },
            ]
        },
    )

    query: list[str] | None = Field(default=None, min_length=1, max_length=MOST_ANSWERS)
    prompts: list[str | list[Message]] | None = Field(
        default=None, min_length=1, max_length=MOST_ANSWERS, fail_fast=True
    )
    responses: list[str] | None = Field(default=None, min_length=1, max_length=MOST_ANSWERS)
    labels: list[Any] | None = Field(default=None, max_length=MOST_ANSWERS)

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.query is None) == (self.responses is None):
            raise ValueError("expected either query (prompt and answer in one text) or responses, with their prompts")
        given = self.query if self.query is not None else self.responses
        if self.responses is not None and self.prompts is None:
            raise ValueError("responses need their prompts")
        if self.prompts is not None and given is not None and len(self.prompts) != len(given):
            raise ValueError(f"there are {len(given)} answers and {len(self.prompts)} prompts; each needs one")
        return self


@router.post("", responses=responses(408, 502))
async def reward(
    asked: RewardRequest,
    request: Request,
    caller: Reader,
    parts: Parts,
    engine: Annotated[
        str | None, Query(min_length=1, max_length=250, description="By default the default engine.")
    ] = None,
    constitution: Annotated[
        str | None, Query(min_length=1, max_length=200, description="What a judge judges under.")
    ] = None,
    group: Annotated[
        str | None, Query(min_length=1, max_length=200, description="Whose values, where there are several.")
    ] = None,
) -> RewardAnswer:
    """Rewards from a reward model, a rule, or a judge that scores each answer under a constitution."""
    each = replace(parts.labels.texts, label=sys.maxsize)  # many answers together may be long
    each.check(asked.model_dump(include={"query", "prompts", "responses"}))
    answers = _answers(asked)
    judge = await parts.engines.get(engine)
    under = await parts.constitutions.get(constitution) if constitution is not None else None
    grades = await while_connected(request, rewards(source_of(judge, under, group), answers))
    values = [grade.reward for grade in grades]
    return RewardAnswer(rewards=values, scores=values, problems=[grade.problem or None for grade in grades])


def _answers(asked: RewardRequest) -> list[Answer]:
    if asked.query is None:
        pairs = zip(asked.prompts or (), asked.responses or (), strict=True)
        return [
            (_prompt(prompt, number), answer_of(response, prompt if isinstance(prompt, str) else ""))
            for number, (prompt, response) in enumerate(pairs)
        ]
    given: Sequence[str | list[Message] | None] = asked.prompts or [None] * len(asked.query)
    return [_split(*both, number) for number, both in enumerate(zip(asked.query, given, strict=True))]


def _split(query: str, prompt: str | list[Message] | None, number: int) -> Answer:
    if isinstance(prompt, list):
        raise Invalid("messages are no beginning of a text", "Send responses.", where=f"/prompts/{number}")
    try:
        return split(query, prompt)
    except ChatTextError as error:
        raise Invalid(str(error), _INSTEAD, where=f"/query/{number}") from None


def _prompt(prompt: str | list[Message], number: int) -> Prompt:
    try:
        return Prompt(messages=tuple(prompt)) if isinstance(prompt, list) else prompt_of(prompt)
    except ValidationError as error:
        raise _refused(error, number) from None
    except ChatTextError as error:
        raise Invalid(str(error), _INSTEAD, where=f"/prompts/{number}") from None


_INSTEAD = "Send prompts as lists of messages, and responses."


def _refused(error: ValidationError, number: int) -> Invalid:
    return Invalid(error.errors()[0]["msg"].removeprefix("Value error, "), where=f"/prompts/{number}")


def _bearer(value: bytes) -> bytes:
    """The key that is the password of basic authorization, as a bearer's; anything else as it is."""
    scheme, _, encoded = value.partition(b" ")
    if scheme.lower() != b"basic":
        return value
    try:
        return b"Bearer " + base64.b64decode(encoded, validate=True).partition(b":")[2]
    except binascii.Error:
        return value


@router.post("/compare", responses=responses(408, 502))
async def compare(
    asked: GroupRequest,
    request: Request,
    caller: Reader,
    parts: Parts,
    engine: Annotated[
        str | None, Query(min_length=1, max_length=250, description="By default the default engine.")
    ] = None,
    constitution: Annotated[
        str | None, Query(min_length=1, max_length=200, description="What a judge compares under.")
    ] = None,
    group: Annotated[
        str | None, Query(min_length=1, max_length=200, description="Whose values, where there are several.")
    ] = None,
    opponents: Annotated[int, Query(ge=1, le=63, description="With how many others each answer is compared.")] = 2,
) -> GroupAnswer:
    """Rewards within a group, in the shape of NeMo Gym's `genrm_compare`: a judge compares the answers to a prompt."""
    each = replace(parts.labels.texts, label=sys.maxsize)  # many answers together may be long
    each.check(asked.model_dump())
    prompt, texts = _conversation(asked), _texts(asked)
    judge = await parts.engines.get(engine)
    mode, principles = offered(parts.engines.mode(engine), judge), await _principles(asked, parts, constitution, group)
    source = ComparisonRewards(judge, mode, principles, opponents)
    check_untagged(principles)
    return GroupAnswer.of(await while_connected(request, compared(source, prompt, texts)))


async def _principles(
    asked: GroupRequest, parts: Parts, constitution: str | None, group: str | None
) -> tuple[Principle, ...]:
    if constitution is not None:
        return of_one_group(await parts.constitutions.get(constitution), group)
    if asked.principle is None:
        raise Invalid("there is nothing to compare by", "Name a constitution, or send a principle.", where="/principle")
    return (principle_of(asked.principle),)


def _conversation(asked: GroupRequest) -> Prompt:
    try:
        return Prompt(messages=tuple(asked.conversation_history))
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise Invalid(reason, where="/conversation_history") from None


def _texts(asked: GroupRequest) -> list[str | None]:
    texts: list[str | None] = []
    for number, response in enumerate(asked.response_objs):
        try:
            texts.append(text_of(response))
        except ValueError as error:
            raise Invalid(str(error), where=f"/response_objs/{number}") from None
    return texts
