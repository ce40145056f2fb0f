"""Odd input in every address and every form of the pages: it is refused or done, never a fault of the server, and what
somebody wrote beside it is given back.

Addresses are made from the routes, and forms are read off the pages: what is added later is tried by itself.
"""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import unescape
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote, urlencode

import httpx2
import pytest
import pytest_asyncio
from fastapi.dependencies.utils import get_flat_dependant
from fastapi.routing import APIRoute
from pydantic import BaseModel

from service.web.manage.search import FIELDS
from tests.service.web.everywhere import PARAMETER, Everywhere, filled, routes
from tests.service.web.site import Site

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

ODD = (
    *("", " ", "0", "-1", "9" * 25, "1e999", "NaN", "1_000", "٣", "true", "null", "[]", "{}", "../../etc/passwd"),
    *(
        "\u202egnp.\u2066\U0001f989\u0301",
        "'; DROP TABLE tasks; --",
        "a\tb\rc\nd",
        "x" * 3000,
        "dataset@",
        "@1",
        "a@b@c",
    ),
)
UNSTORABLE = "a\0b"
WRITTEN = "text", "search", "textarea"  # controls into which people write
NOT_SENT = "/sign-"  # in or out: it would end the session that all else is sent in

ID = re.compile("[0-9a-f]{32}")

_numbers = itertools.count()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def odd(empty_site: Site) -> Everywhere:
    """A service with something on each page."""
    return await filled(empty_site)


@dataclass(frozen=True, slots=True)
class Form:
    """A form: what it sends as it stands, and which of its fields people write into."""

    page: str
    action: str
    is_upload: bool
    fields: list[tuple[str, str]] = field(default_factory=list)
    buttons: list[tuple[str, str]] = field(default_factory=list)
    written: set[str] = field(default_factory=set)


class Forms(HTMLParser):
    """The forms of a page that are posted."""

    def __init__(self, page: str, html: str) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self._page, self._open = page, False
        self._select, self._options = "", list[str]()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        name = given.get("name", "")
        if tag == "form" and given.get("method") == "post":
            self._open = not given["action"].startswith(NOT_SENT)
            if self._open:
                self.forms.append(Form(self._page, given["action"], "enctype" in given))
        if not self._open:
            return
        form, kind = self.forms[-1], given.get("type", tag if tag != "input" else "text")
        if tag == "select":
            self._select, self._options = name, []
        elif tag == "option" and self._select:
            self._options += [given.get("value", "")] if "selected" in given or not self._options else []
        elif tag == "button" and name:
            form.buttons.append((name, given.get("value", "")))
        elif tag in ("input", "textarea") and name and kind not in ("radio", "checkbox", "file"):
            form.fields.append((name, given.get("value", "")))
            if kind in WRITTEN:
                form.written.add(name)
        elif kind in ("radio", "checkbox") and (tag, "checked" in given) == ("input", True):
            form.fields.append((name, given.get("value", "on")))

    def handle_endtag(self, tag: str) -> None:
        if tag == "select" and self._open and self._select:
            self.forms[-1].fields.append((self._select, self._options[-1] if self._options else ""))
            self._select = ""
        self._open = self._open and tag != "form"


async def browser(there: Everywhere) -> httpx2.AsyncClient:
    """A browser without scripts, in which somebody with every right is signed in."""
    client = httpx2.AsyncClient(base_url=there.site.url, headers={"Accept": "text/html"}, timeout=60)
    page = await client.get("/sign-in")
    csrf = re.search('name="csrf" value="([^"]+)"', page.text)
    assert csrf is not None
    assert (await client.post("/sign-in", data={"csrf": csrf[1], "key": there.key})).status_code == 303
    return client


def parameters(route: APIRoute) -> list[str]:
    """The names of what a route reads of an address behind its ``?``."""
    names: list[str] = [*FIELDS] if route.path.startswith("/search") else []
    for one in get_flat_dependant(route.dependant).query_params:
        model: Any = one.field_info.annotation
        is_model = isinstance(model, type) and issubclass(model, BaseModel)
        names += list(model.model_fields) if is_model else [one.alias]
    return names


def odds(place: int, count: int) -> list[str]:
    """Some odd values, others at each place, so that all are tried somewhere."""
    return [ODD[(place * count + step) % len(ODD)] for step in range(count)]


def odd_addresses(there: Everywhere) -> Iterator[str]:
    """Addresses with odd values in the place of each of their parts, and of each parameter."""
    for number, route in enumerate(routes("GET")):
        parts = PARAMETER.split(route.path)
        usual = [there.value("".join(parts[: place + 1])) if part else "" for place, part in enumerate(parts)]
        for place in range(1, len(parts), 2):
            for odd in (*odds(number + place, 3), UNSTORABLE):
                yield "".join([*usual[:place], quote(odd, safe=""), *usual[place + 1 :]])
        names = parameters(route)
        for place, name in enumerate(names):
            for odd in (*odds(number + place, 3), UNSTORABLE):
                yield f"{''.join(usual)}?{urlencode([(name, odd)])}"
        if names:
            yield f"{''.join(usual)}?{urlencode([(name, value) for name in names for value in ('a', 'b')])}"


def odd_fields(form: Form) -> Iterator[list[tuple[str, str]]]:
    """What a form may send: nothing, each field twice, all odd, each odd in turn, and so with each of its buttons."""
    yield [(name, value) for name, value in form.fields if name == "csrf"]
    yield [*form.fields, *(one for one in form.fields if one[0] != "csrf")]
    for odd in odds(len(form.fields), 3):
        yield [(name, value if name == "csrf" else odd) for name, value in form.fields]
    for place, (name, _) in enumerate(form.fields):
        if name != "csrf":
            [odd] = odds(place, 1)
            yield [*form.fields[:place], (name, odd), *form.fields[place + 1 :]]
    for place, button in enumerate(form.buttons):
        [odd] = odds(place, 1)
        yield [*form.fields, (button[0], odd)]
        yield [*((name, value if name == "csrf" else odd) for name, value in form.fields), button]
        yield [*form.fields, button]


async def test_no_address_is_a_fault_of_the_server(odd: Everywhere) -> None:
    client = await browser(odd)
    wrong = []
    for address in dict.fromkeys(odd_addresses(odd)):
        answer = await client.get(address)
        if answer.status_code >= 500:
            wrong.append((answer.status_code, address))
    for route in {route.path: route for method in ("GET", "POST") for route in routes(method)}.values():
        for method in ("PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE"):
            answer = await client.request(method, route.path.replace("{", "").replace("}", ""))
            if not 400 <= answer.status_code < 500:
                wrong.append((answer.status_code, f"{method} {route.path}"))
    await client.aclose()
    assert wrong == []


async def forms_of(client: httpx2.AsyncClient, addresses: Sequence[str]) -> list[Form]:
    """All forms of some pages, one of those that differ in nothing but in what they are about."""
    seen: dict[tuple[str, tuple[str, ...]], Form] = {}
    for address in addresses:
        answer = await client.get(address)
        if answer.headers.get("content-type", "").startswith("text/html"):
            for form in Forms(address, answer.text).forms:
                names = tuple(name for name, _ in form.fields)
                seen.setdefault((ID.sub("", form.action), names), form)
    return list(seen.values())


async def sent(client: httpx2.AsyncClient, form: Form, fields: Sequence[tuple[str, str]]) -> httpx2.Response:
    """Send a form as it was begun anew: each time under a number of its own."""
    new = [(name, f"n{next(_numbers)}" if name == "once" else value) for name, value in fields]
    values = {}
    for name, _ in new:
        values[name] = [value for other, value in new if other == name]
    return await client.post(form.action, data=values, headers={"Referer": str(client.base_url.join(form.page))})


async def test_no_form_is_a_fault_of_the_server_or_loses_what_was_written(odd: Everywhere) -> None:
    client = await browser(odd)
    forms = await forms_of(client, odd.addresses())
    assert len({form.action.split("/")[1] for form in forms}) >= 8, "of every part of the site"
    wrong: list[tuple[int, str, Sequence[Any]]] = []
    for form in forms:
        told = {name: f"Words of {name}, ☃ and more." for name in form.written}
        full = [(name, told.get(name, value)) for name, value in form.fields]
        stale = [(name, "0" * 64 if name == "csrf" else value) for name, value in full]
        for fields in (stale, full):
            answer = await sent(client, form, fields)
            page = unescape(answer.text)
            lost = [text for text in told.values() if text not in page]
            if answer.status_code >= 500 or (answer.status_code >= 400 and lost):
                wrong.append((answer.status_code, form.action, lost))
        for fields in odd_fields(form):
            answer = await sent(client, form, fields)
            if answer.status_code >= 500:
                wrong.append((answer.status_code, form.action, fields))
    await client.aclose()
    assert wrong == []


async def test_what_was_written_in_a_session_that_is_over_is_given_back(odd: Everywhere) -> None:
    client = await browser(odd)
    page = (await client.get("/people")).text
    [form] = [one for one in Forms("/people", page).forms if one.action == "/people"]
    client.cookies.set("cai_session", "over", domain="127.0.0.1", path="/")
    fields = [(name, "Ada Lovelace" if name == "name" else value) for name, value in form.fields]
    answer = await sent(client, form, fields)
    assert answer.status_code == 401 and "Ada Lovelace" in answer.text
    assert 'href="/sign-in?to=/people"' in answer.text
    await client.aclose()
