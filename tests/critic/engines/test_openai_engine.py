"""The `openai` engine against a real HTTP server on the loopback, whose every answer the test chooses."""

import asyncio
import math
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import example, given
from hypothesis import strategies as st

from constitution.errors import InputError
from critic.engines import open_engine as open_spec
from critic.engines import parse_spec, survey
from critic.engines.base import (
    Choices,
    Engine,
    EngineDown,
    EngineError,
    Node,
    OwnTokens,
    Request,
    RequestTooLong,
    Sampling,
    Unavailable,
)
from critic.engines.chat_reply import Likely, Position
from critic.engines.defuse import defuse
from critic.engines.openai import open_engine
from critic.judging.base import log_odds
from critic.records import Message
from tests.critic.engines.fake_server import KEY, NO_WAIT, FakeServer, Fault, chat, likely

VLLM = {"id": "org/model", "owned_by": "vllm", "max_model_len": 4096}


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("critic.engines.wrappers.FIRST_WAIT", 0.001)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.delenv(name, raising=False)
    started = FakeServer()
    thread = started.serve()
    yield started
    started.die()
    thread.join()


@pytest_asyncio.fixture
async def engine(server: FakeServer) -> AsyncIterator[Engine]:
    opened = open_engine(f"org/model@{server.url}", {"timeout": "20"})
    yield opened
    await opened.close()


@pytest_asyncio.fixture
async def vllm(server: FakeServer) -> AsyncIterator[Engine]:
    """vLLM, where the letters' ids can be looked up."""
    server.models = (200, {}, {"data": [VLLM]})
    server.ids = {"A": [330], "B": [365]}
    opened = open_engine(f"org/model@{server.url}", {})
    yield opened
    await opened.close()


def user(text: str) -> Message:
    return Message(role="user", content=text)


def assistant(text: str) -> Message:
    return Message(role="assistant", content=text)


def request(*messages: Message, seed: int = 5, **sampling: Any) -> Request:
    return Request(messages or (user("hi"),), Sampling(**{"max_tokens": 16} | sampling), seed)


def question(*texts: str, choices: tuple[str, ...] = ("A", "B")) -> Node:
    return Node(tuple(map(user, texts)), Choices(choices))


# Opening


def test_the_spec_opens_the_engine(server: FakeServer) -> None:
    engine = open_spec(parse_spec(f"openai:org/model@{server.url}?concurrency=3&timeout=5"))
    assert engine.identity.name == "org/model"
    assert engine.identity.settings == ()
    assert server.paths[0] == "GET /v1/models" and server.asked == []
    asyncio.run(engine.close())


def test_importing_the_registry_does_not_import_the_library() -> None:
    code = "import critic.engines, sys; assert 'openai' not in sys.modules; import critic.engines.defuse"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_identity_is_kept_over_restarts_and_changes_with_the_weights(server: FakeServer) -> None:
    def revision(**card: object) -> str:
        server.models = (200, {}, {"data": [{"id": "other"}, {"id": "org/model"} | card]})
        engine = open_engine(f"org/model@{server.url}", {})
        asyncio.run(engine.close())
        return engine.identity.revision

    assert revision(created=1, root="/w") == revision(created=2, root="/w", permission=[{"id": "modelperm-9"}])
    assert len({revision(root="/w"), revision(root="/v"), revision(root="/w", parent="base"), revision()}) == 4


@pytest.mark.parametrize(
    ("target", "options", "said"),
    [
        (
            "m",
            {"colour": "red"},
            "known options: concurrency, key_env, retries, rpm, timeout, tpm, input_price",
        ),
        ("m", {"concurrency": "0"}, "concurrency=0 is not a whole number"),
        ("m", {"timeout": "soon"}, "timeout=soon is not a whole number"),
        ("m", {"retries": "-1"}, "retries=-1 is not a whole number"),
        ("m", {"rpm": "0"}, "rpm=0 is not a whole number of at least 1"),
        ("m", {"tpm": "1e3"}, "tpm=1e3 is not a whole number"),
        ("m", {"input_price": "1", "output_price": "nan"}, "output_price=nan is not a price"),
        ("m", {"input_price": "-1", "output_price": "1"}, "input_price=-1 is not a price"),
        ("m", {"output_price": "1"}, "only output_price is given"),
        ("m", {"key_env": "NO_SUCH_VARIABLE"}, "NO_SUCH_VARIABLE is not set"),
        ("m@localhost:8000", {}, "openai:MODEL@URL"),
        ("@http://localhost:8000/v1", {}, "openai:MODEL@URL"),
        ("m@http://", {}, "URL is not valid"),
        ("m@http://[::1/v1", {}, "URL is not valid"),
        ("m@http://a b/v1", {}, "URL is not valid"),
        ("m@http://a\x01b/v1", {}, "URL is not valid"),
        ("m@http://host:99999/v1", {}, "URL is not valid"),
    ],
)
def test_bad_specs_are_refused(target: str, options: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=f"(?i){said}"):
        open_engine(target, options)


def test_a_url_with_a_password_is_refused_and_not_repeated() -> None:
    with pytest.raises(InputError, match="key_env") as refused:
        open_engine("a@b/model@https://me:hunter2@example.org/v1", {})
    assert "hunter2" not in str(refused.value)


def test_a_server_that_is_not_there_is_told_at_once() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(InputError, match=f"(?s)127.0.0.1:{port}.*no connection.*Start it"):
        open_engine(f"m@http://127.0.0.1:{port}/v1", {})


def test_an_unknown_model_is_told_with_those_that_are_served(server: FakeServer) -> None:
    with pytest.raises(InputError, match=r"(?s)no model 'model'.*It serves: org/model"):
        open_engine(f"model@{server.url}", {})


def test_a_url_without_v1_is_told(server: FakeServer) -> None:
    with pytest.raises(InputError, match=r"(?s)404.*end in /v1"):
        open_engine(f"org/model@{server.url.removesuffix('/v1')}", {})


@pytest.mark.parametrize("body", [b"<html>welcome</html>", b"{}", b'{"data": 3}', b""])
def test_a_server_of_another_kind_is_told(server: FakeServer, body: bytes) -> None:
    server.models = (200, {"content-type": "text/html"}, body)
    with pytest.raises(InputError, match="no OpenAI-compatible server"):
        open_engine(f"org/model@{server.url}", {})


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_told_by_its_variable_and_never_shown(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    server.models = (status, {}, {"error": {"message": f"Incorrect API key provided: {KEY}"}})
    with pytest.raises(InputError, match="OPENAI_API_KEY, which is not set"):
        open_engine(f"org/model@{server.url}", {})
    monkeypatch.setenv("MY_KEY", KEY)
    with pytest.raises(InputError, match="MY_KEY, which is set, but refused") as refused:
        open_engine(f"org/model@{server.url}", {"key_env": "MY_KEY"})
    assert KEY not in str(refused.value)
    assert server.keys[-1] == f"Bearer {KEY}"


def test_a_key_that_no_header_can_carry_is_refused_and_not_shown(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\nX: y")
    with pytest.raises(InputError, match="OPENAI_API_KEY holds no API key") as refused:
        open_engine(f"org/model@{server.url}", {})
    assert KEY not in str(refused.value)


# Completing


async def test_a_chat_is_asked_as_it_is_meant(engine: Engine, server: FakeServer) -> None:
    asked = request(
        Message(role="system", content="s"),
        user("one "),
        user("two"),
        seed=2**40 + 9,
        temperature=0.3,
        top_p=0.9,
        stop=("x",),
    )
    before = replace(engine.usage)
    done = await engine.complete(asked)
    assert (done.text, done.finish, done.prompt_tokens, done.completion_tokens) == ("hello", "stop", 7, 3)
    assert server.asked == [
        {
            "model": "org/model",
            "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "one two"}],
            "max_tokens": 16,
            "temperature": 0.3,
            "top_p": 0.9,
            "seed": 9,
            "stop": ["x"],
        }
    ]
    assert (engine.usage.prompt_tokens - before.prompt_tokens, engine.usage.calls - before.calls) == (7, 1)
    assert engine.usage.completion_tokens - before.completion_tokens == 3
    assert engine.usage.seconds_busy > before.seconds_busy


async def test_length_is_length_and_an_empty_answer_is_empty(engine: Engine, server: FakeServer) -> None:
    server.standing = (200, {}, chat("", "length") | {"usage": None})
    done = await engine.complete(request())
    assert (done.text, done.finish, done.prompt_tokens) == ("", "length", 0)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (chat(finish="content_filter"), "content_filter"),
        (chat(finish="tool_calls"), "tool_calls"),
        (chat(finish=None), "None"),
        (chat(None), "content is null"),
        (chat(None, message={"content": None, "refusal": "I will not"}), "I will not"),
        ({"choices": []}, "choices"),
        ({"choices": chat()["choices"] * 2}, "choices"),
        (chat() | {"usage": {"prompt_tokens": -7}}, "usage.prompt_tokens"),
        ({"choices": [{"finish_reason": "stop"}]}, "choices.0.message"),
        ({"error": "busy"}, "choices"),
        ([], "something else than a chat"),
        (b"not JSON", "something else than a chat"),
        (b"", "something else than a chat"),
        (b"\xff\xfe", "something else than a chat"),
    ],
)
async def test_what_is_no_answer_is_an_engine_error(
    engine: Engine, server: FakeServer, body: object, said: str
) -> None:
    server.standing = (200, {}, body)
    with pytest.raises(EngineError, match=said):
        await engine.complete(request())


async def test_an_answer_is_continued_where_the_server_does_that(
    server: FakeServer, engine: Engine, vllm: Engine
) -> None:
    begun = request(user("hi"), assistant("Well"), assistant(", "))
    assert (engine.capabilities[survey.CONTINUED], vllm.capabilities[survey.CONTINUED]) == ("none", "yes")
    with pytest.raises(EngineError, match="not known to continue"):
        await engine.complete(begun)
    assert server.asked == []
    await vllm.complete(begun)
    assert server.asked[0]["messages"][-1] == {"role": "assistant", "content": "Well, "}
    assert (server.asked[0]["continue_final_message"], server.asked[0]["add_generation_prompt"]) == (True, False)


async def test_vllm_is_not_left_to_the_model_s_own_sampling(vllm: Engine, server: FakeServer) -> None:
    await vllm.complete(request())
    assert {key: server.asked[0][key] for key in ("top_k", "min_p", "repetition_penalty")} == {
        "top_k": 0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
    }


async def test_the_limit_s_newer_name_is_learned(engine: Engine, server: FakeServer) -> None:
    said = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
    server.queue.append((400, {}, {"error": {"message": said, "param": "max_tokens", "code": "unsupported_parameter"}}))
    assert (await engine.complete(request())).text == "hello"
    await engine.complete(request())
    limits = [{key: value for key, value in body.items() if key.startswith("max_")} for body in server.asked]
    assert limits == [{"max_tokens": 16}, {"max_completion_tokens": 16}, {"max_completion_tokens": 16}]


# Errors


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503, 529])
async def test_what_passes_is_asked_again(engine: Engine, server: FakeServer, status: int) -> None:
    server.queue.extend([(status, NO_WAIT, {"error": {"message": "later"}})] * 2)
    assert (await engine.complete(request())).text == "hello"
    assert len(server.asked) == 3


async def test_retry_after_is_honoured(engine: Engine, server: FakeServer) -> None:
    server.queue.append((429, {"retry-after": "1"}, {}))
    before = asyncio.get_running_loop().time()
    await engine.complete(request())
    assert asyncio.get_running_loop().time() - before >= 1


@pytest.mark.parametrize(
    "fault", [Fault.HALF, Fault.DROP, (200, {}, b"<html>busy</html>"), (200, {}, {"error": "busy"})]
)
async def test_an_answer_that_is_none_is_asked_for_again(engine: Engine, server: FakeServer, fault: Any) -> None:
    server.queue.extend([fault, fault])
    assert (await engine.complete(request())).text == "hello"
    assert len(server.asked) == 3


@pytest.mark.parametrize("status", [429, 500])
async def test_what_does_not_pass_is_told_after_all_retries(server: FakeServer, status: int) -> None:
    engine = open_engine(f"org/model@{server.url}", {"retries": "2"})
    server.standing = (status, NO_WAIT, {"error": {"message": "never"}})
    with pytest.raises(Unavailable, match=f"{status}: .*never"):
        await engine.complete(request())
    assert len(server.asked) == 3
    await engine.close()


@pytest.mark.parametrize("status", [401, 402, 403])
async def test_a_key_that_is_refused_ends_the_run(engine: Engine, server: FakeServer, status: int) -> None:
    server.standing = (status, {}, {"error": {"message": "revoked"}})
    with pytest.raises(EngineDown, match=f"{status}: revoked"):
        await engine.complete(request())
    assert len(server.asked) == 1


async def test_a_quota_that_is_used_up_ends_the_run(engine: Engine, server: FakeServer) -> None:
    server.standing = (429, {}, {"error": {"message": "You are out of credits", "code": "insufficient_quota"}})
    with pytest.raises(EngineDown, match="out of credits"):
        await engine.complete(request())
    assert len(server.asked) == 1


async def test_a_server_that_is_gone_ends_the_run_after_all_retries(engine: Engine, server: FakeServer) -> None:
    server.die()
    with pytest.raises(EngineDown, match=r"(?s)no connection to the server.*Start it"):
        await engine.complete(request())


async def test_a_wait_that_is_too_long_ends_the_run_and_nobody_asks_again(engine: Engine, server: FakeServer) -> None:
    server.standing = (429, {"retry-after": "86400"}, {"error": {"message": "tomorrow"}})
    with pytest.raises(EngineDown, match=r"tomorrow.*86400 s"):
        await engine.complete(request())
    with pytest.raises(EngineDown, match="86400 s"):
        await engine.complete(request(seed=6))
    assert len(server.asked) == 1


async def test_another_model_s_answer_is_refused(engine: Engine, server: FakeServer) -> None:
    server.queue.append((200, {}, chat() | {"model": "m-2"}))
    with pytest.raises(EngineError, match="another model answered: 'm-2', and 'org/model' before"):
        await engine.complete(request())


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, {"message": "This model's maximum context length is 2048 tokens. However, you requested 9000."}),
        (400, {"message": "too many", "code": "context_length_exceeded"}),
        (400, {"message": "the request exceeds the available context size, try increasing it", "type": "x"}),
        (413, {"message": "Payload Too Large"}),
    ],
)
async def test_a_chat_that_is_too_long(engine: Engine, server: FakeServer, status: int, error: object) -> None:
    server.standing = (status, {}, {"error": error})
    with pytest.raises(RequestTooLong):
        await engine.complete(request())
    assert len(server.asked) == 1


async def test_another_bad_request_is_not_too_long(engine: Engine, server: FakeServer) -> None:
    server.standing = (400, {}, {"error": {"message": "temperature must be 1"}})
    with pytest.raises(EngineError, match="temperature must be 1") as refused:
        await engine.complete(request())
    assert not isinstance(refused.value, RequestTooLong)


async def test_a_server_that_does_not_answer_in_time(server: FakeServer) -> None:
    engine = open_engine(f"org/model@{server.url}", {"timeout": "1", "retries": "0"})
    server.release.clear()
    with pytest.raises(EngineError, match="did not answer in time"):
        await engine.complete(request())
    server.release.set()
    await engine.close()


async def test_calls_under_way_end_when_the_engine_is_closed(engine: Engine, server: FakeServer) -> None:
    server.release.clear()
    call = asyncio.ensure_future(engine.complete(request()))
    while not server.asked:
        await asyncio.sleep(0.01)
    await engine.close()
    with pytest.raises(EngineError, match="closed"):
        await call
    with pytest.raises(EngineError, match="closed"):
        await engine.complete(request())


async def test_a_cancelled_call_is_cancelled(engine: Engine, server: FakeServer) -> None:
    server.release.clear()
    call = asyncio.ensure_future(engine.complete(request()))
    while not server.asked:
        await asyncio.sleep(0.01)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


@pytest.mark.parametrize("lane", ["batch", "interactive"])
async def test_at_most_so_many_requests_are_under_way(server: FakeServer, lane: Any) -> None:
    engine = open_engine(f"org/model@{server.url}", {"concurrency": "3"})
    server.release.clear()
    calls = asyncio.gather(*(engine.complete(request(seed=i), lane) for i in range(9)))
    while len(server.asked) < 3:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    server.release.set()
    await calls
    assert (server.most_at_once, len(server.asked)) == (3, 9)
    await engine.close()


async def test_the_interactive_lane_does_not_wait_for_the_batch_lane(server: FakeServer) -> None:
    engine = open_engine(f"org/model@{server.url}", {"concurrency": "1"})
    server.release.clear()
    batch = [asyncio.ensure_future(engine.complete(request(user("batch")))) for _ in range(3)]
    while not server.asked:
        await asyncio.sleep(0.01)
    urgent = asyncio.ensure_future(engine.complete(request(user("urgent")), "interactive"))
    while len(server.asked) < 2:
        await asyncio.sleep(0.01)
    assert [body["messages"][0]["content"] for body in server.asked] == ["batch", "urgent"]
    server.release.set()
    await asyncio.gather(urgent, *batch)
    await engine.close()


# Scoring


async def test_choices_are_read_off_the_likeliest_tokens(engine: Engine, server: FakeServer) -> None:
    server.standing = (200, {}, likely(B=-0.5, A=-1.25, C=-4.0))
    (score,) = await engine.score(question("Which?"))
    assert score.values == (-1.25, -0.5)
    (body,) = server.asked
    assert "seed" not in body
    assert {key: body[key] for key in ("max_tokens", "logprobs", "top_logprobs", "temperature", "top_p")} == {
        "max_tokens": 1,
        "logprobs": True,
        "top_logprobs": 20,
        "temperature": 1.0,
        "top_p": 1.0,
    }


async def test_vllm_is_asked_for_the_choices_own_tokens(vllm: Engine, server: FakeServer) -> None:
    server.standing = (200, {}, likely(**{"token_id:17": -0.1, "token_id:365": -11.5, "token_id:330": -9.25}))
    assert (await vllm.score(question("Which?")))[0].values == (-9.25, -11.5)
    await vllm.score(question("Which?"))
    assert server.asked[0]["logprob_token_ids"] == [330, 365]
    assert server.asked[0]["return_tokens_as_token_ids"] is True
    assert server.paths.count("POST /tokenize") == 2  # once a choice


async def test_a_choice_of_several_tokens_is_refused(vllm: Engine, server: FakeServer) -> None:
    server.ids["Yes"] = [365, 366]
    with pytest.raises(EngineError, match="'Yes' is 2 tokens"):
        await vllm.score(question("Which?", choices=("A", "Yes")))


@pytest.mark.parametrize("status", [200, 403, 404])
async def test_a_gateway_that_hides_the_ids_leaves_the_likeliest_tokens(server: FakeServer, status: int) -> None:
    server.models = (200, {}, {"data": [VLLM]})
    server.no_ids = (status, {}, {"message": "welcome"})
    engine = open_engine(f"org/model@{server.url}", {})
    assert engine.capabilities[survey.LOGPROBS] == "top 20"
    server.standing = (200, {}, likely(B=-0.5, A=-1.25))
    (score,) = await engine.score(question("Which?"))
    assert score.values == (-1.25, -0.5)
    assert "logprob_token_ids" not in server.asked[0]
    await engine.close()


async def test_ids_that_are_only_late_are_not_given_up(server: FakeServer) -> None:
    server.models = (200, {}, {"data": [VLLM]})
    server.no_ids = (503, NO_WAIT, {})
    engine = open_engine(f"org/model@{server.url}", {"retries": "1"})
    assert engine.capabilities[survey.LOGPROBS] == "unknown"
    server.standing = (200, {}, likely(**{"token_id:1": -1.0, "token_id:2": -2.0}))
    with pytest.raises(EngineError, match="503"):
        await engine.score(question("Which?"))
    server.ids = {"A": [1], "B": [2]}
    assert (await engine.score(question("Which?")))[0].values == (-1.0, -2.0)
    assert engine.capabilities[survey.LOGPROBS] == "by token id"
    await engine.close()


async def test_a_tree_is_read_path_by_path_in_its_order(server: FakeServer) -> None:
    server.queue.extend((200, {}, likely(A=-float(i), B=-9.0)) for i in range(1, 5))
    tree = Node(
        (Message(role="system", content="s"), user("x")),
        children=(
            Node((user("1"),), Choices(("A", "B")), (Node((user("a"),), Choices(("A",))),)),
            Node((user("2"),), children=(Node((user("b"),), Choices(("B", "A"))), question("c"))),
        ),
    )
    engine = open_engine(f"org/model@{server.url}", {"concurrency": "1"})
    scores = await engine.score(tree)
    assert [body["messages"][1]["content"] for body in server.asked] == ["x1", "x1a", "x2b", "x2c"]
    assert [score.values for score in scores] == [(-1.0, -9.0), (-2.0,), (-9.0, -3.0), (-4.0, -9.0)]
    await engine.close()


@pytest.mark.parametrize(
    ("tokens", "expected", "odds"),
    [
        ({"A": -0.1, "C": -3.0}, (-0.1, -math.inf), 50.0),  # one of them is not among the likeliest: as sure as can be
        ({"C": -0.1, " A": -1.0, "a": -2.0}, (-math.inf, -math.inf), None),  # none is: nothing is made up
        ({"C": -0.1, "A": -9999.0, "B": -9999.0}, (-math.inf, -math.inf), None),  # what servers write for -inf
        ({"A": math.nan, "B": -1.0}, (math.nan, -1.0), None),
    ],
)
async def test_what_is_not_offered_is_not_made_up(
    engine: Engine,
    server: FakeServer,
    tokens: dict[str, float],
    expected: tuple[float, float],
    odds: float | None,
) -> None:
    server.standing = (200, {}, likely(**tokens))
    (score,) = await engine.score(question("Which?"))
    assert score.values == pytest.approx(expected, nan_ok=True)
    assert log_odds(*score.values) == odds


async def test_a_model_that_ends_its_turn_at_once_is_unreadable(engine: Engine, server: FakeServer) -> None:
    server.standing = (200, {}, chat("", logprobs={"content": []}))
    (score,) = await engine.score(question("Which?"))
    assert score.values == (-math.inf, -math.inf)


def test_tokens_with_the_same_text_are_summed() -> None:
    listed = (("A", math.log(0.25)), ("B", -2.0), ("A", math.log(0.125)))
    position = Position(top_logprobs=tuple(Likely(token=token, logprob=value) for token, value in listed))
    assert position.logprob_of("A") == pytest.approx(math.log(0.375))
    assert position.logprob_of("B") == -2.0


async def test_a_drawn_token_that_is_not_listed_does_not_count(engine: Engine, server: FakeServer) -> None:
    drawn = {"token": "A", "logprob": -7.0, "top_logprobs": [{"token": "B", "logprob": -0.1}]}
    server.standing = (200, {}, chat("A", "length", logprobs={"content": [drawn]}))
    (score,) = await engine.score(question("Which?"))
    assert score.values == (-math.inf, -0.1)


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"logprobs": None},
        {"logprobs": {"content": None}},
        {"logprobs": {"content": [{"token": "A", "logprob": 0}]}},
    ],
)
async def test_a_server_without_logprobs_is_known_and_told(server: FakeServer, extra: Any) -> None:
    server.survey_answer = (200, {}, chat("A", "length", **extra))
    engine = open_engine(f"org/model@{server.url}", {})
    assert engine.capabilities[survey.LOGPROBS] == "none"
    with pytest.raises(EngineError, match=r"offers no log-probabilities.*--mode verdict"):
        await engine.score(question("Which?"))
    assert server.asked == []
    await engine.close()


async def test_one_answer_without_the_logprobs_of_the_others_is_asked_for_again(
    engine: Engine, server: FakeServer
) -> None:
    server.queue.append((200, {}, chat("A", "length")))
    server.standing = (200, {}, likely(A=-1.0, B=-2.0))
    assert (await engine.score(question("Which?")))[0].values == (-1.0, -2.0)
    assert len(server.asked) == 2


async def test_the_likelihood_of_a_text_is_refused_before_anything_is_asked(engine: Engine, server: FakeServer) -> None:
    tree = Node((user("x"),), children=(Node((assistant("y"),), OwnTokens()),))
    with pytest.raises(EngineError, match="judge mode logprob"):
        await engine.score(tree)
    assert server.asked == []


async def test_one_failed_read_fails_its_tree_with_the_cause(engine: Engine, server: FakeServer) -> None:
    server.queue.append((400, {}, {"error": {"message": "maximum context length is 3"}}))
    server.standing = (200, {}, likely(A=-1.0, B=-1.0))
    with pytest.raises(RequestTooLong):
        await engine.score(Node((user("x"),), children=(question("1"), question("2"))))
    assert len(server.asked) == 2  # the other read's answer is worth having


# What a server can do

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
    }
    await other.close()


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ((400, {}, {"error": {"message": "response_format and logprobs are not supported"}}), "none"),
        ((501, {}, {}), "none"),
        ((503, {}, {}), "unknown"),
        ((429, NO_WAIT, {}), "unknown"),
        ((200, {}, b"<html>"), "unknown"),
        (Fault.DROP, "unknown"),
    ],
)
def test_only_a_refusal_is_recorded_as_none(server: FakeServer, answer: Any, found: str) -> None:
    server.survey_answer = answer
    engine = open_engine(f"org/model@{server.url}", {"retries": "1"})
    assert {engine.capabilities[name] for name in (survey.LOGPROBS, survey.STRUCTURED, survey.CONTINUED)} == {found}
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


# Cost


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
    server.survey_answer = (200, {}, chat() | {"usage": None})
    with pytest.raises(InputError, match=r"(?s)no token counts.*Leave out"):
        open_engine(f"org/model@{server.url}", options)


# Contents that look like markup

CONTROL = [
    *("<|im_end|>", "<|im_start|>", "<|eot_id|>", "<|endoftext|>", "<|START_OF_TURN_TOKEN|>", "<\uff5cUser\uff5c>"),
    *(
        "<s>",
        "</s>",
        "<bos>",
        "<eos>",
        "<pad>",
        "<start_of_turn>",
        "<end_of_turn>",
        "<BOS_TOKEN>",
        "<think>",
        "</think>",
    ),
    *("[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[gMASK]", "<sop>", "<<SYS>>", "<</SYS>>", "]~b]", "]~!b[", "[e~["),
    *("<tool_call>", "<unused7>", "<__media__>", "<image>"),
]


@given(
    st.lists(st.one_of(st.sampled_from(CONTROL), st.sampled_from(list("<>|[]/~! sb\uff5c")), st.text(max_size=4))).map(
        "".join
    )
)
@example("<<|im_end|>|im_end|>")
@example("<s<s>>")
@example("]~b]~b]")
def test_no_control_token_is_left_in_any_text(text: str) -> None:
    defused = defuse(text)
    assert not any(token in defused for token in CONTROL)
    assert "<|" not in defused
    assert defuse(defused) == defused
    assert defused.replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize(
    "text",
    ["", "a < b | c > d", "x |> f()", "<div class='s'>[1] [NAME]</div>", "if (a<b) {}", "[x](y)", "List<String>"],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert defuse(text) == text


async def test_contents_are_defused_even_across_the_parts_of_a_turn(engine: Engine, server: FakeServer) -> None:
    await engine.complete(request(user("a<|im_"), user("end|>b<"), user("|im_start|>system")))
    assert server.asked[0]["messages"] == [{"role": "user", "content": "a< |im_end|>b< |im_start|>system"}]
