"""Servers that want to be asked in another way: what is learnt from their refusals, at opening and later."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from base.errors import InputError
from critic.engine import Engine, EngineDown, EngineError, HeldBack, Request, Sampling, Unavailable
from critic.records import Message, Role
from critic.server import survey
from critic.server.chat_fault import ServerFault as Told
from critic.server.chat_opening import open_engine
from critic.server.manners import Manners
from tests.critic.engines.fake_server import VLLM, Answer, FakeServer, Fault, chat, likely

from .asking import assistant, question, request, user

Body = dict[str, Any]


def refusal(message: str, status: int = 400, **more: object) -> Answer:
    return status, {}, {"error": {"message": message, "type": "invalid_request_error"} | more}


class Strict(FakeServer):
    """Refuses what ``refuses`` says, in the survey too."""

    def __init__(self, refuses: Callable[[Body], Answer | None]) -> None:
        super().__init__()
        self.refuses = refuses

    def answer(self, body: Body) -> Answer:
        return self.refuses(body) or super().answer(body)


@pytest.fixture
def strict() -> Iterator[Callable[..., Strict]]:
    started: list[tuple[Strict, Any]] = []

    def start(refuses: Callable[[Body], Answer | None]) -> Strict:
        server = Strict(refuses)
        started.append((server, server.serve()))
        return server

    yield start
    for server, thread in started:
        server.die()
        thread.join()


def opened(server: FakeServer, **options: str) -> Engine:
    return open_engine(f"org/model@{server.url}", options)


async def test_system_text_goes_to_the_first_user_turn_where_the_role_is_refused(strict: Any) -> None:
    def refuses(body: Body) -> Answer | None:
        return refusal("nobody of that name") if any(m["role"] == "system" for m in body["messages"]) else None

    server = strict(refuses)
    engine = opened(server)
    assert engine.capabilities["system role"] == "in the first user turn"
    assert dict(engine.identity.settings)["system"] == "in the first user turn"
    await engine.complete(
        request(Message(role="system", content="Be brief."), user("Hi"), assistant("Yes?"), user("!"))
    )
    assert server.asked[-1]["messages"] == [
        {"role": "user", "content": "Be brief.\n\nHi"},
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": "!"},
    ]
    await engine.close()


def test_system_text_without_a_user_turn_after_it_becomes_one() -> None:
    def turns(manners: Manners, *parts: tuple[Role, str]) -> list[tuple[str, str]]:
        sent = manners.turns([Message(role=role, content=text) for role, text in parts])
        return [(turn["role"], turn["content"]) for turn in sent]

    folding = Manners(folds_system=True)
    assert turns(folding, ("user", "a"), ("system", "s")) == [("user", "as")]
    assert turns(folding, ("system", "s"), ("assistant", "b")) == [("assistant", "b"), ("user", "s")]
    assert turns(Manners(), ("system", "s"), ("user", "a"), ("user", "b")) == [("system", "s"), ("user", "ab")]


async def test_calls_of_tools_and_their_results_are_sent_as_such(strict: Any) -> None:
    server = strict(lambda body: None)
    engine = opened(server)
    history = [
        {"role": "user", "content": "Weather?"},
        {
            "role": "assistant",
            "tool_calls": [{"id": "1", "function": {"name": "look", "arguments": '{"at": "<|im_end|>"}'}}],
        },
        {"role": "tool", "tool_call_id": "1", "content": "rain"},
        {"role": "tool", "tool_call_id": "2", "content": "wind"},
        {"role": "user", "content": "So?"},
    ]
    await engine.complete(request(*(Message.model_validate(message) for message in history)))
    sent = server.asked[-1]["messages"]
    assert [turn["role"] for turn in sent] == ["user", "assistant", "tool", "tool", "user"]
    [call] = sent[1]["tool_calls"]
    assert (call["id"], call["type"], call["function"]["name"]) == ("1", "function", "look")
    assert call["function"]["arguments"] == '{"at": "< |im_end|>"}'  # no control token comes out of a call either
    assert [(turn["tool_call_id"], turn["content"]) for turn in sent[2:4]] == [("1", "rain"), ("2", "wind")]
    await engine.close()


async def test_a_server_that_refuses_everything_is_told_at_opening_in_its_words(strict: Any) -> None:
    server = strict(lambda body: refusal("this model has been retired"))
    with pytest.raises(InputError, match=r"refuses a request like a run's.*400: this model has been retired"):
        opened(server)


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_server_that_fails_every_request_is_told_at_opening(strict: Any, status: int) -> None:
    server = strict(lambda body: refusal("the cat sits on the rack", status))
    with pytest.raises(InputError, match=f"answers no request like a run's.*{status}: the cat sits on the rack"):
        opened(server, retries="1")


async def test_a_temperature_that_is_not_taken_is_left_to_the_model(strict: Any) -> None:
    def refuses(body: Body) -> Answer | None:
        wrong = body.get("temperature", 1) != 1
        return (
            refusal("only the default is supported", param="temperature", code="unsupported_value") if wrong else None
        )

    server = strict(refuses)
    engine = opened(server)
    assert engine.capabilities["temperature"] == "the model's own"
    await engine.complete(request(temperature=0.0))
    assert "temperature" not in server.asked[-1]
    await engine.close()


async def test_a_zero_that_is_too_cold_is_asked_a_little_warmer(strict: Any) -> None:
    def refuses(body: Body) -> Answer | None:
        return refusal("`temperature` must be strictly positive", 422) if body.get("temperature") == 0 else None

    server = strict(refuses)
    engine = opened(server)
    await engine.complete(request(temperature=0.0))
    await engine.complete(request(temperature=0.5))
    assert [body["temperature"] for body in server.asked] == [0.01, 0.5]
    await engine.close()


@pytest.mark.parametrize(
    ("said", "most"),
    [
        ("Requested sample logprobs of {}, which is greater than max allowed: 5", 5),
        ("top_logprobs: Input should be less than or equal to 8", 8),
        ("top_logprobs is too large", 5),
    ],
)
async def test_fewer_alternatives_are_asked_for_where_twenty_are_refused(strict: Any, said: str, most: int) -> None:
    def refuses(body: Body) -> Answer | None:
        asked = body.get("top_logprobs", 0)
        return refusal(said.format(asked)) if asked > most else None

    server = strict(refuses)
    engine = opened(server)
    assert engine.capabilities[survey.LOGPROBS] == f"top {most}"
    server.standing = (200, {}, likely(A=-0.5, C=-2.0))
    [score] = await engine.score(question("Which?"))
    assert score.values == (-0.5, -2.0)
    assert server.asked[-1]["top_logprobs"] == most
    await engine.close()


@pytest.mark.parametrize("name", ["seed", "top_p"])
async def test_what_is_not_taken_and_changes_nothing_is_left_out(strict: Any, name: str) -> None:
    def refuses(body: Body) -> Answer | None:
        detail = [{"type": "extra_forbidden", "loc": ["body", name], "msg": "Extra inputs are not permitted"}]
        return (422, {}, {"detail": detail}) if name in body else None

    server = strict(refuses)
    engine = opened(server)
    assert engine.capabilities[name] == "not taken"
    await engine.complete(request())
    assert name not in server.asked[-1]
    await engine.close()


def test_what_would_change_the_answer_is_never_left_out() -> None:
    manners = Manners()
    manners.learn(Told(400, "no", param="top_p"), {"top_p": 0.9})
    assert manners.adapted({"top_p": 0.9}, 5) == {"top_p": 0.9, "max_tokens": 5}
    manners.learn(Told(400, "no", param="stop"), {"stop": ["x"]})
    assert "stop" in manners.adapted({"stop": ["x"]}, 5)


@pytest.mark.parametrize(
    ("finish", "ended"),
    [
        ("eos", "stop"), ("eos_token", "stop"), ("end_turn", "stop"), ("stop_sequence", "stop"), ("STOP", "stop"),
        (None, "stop"), ("", "stop"), ("max_tokens", "length"), ("MAX_TOKENS", "length"), ("model_length", "length"),
    ],
)  # fmt: skip
async def test_an_end_is_one_by_any_name(engine: Engine, server: FakeServer, finish: str | None, ended: str) -> None:
    server.standing = (200, {}, chat("hello", finish))
    assert (await engine.complete(request())).finish == ended


async def test_an_end_that_is_not_told_is_told(server: FakeServer, caplog: pytest.LogCaptureFixture) -> None:
    server.first_answer = (200, {}, chat("Hello.", None))
    engine = opened(server)
    assert engine.capabilities["finish reasons"] == "null, taken as stop"
    assert "finish reasons: null, taken as stop" in caplog.text
    # As many tokens as were let: that was no end.
    server.standing = (200, {}, chat("hello", None))
    assert (await engine.complete(request(max_tokens=3))).finish == "length"
    await engine.close()


@pytest.mark.parametrize("finish", ["content_filter", "refusal", "SAFETY", "guardrail_intervened"])
async def test_a_filter_s_end_is_a_fault_of_the_row(engine: Engine, server: FakeServer, finish: str) -> None:
    server.standing = (200, {}, chat("", finish))
    with pytest.raises(HeldBack, match=finish):
        await engine.complete(request())
    assert len(server.asked) == 1


async def test_an_overloaded_end_may_pass(server: FakeServer) -> None:
    engine = opened(server, retries="0")
    server.standing = (200, {}, chat("", "insufficient_system_resource"))
    with pytest.raises(Unavailable, match="insufficient_system_resource"):
        await engine.complete(request())
    await engine.close()


def thinking(content: object, finish: str = "stop", **message: object) -> Answer:
    return 200, {}, chat("", finish, message={"role": "assistant", "content": content} | message)


@pytest.mark.parametrize(
    "answer",
    [
        thinking("Four.", reasoning_content="two and two"),
        thinking("Four.", reasoning="two and two"),
        thinking("<think>\ntwo and two\n</think>\n\nFour."),
        thinking([{"type": "thinking", "thinking": "two and two"}, {"type": "text", "text": "Four."}]),
        thinking(
            [
                {"type": "thinking", "thinking": [{"type": "text", "text": "two and two"}]},
                {"type": "text", "text": "Four."},
            ]
        ),
    ],
)
async def test_thoughts_are_told_from_the_answer(engine: Engine, server: FakeServer, answer: Answer) -> None:
    server.standing = answer
    done = await engine.complete(request())
    assert (done.text, done.reasoning) == ("Four.", "two and two")


@pytest.mark.parametrize(
    "eaten", [thinking(None, "length", reasoning_content="hm"), thinking("", "length"), thinking("<think>hm", "length")]
)
async def test_where_thoughts_took_the_limit_there_is_room_for_them_from_then_on(
    engine: Engine, server: FakeServer, eaten: Answer
) -> None:
    server.queue.append(eaten)
    server.standing = (200, {}, chat("Four."))
    assert (await engine.complete(request(max_tokens=64))).text == "Four."
    await engine.complete(request(max_tokens=10))
    assert [body["max_tokens"] for body in server.asked] == [64, 64 + 4096, 10 + 4096]
    assert engine.capabilities["thinks first"] == "yes"
    assert engine.usage.room == 4096  # what rates and limits of cost set aside, too


async def test_where_even_the_room_is_eaten_the_answer_is_empty_and_cut(engine: Engine, server: FakeServer) -> None:
    server.standing = thinking(None, "length", reasoning_content="hm")
    done = await engine.complete(request(max_tokens=64))
    assert (done.text, done.finish, done.reasoning) == ("", "length", "hm")
    assert len(server.asked) == 2


async def test_white_space_is_an_answer_and_no_thought(engine: Engine, server: FakeServer) -> None:
    server.standing = (200, {}, chat("\n\n", "length"))
    assert (await engine.complete(request(max_tokens=2))).text == "\n\n"
    assert len(server.asked) == 1


async def test_texts_that_end_an_answer_end_no_thoughts(engine: Engine, server: FakeServer) -> None:
    asked = Request(request().messages, Sampling(64, stop=("END",)), 0)
    server.queue.append(thinking(None, "stop", reasoning_content="An answer ends with "))
    server.standing = thinking("Four. END Five.", reasoning_content="An answer ends with END. So:")
    done = await engine.complete(asked)
    assert (done.text, done.finish) == ("Four. ", "stop")
    assert ["stop" in body for body in server.asked] == [True, False]
    assert (await engine.complete(asked)).text == "Four. "
    assert "stop" not in server.asked[-1]  # it is known by now that the model thinks


async def test_room_that_does_not_fit_the_context_is_given_up(engine: Engine, server: FakeServer) -> None:
    server.queue.extend([thinking("", "length"), refusal("maximum context length is 4096 tokens")])
    server.standing = (200, {}, chat("Four."))
    assert (await engine.complete(request(max_tokens=64))).text == "Four."
    assert [body["max_tokens"] for body in server.asked] == [64, 64 + 4096, 64]


async def test_the_limit_is_the_answer_s_where_thoughts_are_counted_apart(engine: Engine, server: FakeServer) -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": 90, "completion_tokens_details": {"reasoning_tokens": 70}}
    server.standing = (200, {}, chat("Four.") | {"usage": usage})
    assert (await engine.complete(request(max_tokens=20))).finish == "stop"
    assert (await engine.complete(request(max_tokens=19))).finish == "length"


async def test_what_the_template_is_told_is_sent_and_part_of_the_identity(server: FakeServer) -> None:
    server.models = (200, {}, {"data": [VLLM]})
    engine = opened(server, think="false", **{"template.effort": "low"})
    await engine.complete(request())
    told = {"enable_thinking": False, "thinking": False, "effort": "low"}
    assert server.asked[-1]["chat_template_kwargs"] == told
    assert dict(engine.identity.settings) == {
        "template.enable_thinking": "false",
        "template.thinking": "false",
        "template.effort": '"low"',
    }
    await engine.close()


def test_a_server_that_overlooks_what_the_template_is_told_is_refused(server: FakeServer) -> None:
    with pytest.raises(InputError, match=r"overlooks chat_template_kwargs \(enable_thinking"):
        opened(server, think="false")


async def test_a_server_that_reads_the_field_is_known_by_its_refusal_of_another_type(strict: Any) -> None:
    def refuses(body: Body) -> Answer | None:
        told = body.get("chat_template_kwargs", {})
        return None if isinstance(told, dict) else refusal("Input should be a valid dictionary", 422)

    engine = opened(strict(refuses), think="true")
    await engine.close()


async def test_a_connection_that_breaks_for_every_request_is_nobody_there(server: FakeServer) -> None:
    engine = opened(server, retries="1")
    server.standing = server.models = Fault.DROP
    with pytest.raises(EngineDown, match="nor does the server answer anything else"):
        await engine.complete(request())
    await engine.close()


async def test_a_choice_of_tools_is_refused_by_name(engine: Engine, server: FakeServer) -> None:
    server.standing = (200, {}, chat(None, "tool_calls"))
    with pytest.raises(EngineError, match="called a tool"):
        await engine.complete(request())
