"""The audit: every change, by whom, in order. On both databases."""

from datetime import timedelta
from typing import Any

from service.store.tables import now
from tests.service.calls import Api, problem


async def entries(api: Api, **filters: Any) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await api.admin.get("/v1/audit", params=filters)).json()["items"]
    return items


async def test_every_change_is_there_once_by_whom_and_in_order(api: Api) -> None:
    giver = await api.client("feedback")
    ada = (await api.admin.post("/v1/annotators", json={"name": "Ada"})).json()["id"]
    await giver.patch(f"/v1/annotators/{ada}", json={"group": "nurses"})
    project = (await giver.post("/v1/projects", json={"name": "rivers", "kind": "thumbs"})).json()["id"]
    made = await entries(api)
    assert [(entry["action"], entry["target"]) for entry in made] == [
        ("annotator.made", ada),
        ("annotator.changed", ada),
        ("project.made", project),
    ]
    assert made[0]["key"] != made[1]["key"] == made[2]["key"]
    assert made[1]["detail"] == {"changed": ["group"]}
    assert await entries(api, action="project.made") == [made[2]]
    assert await entries(api, target=ada) == made[:2]
    assert await entries(api, key=made[0]["key"]) == [made[0]]
    assert await entries(api, since=(now() + timedelta(hours=1)).isoformat()) == []
    assert await entries(api, since=made[1]["at"]) == made[1:]


async def test_a_change_that_failed_is_not_there(api: Api) -> None:
    await api.admin.post("/v1/annotators", json={"name": "Ada"})
    await api.admin.post("/v1/annotators", json={"name": "Ada"})
    assert len(await entries(api)) == 1


async def test_pages(api: Api) -> None:
    for name in "abc":
        await api.admin.post("/v1/annotators", json={"name": name})
    first = (await api.admin.get("/v1/audit", params={"limit": 2})).json()
    rest = (await api.admin.get("/v1/audit", params={"limit": 2, "cursor": first["next"]})).json()
    assert [len(first["items"]), len(rest["items"]), rest["next"]] == [2, 1, None]


async def test_only_an_administrator_reads_it(api: Api) -> None:
    for scope in ("read", "feedback", "label", "jobs"):
        problem(await (await api.client(scope)).get("/v1/audit"), 403, "forbidden")
