"""There is always an administrator left, whichever way keys go. On both databases."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx2
from sqlalchemy import select, update

from service.keys import administrators
from service.keys.retention import Retention
from service.store.tables import annotators, keys, now
from tests.service.calls import Api, problem


async def administrator(
    api: Api, name: str, by: httpx2.AsyncClient | None = None, **more: Any
) -> tuple[str, httpx2.AsyncClient]:
    """A new administrator's key, made ``by`` another: its id, and a client that has it."""
    made = (await (by or api.admin).post("/v1/keys", json={"name": name, "scopes": ["admin"], **more})).json()
    return made["id"], api.with_key(made["key"])


async def key_of_admin(api: Api) -> str:
    async with api.service.database.read() as connection:
        return str((await connection.execute(select(keys.c.id).where(keys.c.name == "a test's"))).scalar_one())


async def left(api: Api) -> set[str]:
    async with api.service.database.read() as connection:
        return await administrators.left(connection)


async def test_two_who_revoke_each_other_at_once_leave_one(api: Api) -> None:
    first, one = await administrator(api, "one")
    await one.delete(f"/v1/keys/{await key_of_admin(api)}")
    for attempt in range(6):
        second, two = await administrator(api, f"two {attempt}", one)
        answers = await asyncio.gather(one.delete(f"/v1/keys/{second}"), two.delete(f"/v1/keys/{first}"))
        assert sorted(answer.status_code for answer in answers)[0] == 200
        assert all(answer.status_code in (200, 401, 409) for answer in answers)
        assert len(await left(api)) == 1, [answer.text for answer in answers]
        if await left(api) == {second}:
            first, one = second, two


async def test_a_key_that_expires_is_no_administrator(api: Api) -> None:
    mine = await key_of_admin(api)
    _, expiring = await administrator(api, "short", expires_at=(now() + timedelta(days=1)).isoformat())
    refused = problem(await expiring.delete(f"/v1/keys/{mine}"), 409, "conflict")
    assert "never expires" in refused["detail"] and "cai keys make" in refused["fix"]
    assert await left(api) == {mine}
    other, _ = await administrator(api, "long")
    assert (await expiring.delete(f"/v1/keys/{mine}")).status_code == 200
    assert await left(api) == {other}


async def test_erasing_the_last_administrator_is_refused(api: Api) -> None:
    ada = await api.annotator("Ada")
    hers, client = await administrator(api, "Ada's", annotator=ada)
    assert (await client.delete(f"/v1/keys/{await key_of_admin(api)}")).status_code == 200
    problem(await client.delete(f"/v1/annotators/{ada}"), 409, "conflict")
    assert (await client.get(f"/v1/annotators/{ada}")).json()["name"] == "Ada"
    assert await left(api) == {hers}
    await administrator(api, "another", client)
    assert (await client.delete(f"/v1/annotators/{ada}")).json()["name"] is None


async def test_retention_leaves_the_last_administrator(api: Api) -> None:
    ada, old = await api.annotator("Ada"), await api.annotator("Old")
    hers, client = await administrator(api, "Ada's", annotator=ada)
    await client.delete(f"/v1/keys/{await key_of_admin(api)}")
    async with api.service.database.transaction() as connection:
        await connection.execute(update(annotators).values(created_at=now() - timedelta(days=100)))
    settings = api.service.settings.model_copy(update={"annotator_days": 30})
    assert await Retention(settings, api.service.database).once() == [old]
    assert await left(api) == {hers}


async def test_no_key_is_made_for_an_erased_annotator_and_one_that_was_is_refused(api: Api) -> None:
    ada = await api.annotator("Ada")
    await api.admin.delete(f"/v1/annotators/{ada}")
    asked = {"name": "late", "scopes": ["label"], "annotator": ada}
    problem(await api.admin.post("/v1/keys", json=asked), 404, "not_found")
    late = await api.client("label", annotator=ada)  # of a request that was under way
    problem(await late.get("/v1/projects"), 401, "unauthorized")
