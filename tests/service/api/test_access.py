"""Which key may do what: every route of the OpenAPI document with every kind of key. A route that is new has no line
here, and fails the test until it has one.

What a key sees inside of a route that it may call is tested below, route by route.
"""

from typing import Any

import httpx2
import pytest
from starlette.routing import Route

from service.api.body import StrictRoute
from service.exports.datasets import DatasetRequest
from service.keys.auth import Scope
from service.labels.label_query import StoredFeedback
from service.store.tables import now
from service.web.visit import PageRoute
from tests.service.calls import Api, comparison, one_database, problem

KINDS: tuple[Scope, ...] = ("read", "feedback", "label", "jobs")
ANYONE = frozenset({"anyone"})


def scopes(*named: Scope) -> frozenset[str]:
    """Those that may, beside administrators."""
    return frozenset(named)


LABELS, JOBS, NOBODY = scopes("read", "feedback"), scopes("read", "jobs"), scopes()
MATRIX: dict[str, frozenset[str]] = {
    "GET /v1/constitutions": scopes("read"),
    "POST /v1/constitutions": NOBODY,
    "POST /v1/lint": scopes("read"),
    "GET /v1/constitutions/{ref}": scopes("read", "label"),
    "GET /v1/constitutions/{ref}/diff": scopes("read"),
    "POST /v1/critiques": scopes("feedback"),
    "POST /v1/comparisons": scopes("feedback"),
    "POST /v1/trials": scopes("feedback"),
    "POST /v1/feedback": scopes("feedback", "label"),
    "GET /v1/feedback": LABELS,
    "GET /v1/feedback/{id}": LABELS,
    "GET /v1/feedback/{id}/history": LABELS,
    "POST /v1/feedback/{id}/retract": scopes("feedback", "label"),
    "POST /v1/projects": scopes("feedback"),
    "GET /v1/projects": scopes("read", "feedback", "label"),
    "GET /v1/projects/{id}": scopes("read", "feedback", "label"),
    "PATCH /v1/projects/{id}": scopes("feedback"),
    "DELETE /v1/projects/{id}": scopes("feedback"),
    "POST /v1/projects/{id}/items": scopes("feedback"),
    "GET /v1/projects/{id}/tasks": LABELS,
    "POST /v1/projects/{id}/tasks/next": scopes("label"),
    "GET /v1/projects/{id}/skips": LABELS,
    "GET /v1/tasks/{id}": scopes("label"),
    "POST /v1/tasks/{id}/answer": scopes("label"),
    "POST /v1/tasks/{id}/skip": scopes("label"),
    "POST /v1/tasks/{id}/unskip": scopes("label"),
    "POST /v1/tasks/{id}/release": scopes("label"),
    "GET /v1/projects/{id}/agreement": LABELS,
    "GET /v1/projects/{id}/progress": LABELS,
    "GET /v1/projects/{id}/judges": LABELS,
    "GET /v1/projects/{id}/disagreement": LABELS,
    "GET /v1/projects/{id}/pace": LABELS,
    "GET /v1/projects/{id}/gold": LABELS,
    "POST /v1/projects/{id}/pause": scopes("feedback"),
    "POST /v1/projects/{id}/adjudications": scopes("feedback"),
    "GET /v1/projects/{id}/adjudications": LABELS,
    "GET /v1/items/{item}": LABELS,
    "GET /v1/uncertain": LABELS,
    "GET /v1/search": LABELS,
    "POST /v1/datasets": scopes("feedback"),
    "GET /v1/datasets": LABELS,
    "GET /v1/datasets/{name}/{version}": LABELS,
    "GET /v1/datasets/{name}/{version}/download": LABELS,
    "POST /v1/certificates": scopes("feedback"),
    "GET /v1/certificates": LABELS,
    "GET /v1/certificates/{sha256}": LABELS,
    "GET /v1/certificates/{sha256}/standing": LABELS,
    "POST /v1/certificates/{sha256}/mend": LABELS,
    "POST /v1/projects/{id}/routings": scopes("feedback"),
    "GET /v1/projects/{id}/routings": LABELS,
    "GET /v1/projects/{id}/routings/{routing}": LABELS,
    "POST /v1/jobs": scopes("jobs"),
    "GET /v1/jobs": JOBS,
    "GET /v1/jobs/{id}": JOBS,
    "GET /v1/jobs/{id}/events": JOBS,
    "GET /v1/jobs/{id}/logs": JOBS,
    "POST /v1/jobs/{id}/cancel": scopes("jobs"),
    "POST /v1/jobs/{id}/retry": scopes("jobs"),
    "GET /v1/jobs/{id}/artifacts": JOBS,
    "GET /v1/jobs/{id}/artifacts/{name}": JOBS,
    "POST /v1/uploads": scopes("jobs"),
    "GET /v1/uploads": scopes("jobs"),
    "DELETE /v1/uploads/{id}": scopes("jobs"),
    "GET /v1/models": JOBS,
    "GET /v1/models/{name}": JOBS,
    "POST /v1/rewards": JOBS,
    "POST /v1/rewards/compare": JOBS,
    "GET /v1/engines": LABELS,
    "POST /v1/annotators": scopes("feedback"),
    "GET /v1/annotators": LABELS,
    "GET /v1/annotators/{id}": LABELS,
    "PATCH /v1/annotators/{id}": scopes("feedback"),
    "DELETE /v1/annotators/{id}": NOBODY,
    "POST /v1/keys": NOBODY,
    "GET /v1/keys": NOBODY,
    "DELETE /v1/keys/{id}": NOBODY,
    "POST /v1/keys/{id}/links": NOBODY,
    "GET /v1/audit": NOBODY,
    "GET /healthz": ANYONE,
    "GET /readyz": ANYONE,
    "GET /metrics": ANYONE,
}
PLACES = {
    "{ref}": "none",
    "{item}": "none",
    "{id}": "none",
    "{name}": "none",
    "{version}": "1",
    "{routing}": "none",
    "{sha256}": "0" * 64,
}


def routes(api: Api) -> list[str]:
    paths = api.app.openapi()["paths"]
    return [f"{method.upper()} {path}" for path, methods in paths.items() for method in methods]


@one_database
async def test_every_route_is_known(api: Api) -> None:
    assert set(routes(api)) == set(MATRIX)


# Beside those of the document: what anyone may have, since it says nothing of anybody.
OPEN = {
    *("GET /healthz", "GET /readyz", "GET /metrics"),
    *("GET /openapi.json", "GET /docs", "GET /docs/start.js", "GET /docs/{name}"),
    *("GET /static/{name}", "GET /csp-reports", "POST /csp-reports"),
}
DOORS = (StrictRoute, PageRoute)
"""What finds out who asks before anything else, and counts what they ask."""


@one_database
async def test_every_route_has_a_door(api: Api) -> None:
    """Those too which no document names."""
    without = {
        f"{method} {route.path}"
        for route in api.app.routes
        if isinstance(route, Route) and not isinstance(route, DOORS)
        for method in route.methods or ()
        if method != "HEAD"
    }
    assert without == OPEN


async def test_every_key_can_call_what_it_may_and_nothing_else(api: Api) -> None:
    await api.annotator("Ada")
    clients: dict[str, httpx2.AsyncClient] = {scope: await api.client(scope, annotator="id-of-ada") for scope in KINDS}
    clients["admin"] = await api.client("admin", annotator="id-of-ada")
    clients["none"] = api.with_key(None)
    clients["unknown"] = api.with_key("cai_0123456789ab_" + "x" * 43)
    made = (await api.admin.post("/v1/keys", json={"name": "gone", "scopes": ["admin"]})).json()
    clients["revoked"] = api.with_key(made["key"])
    await api.admin.delete(f"/v1/keys/{made['id']}")
    over = {"name": "over", "scopes": ["admin"], "expires_at": now().isoformat()}
    clients["expired"] = api.with_key((await api.admin.post("/v1/keys", json=over)).json()["key"])
    for route in routes(api):
        for kind, client in clients.items():
            status = await tried(client, route)
            place = f"{kind}: {route} answered {status}"
            if MATRIX[route] is ANYONE:
                assert status == 200, place
            elif kind in ("none", "unknown", "revoked", "expired"):
                assert status == 401, place
            elif kind == "admin" or kind in MATRIX[route]:
                assert status not in (401, 403), place
            else:
                assert status == 403, place


async def tried(client: httpx2.AsyncClient, route: str) -> int:
    """The status of a request that nothing comes of: it names what isn't there, and says nothing."""
    method, path = route.split(" ")
    for name, value in PLACES.items():
        path = path.replace(name, value)
    body: Any = None
    if method in ("POST", "PATCH"):
        if path.endswith("/retract"):
            body = {"reason": "x"}
        elif path.endswith("/answer"):
            body = {"label": 1}
        else:
            body = {}
    return (await client.request(method, path, json=body)).status_code


# What is behind a route that a key may call.


async def project(api: Api, name: str, **more: Any) -> str:
    items = [{"prompt": "Name a river.", "responses": [{"text": "The Po.", "model": "policy-1"}, "Paris."]}]
    asked = {"name": name, "kind": "comparison", "items": items, **more}
    answer = await api.admin.post("/v1/projects", json=asked)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def test_a_labeller_sees_the_projects_and_constitutions_of_their_tasks_and_no_others(api: Api) -> None:
    ada, grace = await api.labeller("Ada"), await api.labeller("Grace")
    nobody = await api.client("label")
    open = await project(api, "open", constitution="harmlessness")
    hers = await project(api, "hers", assigned=["id-of-ada"], constitution="helpfulness")
    [named] = [p["constitution"] for p in (await ada.get("/v1/projects")).json()["items"] if p["id"] == hers]

    async def seen(client: httpx2.AsyncClient) -> set[str]:
        return {one["id"] for one in (await client.get("/v1/projects")).json()["items"]}

    assert (await seen(ada), await seen(grace), await seen(nobody)) == ({open, hers}, {open}, set())
    assert (await ada.get(f"/v1/projects/{hers}")).status_code == 200
    problem(await grace.get(f"/v1/projects/{hers}"), 404, "not_found")
    shown = await ada.get(f"/v1/constitutions/{named}")
    assert shown.status_code == 200 and shown.json()["ref"] == named
    assert (await ada.get(f"/v1/constitutions/{named}?format=yaml")).status_code == 200
    problem(await grace.get(f"/v1/constitutions/{named}"), 403, "forbidden")
    problem(await nobody.get(f"/v1/constitutions/{named}"), 403, "forbidden")
    problem(await ada.get("/v1/constitutions/honesty"), 403, "forbidden")
    await api.admin.patch(f"/v1/projects/{hers}", json={"assigned": ["id-of-grace"]})
    assert (await seen(ada), await seen(grace)) == ({open}, {open, hers})


async def test_who_is_not_assigned_any_more_can_not_answer(api: Api) -> None:
    ada = await api.labeller("Ada")
    await api.annotator("Grace")
    id = await project(api, "rivers")
    task = (await ada.post(f"/v1/projects/{id}/tasks/next")).json()["task"]
    await api.admin.patch(f"/v1/projects/{id}", json={"assigned": ["id-of-grace"]})
    problem(await ada.post(f"/v1/tasks/{task['id']}/answer", json={"label": "first"}), 403, "forbidden")
    assert (await ada.post(f"/v1/tasks/{task['id']}/release")).status_code == 200


async def test_a_withdrawn_answer_shows_its_annotator_what_the_task_showed(api: Api) -> None:
    """Models and order stay hidden: the same task comes again."""
    ada = await api.labeller("Ada")
    items = [
        {"prompt": f"River {n}?", "responses": [{"text": f"Good {n}", "model": "policy-1"}, f"Bad {n}"]}
        for n in range(40)  # an order is drawn for each task: both have come long before the last
    ]
    answer = await api.admin.post("/v1/projects", json={"name": "rivers", "kind": "comparison", "items": items})
    seen: set[tuple[int, ...]] = set()
    while len(seen) < 2:
        task = (await ada.post(f"/v1/projects/{answer.json()['id']}/tasks/next")).json()["task"]
        label = (await ada.post(f"/v1/tasks/{task['id']}/answer", json={"label": "second"})).json()["id"]
        withdrawn = await ada.post(f"/v1/feedback/{label}/retract", json={"reason": "too fast"})
        assert "policy-1" not in withdrawn.text
        shown = StoredFeedback.model_validate({k: v for k, v in withdrawn.json().items() if k != "item"})
        assert [response.text for response in shown.responses] == task["responses"]
        assert shown.label.model_dump()["choice"] == "second" and shown.shown is None
        kept = (await api.admin.get(f"/v1/feedback/{label}")).json()
        assert kept["responses"][0]["model"] == "policy-1" and kept["retracted"]["reason"] == "too fast"
        seen.add(tuple(kept["shown"]))
        again = (await ada.post(f"/v1/projects/{answer.json()['id']}/tasks/next")).json()["task"]
        assert again["responses"] == task["responses"]
        await ada.post(f"/v1/tasks/{again['id']}/answer", json={"label": "first"})
    by_admin = await api.admin.post(f"/v1/feedback/{label}/retract", json={"reason": "again"})
    assert "policy-1" in by_admin.text


async def test_a_jobs_key_reads_no_labels_and_no_files_of_others(api: Api) -> None:
    await api.admin.post("/v1/feedback", json=comparison())
    await api.admin.post("/v1/datasets", json=DatasetRequest(name="rivers", aggregation="each").model_dump(mode="json"))
    mine, other = await api.client("jobs"), await api.client("jobs")
    both, reader = await api.client("jobs", "read"), await api.client("read")
    export = {"kind": "export", "format": "trl"}
    asked = export | {"input": {"dataset": "rivers", "file": "pairs.jsonl"}}
    assert "may not read" in problem(await mine.post("/v1/jobs", json=asked), 403, "forbidden")["detail"]
    train = {"kind": "train", "method": "dpo", "name": "m", "data": [{"dataset": "rivers", "file": "pairs.jsonl"}]}
    problem(await mine.post("/v1/jobs", json=train), 403, "forbidden")
    assert (await both.post("/v1/jobs", json=asked)).status_code == 201
    pair = {"prompt": "a", "chosen": "b", "rejected": "c"}
    job = (await mine.post("/v1/jobs", json=export | {"input": {"rows": [pair]}})).json()["id"]
    place = f"/v1/jobs/{job}"
    for path in (f"{place}/artifacts", f"{place}/artifacts/input/input.jsonl", f"{place}/logs", f"{place}/events"):
        assert (await mine.get(path)).status_code == 200, path
        assert (await reader.get(path)).status_code == 200, path
        problem(await other.get(path), 403, "forbidden")
    assert (await other.get(place)).status_code == 200  # how it stands is everyone's who has jobs
    again = export | {"input": {"job": job, "file": "input/input.jsonl"}}
    problem(await other.post("/v1/jobs", json=again), 403, "forbidden")
    assert (await mine.post("/v1/jobs", json=again)).status_code == 201


@pytest.mark.parametrize("path", ["/v1/jobs/none/artifacts", "/v1/jobs/none/logs"])
async def test_a_job_that_is_not_there_is_told_as_such(api: Api, path: str) -> None:
    problem(await (await api.client("jobs")).get(path), 404, "not_found")
