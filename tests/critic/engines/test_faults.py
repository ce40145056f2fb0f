"""Whose fault a failure is: signatures, streaks, and what servers say of failures in their many shapes."""

import asyncio
import json
import pickle
from typing import Any

import pytest

from critic.calls.faults import NONE_DONE, SOME_DONE, Streak, plain, signature_of
from critic.engine import EngineDown, EngineError, HeldBack, RequestTooLong, Signature, Unavailable
from critic.server.chat_fault import fault_of


def test_equal_failures_are_equal_whatever_they_quote_and_number() -> None:
    one = EngineError("row 7: the model 'a' failed after 3.5 s (request chatcmpl-8f3a)")
    other = EngineError("row 812: the model 'b' failed after 0.1 s (request chatcmpl-91bb)")
    assert signature_of(one) == signature_of(other)
    assert signature_of(one) != signature_of(EngineError("row 7: the tokenizer 'a' failed"))
    assert signature_of(one) != signature_of(Unavailable(str(one)))
    assert plain("it broke  at\n0x7f3a") == "it broke at #"


def test_a_signature_counts_for_the_words() -> None:
    told = Signature("slow down", 429)
    assert signature_of(Unavailable("now", signature=told)) == signature_of(Unavailable("then", signature=told))


@pytest.mark.parametrize("error", [RequestTooLong("9000 tokens"), HeldBack("violence")])
def test_what_the_content_caused_says_nothing_of_the_engine(error: EngineError) -> None:
    assert signature_of(error) is None


def test_errors_keep_what_they_know_between_processes() -> None:
    error = pickle.loads(pickle.dumps(Unavailable("later", 2.0, signature=Signature("later", 503))))
    assert (str(error), error.retry_after, error.signature.status) == ("later", 2.0, 503)


def fail(streak: Streak, error: EngineError, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(type(error)), streak.attempt():
            raise error


def succeed(streak: Streak) -> None:
    with streak.attempt():
        pass


async def test_where_the_engine_is_gone_what_has_not_begun_does_not_find_out_by_itself() -> None:
    streak, asked = Streak(), 0

    async def gone() -> None:
        nonlocal asked
        asked += 1
        raise EngineDown("nobody is there")

    for _ in range(3):
        with pytest.raises(EngineDown, match="nobody is there"):
            await streak.do(gone)
    assert asked == 1


async def test_equal_failures_with_none_done_are_the_engine_s() -> None:
    streak = Streak()
    fail(streak, EngineError("no template"), NONE_DONE - 1)
    await streak.clear()
    fail(streak, EngineError("no template"))
    with pytest.raises(EngineDown, match=r"8 times in a row .* none was answered: no template"):
        await streak.clear()


async def test_after_a_success_it_takes_more_of_them_and_none_in_between() -> None:
    streak = Streak()
    succeed(streak)
    fail(streak, EngineError("out of memory"), SOME_DONE - 1)
    succeed(streak)
    assert not streak.is_doubtful
    fail(streak, EngineError("out of memory"), SOME_DONE - 1)
    await streak.clear()
    fail(streak, EngineError("out of memory"))
    with pytest.raises(EngineDown, match="in between: out of memory"):
        await streak.clear()


@pytest.mark.parametrize(
    ("error", "before"),
    [
        (RequestTooLong("too long"), False),
        (HeldBack("filtered"), True),
        # The server reads such a request and refuses it. It has answered others.
        (EngineError("bad image", Signature("bad image", 400)), True),
    ],
)
async def test_what_rows_themselves_cause_never_stops_a_run(error: EngineError, before: bool) -> None:
    streak = Streak()
    if before:
        succeed(streak)
    fail(streak, error, 500)
    await streak.clear()


async def test_unequal_failures_are_no_streak() -> None:
    streak = Streak()
    for letter in "abcdefghijklmnop":
        fail(streak, EngineError(f"failure of kind {letter}"))
    await streak.clear()


async def test_a_good_answer_that_is_slow_is_waited_for() -> None:
    streak = Streak()
    answered = asyncio.Event()

    async def slow() -> None:
        with streak.attempt():
            await answered.wait()

    row = asyncio.create_task(slow())
    await asyncio.sleep(0)
    fail(streak, EngineError("bad row"), NONE_DONE)
    waiting = asyncio.create_task(streak.clear())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    answered.set()
    await row
    await waiting
    assert streak.verdict is None


# What servers say. The first of each is its status, the last is what is made of it: status, code, and a part of the
# sentence.
SHAPES: list[tuple[int, Any, tuple[int, str, str]]] = [
    (200, {"error": {"message": "no quota left", "code": 429}}, (429, "429", "no quota left")),
    (200, {"error": {"message": "full", "code": "rate_limit_exceeded"}}, (429, "rate_limit_exceeded", "full")),
    (200, {"error": {"message": "Invalid key", "type": "authentication_error"}}, (401, "", "Invalid key")),
    (200, {"error": "model 'x' not found"}, (502, "", "model 'x' not found")),
    (200, [{"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}], (503, "503", "overloaded")),
    (200, {"object": "error", "message": "bad", "type": "BadRequestError", "code": 400}, (400, "400", "bad")),
    (200, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, (529, "", "Overloaded")),
    (
        200,
        {"choices": [{"finish_reason": "error", "error": {"code": 502, "message": "provider failed"}}]},
        (502, "502", "provider failed"),
    ),
    (400, {"object": "error", "message": "no system messages", "code": 400}, (400, "400", "no system messages")),
    (404, {"error": "model not found, try pulling it first"}, (404, "", "pulling it")),
    (422, {"error": "Template error: roles", "error_type": "template_error"}, (422, "", "Template error")),
    (
        422,
        {"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]},
        (422, "", "body.seed: Extra inputs"),
    ),
    (
        400,
        [{"error": {"code": 400, "message": "API key not valid", "status": "INVALID_ARGUMENT"}}],
        (400, "400", "API"),
    ),
    (503, b"upstream connect error", (503, "", "upstream connect error")),
    (502, b"<html><head><title>502 Bad Gateway</title></head></html>", (502, "", "HTML page, '502 Bad Gateway'")),
]


@pytest.mark.parametrize(("status", "body", "told"), SHAPES)
def test_a_failure_is_read_from_any_shape(status: int, body: object, told: tuple[int, str, str]) -> None:
    fault = fault_of(status, body.decode() if isinstance(body, bytes) else json.dumps(body))
    assert fault is not None
    assert (fault.status, fault.code) == told[:2]
    assert told[2] in fault.message


@pytest.mark.parametrize(
    "text", ['{"choices": [{"message": {"content": "hi"}}]}', "{}", "[]", "<html>", "not JSON", ""]
)
def test_what_tells_no_failure_under_200_is_none(text: str) -> None:
    assert fault_of(200, text) is None


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (
            400,
            {"message": "filtered", "code": "content_filter", "innererror": {"code": "ResponsibleAIPolicyViolation"}},
        ),
        (400, {"message": "Content Exists Risk", "type": "invalid_request_error"}),
        (400, {"message": "Invalid prompt: limited for safety reasons", "code": "invalid_prompt"}),
        (403, {"message": "Your input was flagged", "code": 403, "metadata": {"flagged_input": "..."}}),
        (400, {"message": "The response was filtered by the content management policy", "code": None}),
        (200, {"message": "inspected", "code": "data_inspection_failed"}),
    ],
)
def test_what_a_filter_holds_back_is_told_apart(status: int, error: object) -> None:
    fault = fault_of(status, json.dumps({"error": error}))
    assert fault is not None and fault.is_filter


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, {"message": "This model's maximum context length is 8192 tokens"}),
        (400, {"message": "x", "code": "context_length_exceeded"}),
        (400, {"message": "the request exceeds the available context size", "type": "exceed_context_size_error"}),
        (400, {"message": "prompt is too long: 210000 tokens > 200000 maximum", "type": "invalid_request_error"}),
        (422, {"message": "`inputs` tokens + `max_new_tokens` must be <= 4096", "type": "validation"}),
        (413, {"message": "Payload Too Large"}),
    ],
)
def test_what_is_too_long_is_told_apart(status: int, error: object) -> None:
    fault = fault_of(status, json.dumps({"error": error}))
    assert fault is not None and fault.is_too_long and not fault.is_filter
