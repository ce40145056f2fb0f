"""Hostile texts, other sites, other people's keys, sessions that end: nothing acts, and nothing is let through."""

import json
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from typing import Any

import httpx2
import pytest

from service.settings import Settings
from service.web import files
from service.web.rendering import environment
from service.web.reports import reported
from service.web.texts import english
from tests.service.calls import Api
from tests.service.web.site import Site

HOSTILE = [
    "<script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked = 1'>",
    "[a](javascript:window.hacked=1) ![b](http://other.example/x.png)",
    '"><svg onload=window.hacked=1>',
    "</textarea></title><script>window.hacked = 1</script>",
    "{{ 7 * 7 }} {% raw %}",
    "\r\n```\n</code><iframe src=//other.example>",
]


@pytest.mark.slow
@pytest.mark.asyncio(loop_scope="session")
async def test_hostile_texts_act_nowhere_and_break_no_policy(site: Site) -> None:
    reported.clear()
    text = "\n\n".join(HOSTILE)
    name = f"{HOSTILE[0]}{HOSTILE[3]}"
    chat = [{"role": "system", "content": text}, {"role": "user", "content": text}]
    item = {"prompt": chat, "responses": [text, f"{text} too"]}
    key = await site.key("label", annotator=await site.annotator(name, group=name))
    page = await site.page(key)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    await page.goto("/label")
    for kind in ("comparison", "critique", "ranking", "correction"):
        project = await site.project(kind, [item], name=f"{name} {kind}", guidelines=text)
        await page.goto(f"/label/{project}")
        await page.keyboard.press("r")
        if kind == "critique":
            await page.locator(".response .raw").first.evaluate("raw => getSelection().selectAllChildren(raw)")
            await page.keyboard.press("m")
            await page.keyboard.type(HOSTILE[0])
            await page.locator("#text").fill(text)
            await page.reload()
            assert await page.locator("#text").input_value() == text.replace("\r\n", "\n")
            assert await page.locator("[name=span_note]").input_value() == HOSTILE[0]
        if kind == "correction":
            await page.locator("#text").fill(f"{text}\n{HOSTILE[1]}")
        assert await page.evaluate("window.hacked") is None, kind
        assert await page.locator("iframe, main img, main svg, main script").count() == 0, kind
    await page.goto("/label/history")
    assert await page.evaluate("window.hacked") is None
    assert [url for url in asked if not url.startswith(site.url)] == []
    assert list(reported) == []


@pytest.fixture
def settings(migrated_url: str, tmp_path: Any) -> Settings:
    return Settings(database=migrated_url, data=tmp_path / "data", worker=False)


class Page(HTMLParser):
    """A page's texts, attributes that people read, and the form's token."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.csrf, self.action, self.read = "", "", list[str]()
        self._hidden = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self._hidden += tag in ("script", "style")
        self.read += [str(given[name]) for name in ("aria-label", "placeholder", "title") if given.get(name)]
        if given.get("id") == "sheet":
            self.action = str(given.get("action"))
        if given.get("name") == "csrf":
            self.csrf = str(given["value"])

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("script", "style")

    def handle_data(self, data: str) -> None:
        if data.strip() and not self._hidden:
            self.read.append(data.strip())


async def signed_in(api: Api, *scopes: Any, annotator: str | None = None) -> httpx2.AsyncClient:
    """A browser without scripts, of somebody with a key of these scopes."""
    made = (await api.admin.post("/v1/keys", json={"name": "k", "scopes": list(scopes), "annotator": annotator})).json()
    client = api.with_key(None)
    token = Page((await client.get("/sign-in")).text).csrf
    answer = await client.post("/sign-in", data={"csrf": token, "key": made["key"]})
    assert answer.status_code == 303, answer.text
    client.headers["x-key-id"] = made["id"]  # for the test, which revokes it
    return client


@pytest.fixture
async def ada(api: Api) -> AsyncIterator[httpx2.AsyncClient]:
    yield await signed_in(api, "label", annotator=await api.annotator("Ada"))


async def project(api: Api, **more: Any) -> str:
    items = [{"prompt": "Name a river.", "responses": ["The Po.", "Paris."]}]
    asked = {"name": "rivers", "kind": "comparison", "items": items, **more}
    response = await api.admin.post("/v1/projects", json=asked)
    assert response.status_code == 201, response.text
    return str(response.json()["id"])


async def test_a_session_ends_with_its_key(api: Api, ada: httpx2.AsyncClient) -> None:
    assert (await ada.get("/label")).status_code == 200
    await api.admin.delete(f"/v1/keys/{ada.headers['x-key-id']}")
    assert (await ada.get("/label")).headers["location"] == "/sign-in?to=/label"
    assert (await ada.post("/label/any/task", data={"choice": "first"})).status_code == 401


async def test_the_cookie_is_no_script_s_and_no_other_site_s(api: Api) -> None:
    made = (await api.admin.post("/v1/keys", json={"name": "k", "scopes": ["read"]})).json()
    client = api.with_key(None)
    token = Page((await client.get("/sign-in")).text).csrf
    answer = await client.post("/sign-in", data={"csrf": token, "key": made["key"], "to": "//other.example"})
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=lax" in cookie and made["key"] not in cookie
    assert answer.headers["location"] == "/"


async def test_a_form_without_its_token_or_from_another_site_does_nothing(api: Api, ada: httpx2.AsyncClient) -> None:
    id = await project(api)
    page = Page((await ada.get(f"/label/{id}")).text)
    task = (await api.admin.get(f"/v1/projects/{id}/tasks")).json()["items"][0]["id"]
    place = f"/label/{id}/{task}"
    assert (await ada.post(place, data={"choice": "first"})).status_code == 403
    assert (await ada.post(place, data={"choice": "first", "csrf": "0" * 64})).status_code == 403
    other = {"Sec-Fetch-Site": "cross-site"}
    assert (await ada.post(place, data={"choice": "first", "csrf": page.csrf}, headers=other)).status_code == 403
    assert (await api.admin.get("/v1/feedback", params={"project": id})).json()["items"] == []
    once = {"choice": "first", "csrf": page.csrf, "once": "a name"}
    for _ in range(2):  # sent twice, as after an answer that got lost
        assert (await ada.post(place, data=once)).status_code == 303
    assert len((await api.admin.get("/v1/feedback", params={"project": id})).json()["items"]) == 1


async def test_an_answer_ends_its_draft_and_one_that_comes_late_is_none(api: Api, ada: httpx2.AsyncClient) -> None:
    items = [{"prompt": f"Name river {number}."} for number in range(2)]
    id = await project(api, name="drafts", kind="demonstration", items=items)
    page = Page((await ada.get(f"/label/{id}")).text)
    task = page.action.rpartition("/")[2]

    async def began(text: str, replaces: str = "") -> None:
        fields = json.dumps([["text", text]])
        draft = {"csrf": page.csrf, "fields": fields, "replaces": replaces}
        assert (await ada.post(f"{page.action}/draft", data=draft)).status_code == 204

    async def seen() -> str:
        return (await ada.get(page.action)).text

    await began("The Po, wh")
    assert "The Po, wh" in await seen()
    refused = await ada.post(page.action, data={"csrf": page.csrf, "text": ""})
    assert refused.status_code == 422 and "The Po, wh" in await seen()
    json_please = {"Accept": "application/json"}
    sent = await ada.post(page.action, data={"csrf": page.csrf, "text": "The Po."}, headers=json_please)
    answer = sent.json()["id"]
    await began("The Po, late")  # sent before the answer, and slower
    assert "The Po." in await seen() and "late" not in await seen()
    await began("The Tiber, wh", answer)
    assert "The Tiber, wh" in await seen()
    me = (await api.admin.get("/v1/keys")).json()["items"]
    owner = next(key["annotator"] for key in me if key["id"] == ada.headers["x-key-id"])
    program = await api.client("label", annotator=owner)
    corrected = await program.post(
        f"/v1/tasks/{task}/answer", json={"label": {"text": "The Arno."}, "replaces": answer}
    )
    assert corrected.status_code == 201
    assert "The Arno." in await seen() and "Tiber" not in await seen()  # whoever answers, the draft goes with it


async def test_a_task_of_somebody_else_s_project_is_nowhere(api: Api, ada: httpx2.AsyncClient) -> None:
    id, other = await project(api), await api.annotator("Other")
    theirs = await project(api, name="theirs", assigned=[other])
    assert (await ada.get(f"/label/{theirs}")).status_code == 404
    task = (await api.admin.get(f"/v1/projects/{theirs}/tasks")).json()["items"][0]["id"]
    assert (await ada.get(f"/label/{theirs}/{task}")).status_code == 404
    assert (await ada.get(f"/label/{id}/{task}")).status_code == 404


async def test_every_answer_has_the_policy_and_files_are_kept_by_their_content(
    api: Api, ada: httpx2.AsyncClient
) -> None:
    for place in ("/label", "/sign-in", "/label/none", "/people"):
        policy = (await ada.get(place)).headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy, place
    for name, file in files.known().items():
        answer = await ada.get(files.asset(name))
        assert "immutable" in answer.headers["cache-control"] and answer.content == file.content
        assert (await ada.get(f"/static/{name}?v=old")).headers["cache-control"] == "no-cache"
    assert (await ada.get("/static/..%2f__init__.py")).status_code == 404


async def test_the_pages_of_a_task_weigh_less_than_200_kb(api: Api, ada: httpx2.AsyncClient) -> None:
    id = await project(api, constitution="harmlessness")
    html = (await ada.get(f"/label/{id}")).text
    names = [name for name in files.known() if f"/static/{name}?" in html]
    assert len(names) >= 8
    assert len(html.encode()) + sum(len(files.known()[name].content) for name in names) < 200_000


def marked(text: str) -> str:
    return f"⟦{text}⟧"


async def test_every_text_comes_from_the_catalogue(
    api: Api, ada: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a language that is none, what is left unmarked is data: names, texts of items, numbers, keys."""
    monkeypatch.setitem(environment().globals, "t", english().changed(marked))
    chat = [{"role": "user", "content": "0"}, {"role": "assistant", "content": "1"}, {"role": "user", "content": "2"}]
    pair = {"prompt": chat, "responses": ["3", "4"]}
    one = {"prompt": chat, "responses": ["3"]}
    known = {"role": "practice", "expected": "first", "why": "5"}
    places = ["/label", "/label/history", "/sign-in", "/nowhere-at-all-in-label", "/label/none"]
    for kind in ("comparison", "ranking", "rating", "thumbs", "critique", "demonstration", "correction"):
        item = pair if kind in ("comparison", "ranking") else one
        id = await project(api, name=f"6{kind}", kind=kind, items=[item], levels=3 if kind == "comparison" else None)
        places.append(f"/label/{id}")
    places.append(f"/label/{await project(api, name='7', settings={'blur': True}, items=[{**pair, **known}])}")
    data = {"6", "k", "Ada", "A", "B", "↑", "↓", "⠿", "/", "·", "very bad", "very good", "SVG", "CSV", "PNG"}
    for place in places:
        answer = await ada.get(place, headers={"Accept": "text/html"})
        for text in Page(answer.text).read:
            bare = text.replace("⟦", "\0").partition("\0")[0].strip(" ·:,/")
            letters = any(character.isalpha() for character in bare)
            assert not letters or bare in data or bare.startswith("6") or "there is no" in bare or "Look at" in bare, (
                place,
                text,
            )
