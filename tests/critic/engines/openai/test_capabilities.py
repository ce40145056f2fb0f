"""What a server can do, as found at opening; JSON schemas, and what was spent."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from base.errors import InputError
from critic.engine import Engine, EngineError, Request
from critic.server import survey
from critic.server.chat_opening import open_engine
from tests.critic.engines.fake_server import NO_WAIT, FakeServer, Fault, chat

from .asking import request

SCHEMA = '{"type": "object", "properties": {"better": {"type": "string"}}}'


def schema_request() -> Request:
    return replace(request(), json_schema=SCHEMA)


async def test_capabilities_are_found_at_opening(server: FakeServer, vllm: Engine) -> None:
    assert vllm.capabilities == {
        "server": "vllm",
        "context length": "4096",
        "model": "org/model",
        "log-probabilities": "by token id",
        "structured output": "json_schema",
        "continued answers": "yes",
        "likelihoods of texts": "none",
        "answers vary by": "the server's batches, prefix cache and version",
        "thinks first": "no",
        "label mass": "0.74",  # 2 / e
    }
    server.models = (200, {}, {"data": [{"id": "org/model"}]})
    server.offers = {survey.CONTINUED}
    other = open_engine(f"org/model@{server.url}", {})
    assert other.capabilities == {
        "server": "unknown",
        "context length": "unknown",
        "model": "org/model",
        "log-probabilities": "none",
        "structured output": "none",
        "continued answers": "yes",
        "likelihoods of texts": "none",
        "answers vary by": "the server's batches, prefix cache and version",
        "thinks first": "no",
    }
    await other.close()


@pytest.mark.parametrize(
    ("answer", "recorded"),
    [
        ((400, {}, {"error": {"message": "response_format and logprobs are not supported"}}), "none"),
        ((501, {}, {}), "none"),
        ((503, {}, {}), "unknown"),
        ((429, NO_WAIT, {}), "unknown"),
        ((200, {}, b"<html>"), "unknown"),
        (Fault.DROP, "unknown"),
    ],
)
def test_only_a_refusal_is_recorded_as_none(server: FakeServer, answer: Any, recorded: str) -> None:
    server.survey_answer = answer
    engine = open_engine(f"org/model@{server.url}", {"retries": "1"})
    assert {engine.capabilities[name] for name in (survey.LOGPROBS, survey.STRUCTURED, survey.CONTINUED)} == {recorded}
    asyncio.run(engine.close())


def test_a_key_that_only_chats_need_is_checked_at_opening(server: FakeServer) -> None:
    server.survey_answer = (401, {}, {"error": {"message": "No key"}})
    with pytest.raises(InputError, match=r"401: No key.*OPENAI_API_KEY, which is not set"):
        open_engine(f"org/model@{server.url}", {})


async def test_a_schema_is_sent_as_it_is(engine: Engine, server: FakeServer) -> None:
    server.standing = (200, {}, chat('{"better": "A"}'))
    assert (await engine.complete(schema_request())).text == '{"better": "A"}'
    assert server.asked[0]["response_format"] == {
        "type": "json_schema",
        "json_schema": {
            "name": "answer",
            "schema": {"type": "object", "properties": {"better": {"type": "string"}}},
            "strict": True,
        },
    }


async def test_a_schema_is_never_dropped(server: FakeServer) -> None:
    server.offers = set()
    engine = open_engine(f"org/model@{server.url}", {})
    with pytest.raises(EngineError, match=r"JSON schema.*--mode logprob"):
        await engine.complete(schema_request())
    assert server.asked == []
    await engine.close()


async def test_a_schema_that_may_have_been_overlooked_is_checked(server: FakeServer) -> None:
    server.survey_answer = (503, NO_WAIT, {})
    engine = open_engine(f"org/model@{server.url}", {"retries": "0"})
    server.queue.append((200, {}, chat("A is better, I think.")))
    with pytest.raises(EngineError, match="JSON schema"):
        await engine.complete(schema_request())
    server.queue.append((200, {}, chat('{"better": "A"}')))
    assert (await engine.complete(schema_request())).text == '{"better": "A"}'
    await engine.close()


async def test_what_was_spent_is_counted_in_the_prices_given(server: FakeServer) -> None:
    engine = open_engine(f"org/model@{server.url}", {"input_price": "2", "output_price": "10"})
    before = engine.usage.cost
    await engine.complete(request())
    assert engine.usage.cost - before == pytest.approx((7 * 2 + 3 * 10) / 1e6)
    server.standing = (200, {}, chat() | {"usage": None})
    with pytest.raises(EngineError, match="no token counts"):
        await engine.complete(request())
    await engine.close()


@pytest.mark.parametrize("options", [{"input_price": "1", "output_price": "1"}, {"tpm": "1000"}])
def test_a_server_that_does_not_count_is_told_where_counts_are_needed(
    server: FakeServer, options: dict[str, str]
) -> None:
    server.first_answer = server.survey_answer = (200, {}, chat() | {"usage": None})
    with pytest.raises(InputError, match=r"(?s)no token counts.*Leave out"):
        open_engine(f"org/model@{server.url}", options)
