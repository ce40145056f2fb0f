"""Critiques through the API: rounds of critique and revision, told stage by stage, stored as feedback."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from constitution import load, sample
from critic.engine import Completion, Lane, Request
from critic.records import Message, Prompt
from service import engines as part
from service.answers.judges import CritiqueAnswer
from service.settings import Settings
from tests.factories import FakeEngine
from tests.service.calls import Api, one_database, problem
from tests.service.judges import constitution, judged_by, scripted

RUDE, KIND = "You can't read.", "Let us look at the recipe together."
ASKED = {"prompt": "Why is my bread flat?", "response": RUDE, "constitution": "helpfulness"}


@pytest.fixture
def settings(migrated_url: str, tmp_path: Path) -> Settings:
    return judged_by(
        migrated_url,
        tmp_path,
        judge=scripted(tmp_path, "judge", queue=["It blames.", KIND, "It is short.", "Longer, and kind."]),
        content=scripted(tmp_path, "content", queue=["Nothing to revise."]),
        silent=scripted(tmp_path, "silent", fail={"every": 1, "how": "empty"}),
        breaking=scripted(tmp_path, "breaking", queue=["It blames."], fail={"every": 2, "how": "raise"}),
        away=scripted(tmp_path, "away", fail={"every": 1, "how": "raise"}),
    )


async def ask(api: Api, status: int = 201, **more: Any) -> dict[str, Any]:
    answer = await api.admin.post("/v1/critiques", json=ASKED | more)
    assert answer.status_code == status, answer.text
    told: dict[str, Any] = answer.json()
    if status == 201:
        CritiqueAnswer.model_validate(told)  # the route writes it without pydantic
    return told


def events(text: str) -> list[tuple[str, Any]]:
    """The events of a stream, as a client reads them."""
    named = []
    for block in text.strip("\n").split("\n\n"):
        lines = [line for line in block.split("\n") if not line.startswith(":")]
        if lines:
            [event, data] = lines
            named.append((event.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return named


async def stream(api: Api, headers: dict[str, str] | None = None, **more: Any) -> list[tuple[str, Any]]:
    answer = await api.admin.post("/v1/critiques", json=ASKED | more, headers=headers or {})
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/event-stream"), answer.text
    return events(answer.text)


async def test_a_critique_alone_leaves_the_response_as_it_is(api: Api) -> None:
    told = await ask(api)
    [one] = told["rounds"]
    assert (one["critique"]["text"], one["critique"]["outcome"], one["outcome"]) == ("It blames.", "critique", None)
    assert told["final"] == RUDE and len(told["ids"]) == 1
    stored = (await api.admin.get(f"/v1/feedback/{told['ids'][0]}")).json()
    assert (stored["kind"], stored["source"], stored["label"]["text"]) == ("critique", "ai", "It blames.")
    assert stored["principle"] == one["critique"]["principle"]
    assert stored["constitution_hash"] == load("helpfulness").digest


async def test_rounds_go_on_from_each_others_revisions(api: Api) -> None:
    told = await ask(api, revise=True, rounds=2)
    assert [one["response"]["text"] for one in told["rounds"]] == [KIND, "Longer, and kind."]
    assert [one["critique"]["round"] for one in told["rounds"]] == [0, 1]
    assert told["final"] == "Longer, and kind."
    stored = [(await api.admin.get(f"/v1/feedback/{id}")).json() for id in told["ids"]]
    assert [one["kind"] for one in stored] == ["critique", "correction"] * 2
    assert [one["responses"][0]["text"] for one in stored] == [RUDE, RUDE, KIND, KIND]
    assert stored[1]["label"]["text"] == KIND and stored[1]["label"]["better"] is False


async def test_the_principles_drawn_are_those_of_a_run(api: Api) -> None:
    told = await ask(api, rounds=2, seed=3)
    principles = load("helpfulness").principles
    key = Prompt(messages=(Message(role="user", content=str(ASKED["prompt"])),)).key
    expected = [sample(principles, seed=3, prompt=f"{key}:0", round=r, k=1)[0].id for r in range(2)]
    assert [one["critique"]["principle"] for one in told["rounds"]] == expected


async def test_principles_that_are_given_are_taken_in_their_order(api: Api) -> None:
    assert (await api.admin.post("/v1/constitutions", json=constitution(principles=3))).status_code == 201
    told = await ask(api, constitution="small", principles=["p2", "p0"])
    assert [one["critique"]["principle"] for one in told["rounds"]] == ["p2", "p0"]


async def test_no_fault_found_and_nothing_said_are_outcomes(api: Api) -> None:
    [one] = (await ask(api, engine="content", revise=True))["rounds"]
    assert (one["critique"]["outcome"], one["outcome"], one["response"]) == (
        "nothing_to_revise",
        "nothing_to_revise",
        None,
    )
    told = await ask(api, engine="silent", revise=True)
    assert told["rounds"][0]["critique"]["outcome"] == "unreadable" and told["final"] == RUDE


@pytest.mark.parametrize("how", [{"stream": True}, {"headers": {"Accept": "text/event-stream"}}])
async def test_stages_stream_and_the_last_event_is_the_whole_answer(api: Api, how: dict[str, Any]) -> None:
    streamed = await stream(api, revise=True, rounds=2, **how)
    assert [event for event, _ in streamed] == ["critique", "revision", "critique", "revision", "done"]
    assert [data["text"] for _, data in streamed[:-1]] == ["It blames.", KIND, "It is short.", "Longer, and kind."]
    assert [data["round"] for _, data in streamed[:-1]] == [0, 0, 1, 1]
    whole = streamed[-1][1]
    CritiqueAnswer.model_validate(whole)
    assert whole["final"] == "Longer, and kind."
    expected = [r["critique"]["principle"] for r in whole["rounds"]]
    assert [data["principle"] for _, data in streamed[:-1:2]] == expected
    assert (await api.admin.get(f"/v1/feedback/{whole['ids'][0]}")).status_code == 200


async def test_text_with_odd_line_breaks_stays_one_event(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    class Odd(FakeEngine):
        async def complete(self, request: Request, lane: Lane = "batch") -> Completion:
            return Completion("one\u2028two\x85three\r\nfour", "stop")

    monkeypatch.setattr(part, "open_engine", lambda spec: Odd())
    streamed = await stream(api, stream=True)
    assert streamed[0][1]["text"] == "one\u2028two\x85three\r\nfour"


async def test_an_error_in_mid_stream_is_an_event_with_a_problem(api: Api) -> None:
    streamed = await stream(api, engine="breaking", revise=True, stream=True)
    assert [event for event, _ in streamed] == ["critique", "error"]
    assert streamed[1][1]["type"] == "engine_error" and streamed[1][1]["status"] == 502
    assert (await api.admin.get("/v1/feedback")).json()["items"] == []


async def test_what_is_wrong_before_the_stream_is_a_problem_as_ever(api: Api) -> None:
    answer = await api.admin.post("/v1/critiques", json=ASKED | {"stream": True, "constitution": "nobody"})
    problem(answer, 422, "invalid")


async def test_a_repeated_stream_is_answered_with_what_was_stored(api: Api) -> None:
    headers = {"Idempotency-Key": "once"}
    first = await stream(api, headers, stream=True)
    again = await api.admin.post("/v1/critiques", json=ASKED | {"stream": True}, headers=headers)
    assert again.json() == first[-1][1] and again.headers["idempotency-replayed"] == "true"


async def test_a_client_that_leaves_a_stream_ends_the_work(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    class Slow(FakeEngine):
        async def complete(self, request: Request, lane: Lane = "batch") -> Completion:
            begun.set()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                ended.set()
                raise
            raise AssertionError("nobody waits so long")

    monkeypatch.setattr(part, "open_engine", lambda spec: Slow())
    body = json.dumps(ASKED | {"stream": True}).encode()
    key = api.admin.headers["authorization"].encode()
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/v1/critiques",
        "raw_path": b"/v1/critiques",
        "root_path": "",
        "query_string": b"",
        "headers": [(b"authorization", key), (b"content-type", b"application/json")],
        "client": ("127.0.0.1", 1),
        "server": ("cai.test", 80),
    }
    messages: list[dict[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        await begun.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        pass

    async with asyncio.timeout(600):
        await api.app(scope, receive, send)
        await ended.wait()
    assert (await api.admin.get("/v1/feedback")).json()["items"] == []


@one_database
@pytest.mark.parametrize(
    ("more", "where"),
    [
        ({"principles": ["nothing"]}, "/principles"),
        ({"principles": ["nothing"], "rounds": 2}, "/"),
        ({"rounds": 17}, "/rounds"),
        ({"response": "  "}, "/responses/0"),
        ({"engine": "nobody"}, "engine"),
        ({"max_tokens": 0}, "/max_tokens"),
        ({"prompt": {"messages": [{"role": "user", "content": "Why?"}], "tags": ["x"], "key": "y"}}, "/prompt"),
    ],
)
async def test_what_can_not_be_asked_is_refused_with_its_place(api: Api, more: dict[str, Any], where: str) -> None:
    document = await ask(api, 422, **more)
    assert any(fault["where"].startswith(where) for fault in document["faults"]), document


async def test_no_principle_for_the_prompts_tags_is_told(api: Api) -> None:
    data = constitution()
    for principle in data["principles"]:
        principle["applies_to"] = ["poems"]
    assert (await api.admin.post("/v1/constitutions", json=data)).status_code == 201
    document = await ask(api, 422, constitution="small")
    assert "no principle applies" in document["detail"]


async def test_an_engine_that_fails_is_502(api: Api) -> None:
    assert (await ask(api, 502, engine="away"))["type"] == "engine_error"
