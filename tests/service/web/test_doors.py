"""What pages refuse before they do anything, by plain requests: strangers' long forms, and what nothing stores."""

import re
from collections.abc import AsyncIterator
from contextvars import copy_context
from html import unescape
from pathlib import Path

import httpx2
import pytest
from sqlalchemy.exc import OperationalError

from critic.pages.markdown import at_most, rendered
from service.settings import Settings
from service.web.visit import LONGEST_OF_STRANGERS, STRANGERS_BYTES
from tests.service.calls import Api

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path / "data", worker=False, requests_at_once=1)


async def form(client: httpx2.AsyncClient, **fields: str) -> httpx2.Response:
    """Send the form of the sign-in page, as a browser would."""
    page = await client.get("/sign-in")
    token = re.search('name="csrf" value="([^"]+)"', page.text)
    assert token is not None
    return await client.post("/sign-in", data={"csrf": token[1], "to": "/", **fields})


async def test_a_stranger_sends_no_more_than_an_answer(api: Api) -> None:
    stranger = api.with_key(None)
    for path, most in (("/sign-in", LONGEST_OF_STRANGERS), ("/sign-out", LONGEST_OF_STRANGERS), REPORT):
        long = await stranger.post(path, content=b"a=" + b"x" * most, headers=FORM)
        assert long.status_code == 413, path
        endless = await stranger.post(path, content=_parts(), headers=FORM)
        assert endless.status_code == 413, path


REPORT = "/csp-reports", STRANGERS_BYTES


@pytest.mark.parametrize("cookie", ["over", None])
@pytest.mark.parametrize("written", ["The river that I mean. " * 2000, "Řeka, kterou myslím. " * 20_000])
async def test_a_long_text_that_comes_after_its_session_is_given_back(
    api: Api, written: str, cookie: str | None
) -> None:
    """Sent without scripts: the browser shows the answer in the page's place, and has the text nowhere else."""
    browser = api.with_key(None)
    if cookie is not None:
        browser.cookies.set("cai_session", cookie)
    answer = await browser.post("/label/project/task", data={"csrf": "0" * 64, "text": written, "do": "answer"})
    assert answer.status_code == (403 if cookie is None else 401)
    assert unescape(answer.text).count(written) == 1
    room = api.service.strangers
    assert room._left == room.most  # and nothing of it is kept


async def test_who_hears_that_the_session_is_over_keeps_what_is_too_long_to_be_given_back(api: Api) -> None:
    """A script takes any other answer for the server's last word on what it has sent."""
    browser = api.with_key(None)
    browser.cookies.set("cai_session", "over")
    headers = {"Accept": "application/json", **FORM}
    for body in (b"a=" + b"x" * LONGEST_OF_STRANGERS, _parts()):
        answer = await browser.post("/label/project/task", content=body, headers=headers)
        assert answer.status_code == 401


async def test_strangers_long_forms_wait_for_each_other_and_for_nobody_else(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.bounds.limits.TURN_SECONDS", 0.01)
    room, stranger = api.service.strangers, api.with_key(None)
    await room.take(room.most)
    busy = await stranger.post("/sign-in", data={"text": "words " * STRANGERS_BYTES})
    assert busy.status_code == 503
    made = (await api.admin.post("/v1/keys", json={"name": "ada", "scopes": ["read"]})).json()
    assert (await form(stranger, key=made["key"])).status_code == 303
    room.give_back(room.most)


async def _parts() -> AsyncIterator[bytes]:
    """A body without a length."""
    yield b"a="


@pytest.mark.parametrize("what", ["key", "to"])
async def test_what_no_database_stores_is_refused_at_the_door_of_pages(api: Api, what: str) -> None:
    stranger = api.with_key(None)
    assert (await form(stranger, **{what: "cai_a\0b_c"})).status_code == 400
    half = {"Content-Type": "application/x-www-form-urlencoded; charset=unicode_escape"}
    answer = await stranger.post("/sign-in", content=b"csrf=%5Cud800", headers=half)
    assert answer.status_code in (400, 403)


async def test_a_wrong_key_is_refused_and_the_right_one_signs_in(api: Api) -> None:
    stranger = api.with_key(None)
    assert (await form(stranger, key="cai_0123456789ab_wrong")).status_code == 401
    made = (await api.admin.post("/v1/keys", json={"name": "ada", "scopes": ["read"]})).json()
    assert (await form(stranger, key=made["key"])).status_code == 303


def test_long_markdown_is_shown_as_it_was_written() -> None:
    def page() -> list[str]:
        at_most(10)
        return [rendered(text) for text in ("*a*", "*b* <i>long", "*c*")]

    assert copy_context().run(page) == [
        "<p><em>a</em></p>\n",
        '<pre class="plain" tabindex="0">*b* &lt;i&gt;long</pre>',
        "<p><em>c</em></p>\n",
    ]
    assert rendered("*b* <i>long").startswith("<p><em>b</em>")  # elsewhere there is no such limit


async def test_an_address_that_leads_nowhere_is_told_so_on_a_page_to_browsers_alone(api: Api) -> None:
    stranger, program = api.with_key(None), api.with_key(None)
    page = await stranger.get("/nowhere/at/all", headers={"Accept": "text/html,*/*;q=0.8"})
    assert page.status_code == 404 and "There is no such page" in page.text and "set-cookie" not in page.headers
    assert "default-src 'none'" in page.headers["content-security-policy"]
    told = await program.get("/nowhere/at/all")
    assert told.status_code == 404 and told.json()["type"] == "not_found"
    assert (await program.put("/v1/projects")).status_code == 405


async def test_a_long_word_is_given_back_as_words_are(api: Api) -> None:
    """An answer may be one line of code, or an address."""
    code, id = "x=[i**2for(i)in(range(9))];" * 4, "0123456789abcdef" * 4
    answer = await api.with_key(None).post("/label/a/b", data={"csrf": "0" * 64, "text": code, "task": id})
    assert code in unescape(answer.text) and id not in answer.text


async def test_a_database_that_is_away_is_told_on_the_page_of_an_address_that_leads_nowhere(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(token: str) -> None:
        raise OperationalError("SELECT", {}, Exception("gone"))

    monkeypatch.setattr(type(api.service.sessions), "find", lambda self, token: away(token))
    browser = api.with_key(None)
    browser.cookies.set("cai_session", "somebody's")
    for address in ("/nowhere/at/all", "/label"):
        answer = await browser.get(address, headers={"Accept": "text/html"})
        assert answer.status_code == 503 and "database" in answer.text, address
