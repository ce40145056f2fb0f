"""The Python client, sync and async, against the application and against a server that misbehaves."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from base.errors import InputError
from service import client as client_module
from service.answers.feedback import BatchGiven, Given
from service.client import AsyncClient, Client, Refused
from tests.service.calls import Api, comparison

URL = "http://cai.test"


@pytest.fixture
async def client(api: Api) -> AsyncClient:
    key = (await api.admin.post("/v1/keys", json={"name": "client", "scopes": ["admin"]})).json()["key"]
    return AsyncClient(URL, key, transport=httpx2.ASGITransport(api.app))


async def test_a_label_goes_there_and_comes_back(client: AsyncClient) -> None:
    async with client:
        given = await client.give(comparison())
        assert isinstance(given, Given)
        fetched = await client.feedback(given.id)
        assert (fetched.id, fetched.label.model_dump()["choice"], fetched.retracted) == (given.id, "first", None)
        assert fetched.plain().item == fetched.item
        marked = await client.retract(given.id, "wrong")
        assert marked.retracted is not None and marked.retracted.reason == "wrong"
        batch = await client.give([comparison("B?"), {}])
        assert isinstance(batch, BatchGiven) and batch.ids[1] is None and batch.faults
        assert [label.id async for label in client.all_feedback(retracted=False)] == [batch.ids[0]]


async def test_lists_are_followed_to_their_end(client: AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "PAGE", 2)
    await client.give([comparison(f"{i}?") for i in range(5)])
    asked = [label.prompt.messages[0].content async for label in client.all_feedback()]
    assert asked == [f"{i}?" for i in range(5)]


async def test_a_whole_project(client: AsyncClient, api: Api, tmp_path: Path) -> None:
    ada = await client.make_annotator("Ada", group="nurses")
    assert [item.id async for item in client.annotators(name="Ada")] == [ada.id]
    key = await client.make_key("Ada's", ["label"], ada.id)
    project = await client.make_project("rivers", "comparison", items=[{"prompt": "A?", "responses": ["x", "y"]}])
    assert (await client.add_items(project.id, [{"prompt": "B?", "responses": ["x", "y"]}])).added == 1
    person = AsyncClient(URL, key.key, transport=httpx2.ASGITransport(api.app))
    for _ in range(2):
        task = (await person.next_task(project.id)).task
        assert task is not None
        await person.answer(task.id, "first" if task.responses[0] == "x" else "second")
    assert (await person.next_task(project.id)).task is None
    assert (await client.project(project.id)).progress.done == 2
    assert (await client.agreement(project.id)).labels == 2
    made = await client.make_dataset("rivers", "majority")
    assert [(item.name, item.version) async for item in client.datasets()] == [("rivers", 1)]
    await client.download("rivers", made.version, "pairs", tmp_path / "pairs.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text().splitlines()]
    assert [row["chosen"][-1]["content"] for row in rows] == ["x", "x"]
    with pytest.raises(Refused, match="there is no table"):
        await client.download("rivers", 1, "sft", tmp_path / "sft.jsonl")
    assert [entry.action async for entry in client.audit(target=ada.id)] == ["annotator.made"]
    assert (await client.erase_annotator(ada.id)).name is None


async def test_answers_are_corrected_and_skips_taken_back(client: AsyncClient, api: Api) -> None:
    ada = await client.make_annotator("Ada")
    key = await client.make_key("Ada's", ["label"], ada.id)
    project = await client.make_project("rivers", "comparison", items=[{"prompt": "A?", "responses": ["x", "y"]}])
    person = AsyncClient(URL, key.key, transport=httpx2.ASGITransport(api.app))
    task = (await person.next_task(project.id)).task
    assert task is not None
    await person.skip(task.id, reason="other", note="Tired.")
    assert [(row.reason, row.note) async for row in client.skips(project.id)] == [("other", "Tired.")]
    assert (await person.unskip(task.id)).task is not None
    first = await person.answer(task.id, "both_bad", seconds=2)
    second = await person.answer(task.id, "unsure", replaces=first.id, flag={"note": "Look."})
    own = await person.task(task.id)
    assert own.answer is not None and (own.answer.id, own.answer.label) == (second.id, {"outcome": "unsure"})
    assert [label.id async for label in client.history(second.id)] == [first.id, second.id]
    assert [label.id async for label in client.all_feedback(flagged=True)] == [second.id]


async def test_what_is_refused_says_why_and_what_to_do(client: AsyncClient) -> None:
    with pytest.raises(Refused) as refused:
        await client.feedback("no/such?thing")
    assert (refused.value.document.status, refused.value.document.type) == (404, "not_found")
    with pytest.raises(Refused, match="no API key"):
        await AsyncClient(URL, "x", transport=client._http._transport).give(comparison())


class Flaky:
    """Answers by a script, and keeps what it was sent."""

    def __init__(self, *script: Callable[[httpx2.Request], httpx2.Response]) -> None:
        self._script = list(script)
        self.requests: list[httpx2.Request] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        return self._script.pop(0)(request)


def answers(status: int, body: Any, **headers: str) -> Callable[[httpx2.Request], httpx2.Response]:
    return lambda _: httpx2.Response(status, json=body, headers=headers)


def dies(request: httpx2.Request) -> httpx2.Response:
    raise httpx2.RemoteProtocolError("went away", request=request)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    seconds: list[float] = []
    monkeypatch.setattr("time.sleep", seconds.append)
    return seconds


BUSY = {"type": "database_unavailable", "title": "x", "status": 503, "detail": "away", "fix": "wait"}


def test_a_request_is_repeated_with_the_same_key_until_it_is_answered(waits: list[float]) -> None:
    server = Flaky(dies, answers(503, BUSY, **{"Retry-After": "3"}), dies, answers(201, {"id": "1"}))
    with Client(URL, "key", transport=httpx2.MockTransport(server)) as client:
        assert client.give(comparison()) == Given(id="1")
    keys = {request.headers["Idempotency-Key"] for request in server.requests}
    assert len(server.requests) == 4 and len(keys) == 1
    assert waits == [0.5, 3.0, 2.0]


def test_two_requests_have_two_keys(waits: list[float]) -> None:
    server = Flaky(answers(201, {"id": "1"}), answers(201, {"id": "2"}))
    client = Client(URL, "key", transport=httpx2.MockTransport(server))
    client.give(comparison())
    client.give(comparison())
    assert len({request.headers["Idempotency-Key"] for request in server.requests}) == 2


def test_what_never_passes_is_not_waited_for_for_ever(waits: list[float]) -> None:
    client = Client(URL, "key", transport=httpx2.MockTransport(Flaky(*[dies] * 6)))
    with pytest.raises(InputError, match="can't be reached"):
        client.give(comparison())
    client = Client(URL, "key", transport=httpx2.MockTransport(Flaky(*[answers(503, BUSY)] * 6)))
    with pytest.raises(Refused, match="away"):
        client.give(comparison())
    assert len(waits) == 10


def test_a_fault_of_the_request_is_not_repeated(waits: list[float]) -> None:
    server = Flaky(answers(422, BUSY | {"status": 422, "type": "invalid"}))
    with pytest.raises(Refused):
        Client(URL, "key", transport=httpx2.MockTransport(server)).give({})
    assert len(server.requests) == 1 and waits == []


def test_another_server_is_told_apart() -> None:
    with pytest.raises(InputError, match="answered 404"):
        Client(URL, "key", transport=httpx2.MockTransport(Flaky(answers(404, {"error": "?"})))).give({})
    with pytest.raises(InputError, match="no address"):
        Client("localhost:8300", "key")


def test_lists_of_the_sync_client() -> None:
    page = {"items": [], "next": "x"}
    server = Flaky(answers(200, page), answers(200, page | {"next": None}))
    assert list(Client(URL, "key", transport=httpx2.MockTransport(server)).annotators()) == []
    assert [request.url.params.get("cursor") for request in server.requests] == [None, "x"]
