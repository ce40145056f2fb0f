"""A page's answer: one transaction, few questions to the database, and sessions that end when they are ended."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from sqlalchemy import Connection, event, func, select

from service.refusals import Unauthorized
from service.settings import Settings
from service.store.tables import drafts, sessions
from tests.service.calls import Api
from tests.service.web.test_safety import Page, project, signed_in

MOST_OF_ANSWER, MOST_OF_NEXT = 18, 14
"""Statements, with those that begin and end transactions. More make 200 annotators wait for each other."""


@pytest.fixture
def settings(migrated_url: str, tmp_path: Any) -> Settings:
    return Settings(database=migrated_url, data=tmp_path / "data", worker=False)


@pytest.fixture
async def ada(api: Api) -> AsyncIterator[httpx2.AsyncClient]:
    yield await signed_in(api, "label", annotator=await api.annotator("Ada"))


def task_of(page: str) -> str:
    """The task on a page."""
    matched = re.search(r'data-task="(\w+)"', page)
    assert matched is not None
    return matched[1]


def kept(connection: Connection) -> int:
    """How many drafts there are."""
    return int(connection.execute(select(func.count()).select_from(drafts)).scalar_one())


async def test_the_draft_goes_with_the_answer(api: Api, ada: httpx2.AsyncClient) -> None:
    id = await project(api)
    page = (await ada.get(f"/label/{id}")).text
    place, csrf = f"/label/{id}/{task_of(page)}", Page(page).csrf
    begun = {"csrf": csrf, "fields": '[["choice", "second"]]'}
    assert (await ada.post(f"{place}/draft", data=begun)).status_code == 204
    assert await api.service.database.look(kept) == 1
    refused = await ada.post(place, data={"csrf": csrf, "once": "a"}, headers={"Accept": "application/json"})
    assert refused.status_code == 422 and await api.service.database.look(kept) == 1
    assert (await ada.post(place, data={"csrf": csrf, "once": "a", "choice": "first"})).status_code == 303
    assert await api.service.database.look(kept) == 0


async def test_an_answer_and_the_next_task_ask_the_database_little(api: Api, ada: httpx2.AsyncClient) -> None:
    items = [{"prompt": f"Name river {n}.", "responses": ["The Po.", "Paris."]} for n in range(4)]
    id = await project(api, items=items)
    page = (await ada.get(f"/label/{id}")).text
    csrf, asked = Page(page).csrf, list[str]()
    database = api.service.database
    for engine in (database.reader, database.writer, database.engine.sync_engine):
        event.listen(engine, "before_cursor_execute", lambda _, __, statement, *___: asked.append(statement))
    sent = await ada.post(f"/label/{id}/next", data={"csrf": csrf, "beside": task_of(page)})
    assert sent.status_code == 200 and task_of(sent.text) != task_of(page)
    assert len(asked) <= MOST_OF_NEXT, asked
    asked.clear()
    answer = {"csrf": csrf, "once": "a", "choice": "first"}
    assert (await ada.post(f"/label/{id}/{task_of(page)}", data=answer)).status_code == 303
    assert len(asked) <= MOST_OF_ANSWER, asked


async def test_another_project_s_task_is_not_answered(api: Api, ada: httpx2.AsyncClient) -> None:
    one, other = await project(api), await project(api, name="others")
    page = (await ada.get(f"/label/{one}")).text
    answer = {"csrf": Page(page).csrf, "once": "a", "choice": "first"}
    assert (await ada.post(f"/label/{other}/{task_of(page)}", data=answer)).status_code == 404
    assert (await api.admin.get("/v1/feedback")).json()["items"] == []


async def test_a_session_that_ends_while_it_is_looked_up_is_not_remembered(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = (await api.admin.post("/v1/keys", json={"name": "k", "scopes": ["read"]})).json()
    known, look = api.service.sessions, api.service.database.look
    token = await known.begin(key["id"])
    await api.service.keys.holder(key["id"])  # known: the look below is the session's
    seen, goes_on = asyncio.Event(), asyncio.Event()

    async def slow(use: Any) -> Any:
        value = await look(use)
        seen.set()
        await goes_on.wait()
        return value

    monkeypatch.setattr(api.service.database, "look", slow)
    looking = asyncio.create_task(known.find(token))
    await seen.wait()
    monkeypatch.undo()
    await known.end(await _id_of(api))
    goes_on.set()
    await looking  # it was there when it was asked for
    with pytest.raises(Unauthorized, match="your session has ended"):
        await known.find(token)


async def _id_of(api: Api) -> str:
    """The id of the only session."""
    async with api.service.database.read() as connection:
        return str((await connection.execute(select(sessions.c.id))).scalar_one())


NINES = "9" * 3000
ODD: list[dict[str, str]] = [
    {"choice": "first", "flag": "yes", "flag_note": "x" * 2001},
    {"do": "skip", "reason": "bored"},
    {"do": "skip", "skip_note": "x" * 2001},
    {"choice": "first", "replaces": "x" * 1000},
    {"choice": NINES},
    {"choice": "nan", "response": "0"},
    {"choice": "inf", "response": NINES},
    {"choice": "3", "response": "-1"},
    {"rank:0": NINES, "rank:1": "-1"},
    {"rank:0": "1", "rank:1": "1e9"},
    {"text": "x", "span": f"0:{NINES}:1", "span_note": "x" * 3000},
    {"text": "x", "span": "-1:-1:-1", "span_note": ""},
    {"text": "x", "response": NINES, "better": "yes"},
    {"text": "x", "seconds": "1e999", "do": "nothing"},
]


@pytest.mark.parametrize(
    "kind", ["comparison", "ranking", "rating", "thumbs", "critique", "demonstration", "correction"]
)
async def test_no_word_of_a_form_is_a_fault_of_the_server(api: Api, ada: httpx2.AsyncClient, kind: str) -> None:
    responses = {"demonstration": [], "comparison": ["a", "b"], "ranking": ["a", "b"]}.get(kind, ["a"])
    id = await project(api, name=kind, kind=kind, items=[{"prompt": "Q", "responses": responses}])
    for odd in ODD:
        page = (await ada.get(f"/label/{id}")).text
        if "data-task" not in page:
            break  # it was answered or skipped, as it may be
        at = f"/label/{id}/{task_of(page)}"
        answer = await ada.post(at, data={"csrf": Page(page).csrf, **odd})
        assert answer.status_code in (303, 404, 409, 422), (odd, answer.text)
