"""Annotators: made, grouped, erased without losing a label. On both databases."""

from typing import Any

import pytest
from sqlalchemy import text

from tests.service.calls import Api, comparison, one_database, problem


async def make(api: Api, **row: Any) -> dict[str, Any]:
    response = await api.admin.post("/v1/annotators", json=row)
    assert response.status_code == 201, response.text
    made: dict[str, Any] = response.json()
    return made


async def test_an_annotator_is_made_found_and_changed(api: Api) -> None:
    ada = await make(api, name="Ada", group="nurses", attributes={"language": "en"})
    grace = await make(api, name="Grace")
    assert (await api.admin.get(f"/v1/annotators/{ada['id']}")).json() == ada
    assert (await api.admin.get("/v1/annotators")).json()["items"] == [ada, grace]
    assert (await api.admin.get("/v1/annotators", params={"name": "Grace"})).json()["items"] == [grace]
    first = (await api.admin.get("/v1/annotators", params={"limit": 1})).json()
    rest = (await api.admin.get("/v1/annotators", params={"limit": 1, "cursor": first["next"]})).json()
    assert (first["items"], rest["items"], rest["next"]) == ([ada], [grace], None)
    changed = (await api.admin.patch(f"/v1/annotators/{ada['id']}", json={"group": "doctors"})).json()
    assert changed == ada | {"group": "doctors"}
    assert (await api.admin.patch(f"/v1/annotators/{ada['id']}", json={"group": None})).json()["group"] is None


async def test_a_changed_group_is_that_of_the_labels_after_it(api: Api) -> None:
    ada = (await make(api, name="Ada", group="nurses"))["id"]
    await api.admin.post("/v1/feedback", json=comparison(annotator=ada))
    await api.admin.patch(f"/v1/annotators/{ada}", json={"group": "doctors"})
    await api.admin.post("/v1/feedback", json=comparison(annotator=ada))
    groups = [row["group"] for row in (await api.admin.get("/v1/feedback")).json()["items"]]
    assert groups == ["nurses", "doctors"]


@one_database
@pytest.mark.parametrize(
    "row",
    [
        {},
        {"name": ""},
        {"name": "x" * 201},
        {"name": "Ada", "group": ""},
        {"name": "Ada", "attributes": {"": "x"}},
        {"name": "Ada", "attributes": {"x": "y" * 201}},
        {"name": "Ada", "attributes": {str(i): "x" for i in range(21)}},
        {"name": "Ada", "born": 1815},
    ],
)
async def test_what_is_too_much_or_too_little_is_refused(api: Api, row: dict[str, Any]) -> None:
    problem(await api.admin.post("/v1/annotators", json=row), 422, "invalid")


async def test_names_are_had_once_and_a_repeated_request_has_one_effect(api: Api) -> None:
    named = {"Idempotency-Key": "k"}
    first = await api.admin.post("/v1/annotators", json={"name": "Ada"}, headers=named)
    assert (await api.admin.post("/v1/annotators", json={"name": "Ada"}, headers=named)).json() == first.json()
    document = problem(await api.admin.post("/v1/annotators", json={"name": "Ada"}), 409, "conflict")
    assert "already" in document["detail"] and document["fix"]
    reader, giver = await api.client("read"), await api.client("feedback")
    problem(await reader.post("/v1/annotators", json={"name": "Grace"}), 403, "forbidden")
    assert (await giver.post("/v1/annotators", json={"name": "Grace"})).status_code == 201
    problem(await giver.delete(f"/v1/annotators/{first.json()['id']}"), 403, "forbidden")
    problem(await reader.get("/v1/annotators/nobody"), 404, "not_found")
    problem(await giver.patch("/v1/annotators/nobody", json={}), 404, "not_found")


async def test_erasing_leaves_labels_and_group_and_nothing_of_the_name_anywhere(api: Api) -> None:
    secret = "Augusta-Ada-King"
    made = await api.admin.post(
        "/v1/annotators",
        json={"name": secret, "group": "nurses", "attributes": {"town": f"{secret}-upon-Thames"}},
        headers={"Idempotency-Key": "made"},
    )
    id = made.json()["id"]
    key = await api.admin.post(
        "/v1/keys",
        json={"name": f"{secret}'s laptop", "scopes": ["label"], "annotator": id},
        headers={"Idempotency-Key": "key"},
    )
    ada = api.with_key(key.json()["key"])
    label = (await ada.post("/v1/feedback", json=comparison())).json()["id"]
    erased = (await api.admin.delete(f"/v1/annotators/{id}")).json()
    assert (erased["name"], erased["attributes"], erased["group"]) == (None, {}, "nurses") and erased["erased_at"]
    assert (await api.admin.delete(f"/v1/annotators/{id}")).json() == erased
    problem(await ada.post("/v1/feedback", json=comparison()), 401, "unauthorized")
    stored = (await api.admin.get(f"/v1/feedback/{label}")).json()
    assert (stored["annotator"], stored["group"], stored["label"]["choice"]) == (id, "nurses", "first")
    entries = (await api.admin.get("/v1/audit", params={"target": id})).json()["items"]
    assert [entry["action"] for entry in entries] == ["annotator.made", "annotator.erased"]
    assert secret not in await everything(api)
    problem(await api.admin.patch(f"/v1/annotators/{id}", json={"group": "x"}), 409, "conflict")
    document = problem(await api.admin.post("/v1/feedback", json=comparison(annotator=id)), 422, "invalid")
    assert "no annotator" in document["detail"]
    assert await make(api, name=secret)  # the name is free again


async def everything(api: Api) -> str:
    """Every row of every table, as text."""
    rows = []
    async with api.service.database.read() as connection:
        names = await connection.run_sync(lambda sync: sync.dialect.get_table_names(sync))
        for name in names:
            rows += [str(tuple(row)) for row in await connection.execute(text(f'SELECT * FROM "{name}"'))]
    assert any("nurses" in row for row in rows)
    return "\n".join(rows)
