"""Which key may do what on pages: every page and every form with every kind of key. One that is new has no line here,
and fails the test until it has one."""

import httpx2

from service.keys.auth import Scope
from service.web import PAGES
from service.web.visit import PageRoute
from tests.service.calls import Api
from tests.service.web.test_safety import Page, signed_in

KINDS: tuple[Scope, ...] = ("read", "feedback", "label", "jobs", "admin")
LABELS, JOBS = frozenset({"read", "feedback"}), frozenset({"read", "jobs"})
READERS, MAKERS, SUBMITTERS = frozenset({"read"}), frozenset({"feedback"}), frozenset({"jobs"})
LABELLERS, NOBODY, ANYONE = frozenset({"label"}), frozenset[str](), frozenset(KINDS)
MATRIX: dict[frozenset[str], tuple[str, ...]] = {
    ANYONE: (
        *("GET /", "GET /sign-in", "POST /sign-in", "GET /sign-in/{token}", "POST /sign-in/{token}"),
        "POST /sign-out",
    ),
    LABELLERS: (
        *("GET /label", "GET /label/history", "GET /label/history.svg", "GET /label/history.csv"),
        *("GET /label/{project}", "POST /label/{project}/next", "GET /label/{project}/{task}"),
        *("POST /label/{project}/{task}", "POST /label/{project}/{task}/draft"),
    ),
    MAKERS: (
        *("GET /projects/new", "POST /projects/new", "POST /projects/{id}/pause", "POST /projects/{id}/change"),
        *("POST /projects/{id}/items", "POST /projects/{id}/discard", "POST /projects/{id}/items/{item}"),
        *("POST /projects/{id}/routing", "POST /uncertain", "POST /datasets", "POST /certificates"),
    ),
    LABELS: (
        *("GET /projects", "GET /projects/{id}", "GET /projects/{id}/progress.csv", "GET /projects/{id}/agreement"),
        *("GET /projects/{id}/people", "GET /projects/{id}/people.csv", "GET /projects/{id}/items"),
        *("GET /projects/{id}/items.csv", "GET /projects/{id}/items/{item}", "GET /items/{item}"),
        *("GET /projects/{id}/pictures/{name}.svg", "GET /projects/{id}/pictures/{name}.csv"),
        *("GET /projects/{id}/routing", "GET /projects/{id}/routing/{routing}"),
        *("GET /projects/{id}/routing/{routing}/figures.svg", "GET /projects/{id}/routing/{routing}/figures.csv"),
        *("GET /projects/{id}/routing/{routing}/verdicts.csv", "GET /uncertain", "GET /search", "GET /search.csv"),
        *("GET /datasets", "GET /datasets/{name}/{version}", "GET /datasets/{name}/{version}/download"),
        *("GET /certificates", "GET /certificates/{sha256}", "GET /certificates/{sha256}/file"),
        "GET /certificates/{sha256}/pictures/agreement.svg",
        "GET /certificates/{sha256}/pictures/agreement.csv",
    ),
    JOBS: (
        *("GET /jobs", "GET /jobs/{id}", "GET /jobs/{id}/live", "GET /jobs/{id}/log", "GET /jobs/{id}/report"),
        *("GET /jobs/{id}/files/{name:path}", "GET /jobs/{id}/curves/{name}.svg", "GET /jobs/{id}/curves/{name}.csv"),
        *("GET /models", "GET /models/{name:path}"),
    ),
    SUBMITTERS: ("GET /jobs/new", "POST /jobs/new", "POST /jobs/{id}/cancel", "POST /jobs/{id}/retry"),
    READERS: (
        *("GET /constitutions", "GET /constitutions/new", "GET /constitutions/{ref}", "POST /constitutions/check"),
        *("GET /constitutions/{ref}/file", "GET /constitutions/{ref}/diff", "POST /constitutions/new"),
    ),
    NOBODY: ("GET /people", "POST /people", "POST /people/{id}/link"),
}
ALLOWED = {route: kinds for kinds, routes in MATRIX.items() for route in routes}
LAST = "POST /sign-out"  # after it the session is over


def pages() -> list[str]:
    routes = [route for router in PAGES for route in router.routes if isinstance(route, PageRoute)]
    return [f"{method} {route.path}" for route in routes for method in sorted(route.methods)]


def test_every_page_is_known() -> None:
    assert sorted(pages()) == sorted(ALLOWED)


async def test_a_key_opens_the_pages_that_it_may_and_no_others(api: Api) -> None:
    ada = await api.annotator("Ada")
    for kind in KINDS:
        client = await signed_in(api, kind, annotator=ada)
        token = Page((await client.get("/sign-in")).text).csrf
        for route in [*(page for page in pages() if page != LAST), LAST]:
            if "/sign-in" in route:
                continue  # which asks for a key of its own
            status = await tried(client, route, token)
            may = kind == "admin" or kind in ALLOWED[route]
            assert status < 500 and (status not in (401, 403) if may else status == 403), f"{kind}: {route}: {status}"


async def test_who_is_not_signed_in_is_led_to_sign_in_and_does_nothing(api: Api) -> None:
    stranger = api.with_key(None)
    token = Page((await stranger.get("/sign-in")).text).csrf
    for route in pages():
        if "/sign-in" not in route:
            status = await tried(stranger, route, token)
            is_led = route.startswith("GET") or route == "POST /sign-out"  # who is out already has what they want
            assert status == (303 if is_led else 401), f"{route}: {status}"


async def tried(client: httpx2.AsyncClient, route: str, token: str) -> int:
    """The status of a request that nothing comes of: it names what isn't there, and says nothing."""
    method, path = route.split(" ")
    for name, value in (("{sha256}", "0" * 64), ("{version}", "1"), ("{name:path}", "none"), ("{token}", "none")):
        path = path.replace(name, value)
    for name in ("{id}", "{item}", "{name}", "{routing}", "{ref}", "{project}", "{task}"):
        path = path.replace(name, "none")
    if method == "GET":
        return (await client.get(path)).status_code
    return (await client.post(path, data={"csrf": token})).status_code
