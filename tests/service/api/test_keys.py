"""Keys through the API, on both databases; and how any route refuses."""

from datetime import datetime

import pytest

from service.keys.auth import new_key
from service.store.tables import keys
from tests.service.calls import Api, one_database, problem


async def test_a_key_is_told_once_and_works(api: Api) -> None:
    made = (await api.admin.post("/v1/keys", json={"name": "a script", "scopes": ["read", "jobs"]})).json()
    client = api.with_key(made["key"])
    assert (await client.get("/v1/engines")).status_code == 200
    refused = problem(await client.get("/v1/keys"), 403, "forbidden")
    assert refused["detail"] == "the key 'a script' lacks the scope admin"
    listed = (await api.admin.get("/v1/keys")).json()["items"]
    [shown] = [key for key in listed if key["id"] == made["id"]]
    assert shown == {name: value for name, value in made.items() if name != "key"}


async def test_a_repeated_request_makes_one_key_and_tells_its_text_no_second_time(api: Api) -> None:
    asked = {"name": "a script", "scopes": ["read"]}
    first = await api.admin.post("/v1/keys", json=asked, headers={"Idempotency-Key": "k"})
    again = await api.admin.post("/v1/keys", json=asked, headers={"Idempotency-Key": "k"})
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json() == first.json() | {"key": ""}
    assert len((await api.admin.get("/v1/keys")).json()["items"]) == 2  # and the administrator's
    other = await api.admin.post("/v1/keys", json=asked | {"name": "b"}, headers={"Idempotency-Key": "k"})
    problem(other, 422, "idempotency_mismatch")


async def test_a_revoked_key_stops_working_at_once_and_no_key_revokes_itself(api: Api) -> None:
    made = (await api.admin.post("/v1/keys", json={"name": "lost", "scopes": ["admin"]})).json()
    client = api.with_key(made["key"])
    problem(await client.delete(f"/v1/keys/{made['id']}"), 409, "conflict")
    assert (await api.admin.delete(f"/v1/keys/{made['id']}")).json()["revoked_at"] is not None
    assert problem(await client.get("/v1/keys"), 401, "unauthorized")["detail"] == "the API key was revoked"
    problem(await api.admin.delete("/v1/keys/nothing"), 404, "not_found")


async def test_a_key_can_only_belong_to_an_annotator_who_is_there(api: Api) -> None:
    ada = await api.annotator("Ada")
    asked = {"name": "Ada's", "scopes": ["label"], "annotator": ada}
    assert (await api.admin.post("/v1/keys", json=asked)).json()["annotator"] == ada
    problem(await api.admin.post("/v1/keys", json=asked | {"annotator": "nobody"}), 404, "not_found")


async def test_pages_hold_every_key_once(api: Api) -> None:
    for number in range(4):
        await api.admin.post("/v1/keys", json={"name": f"{number}", "scopes": ["read"]})
    ids: list[str] = []
    page = (await api.admin.get("/v1/keys?limit=2")).json()
    while page["next"]:
        ids += [key["id"] for key in page["items"]]
        page = (await api.admin.get(f"/v1/keys?limit=2&cursor={page['next']}")).json()
    ids += [key["id"] for key in page["items"]]
    assert len(ids) == 5 and ids == sorted(set(ids))
    problem(await api.admin.get("/v1/keys?cursor=!!!"), 422, "invalid")


async def test_no_key_and_a_wrong_one_are_refused(api: Api) -> None:
    assert "WWW-Authenticate" in (await api.with_key(None).get("/v1/keys")).headers
    problem(await api.with_key(None).get("/v1/keys"), 401, "unauthorized")
    problem(await api.with_key("cai_0123_guess").get("/v1/keys"), 401, "unauthorized")


@one_database
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"name": "a", "scopes": ["read"]', 400),
        (b'{"name": "\xff", "scopes": ["read"]}', 400),
        (b'{"name": "\\u0000", "scopes": ["read"]}', 400),
        (b'{"name": "\\ud800", "scopes": ["read"]}', 400),
        (b'{"name": NaN, "scopes": ["read"]}', 400),
        (b"[" * 100_000, 400),
        (b'{"name": "a", "scopes": ["everything"]}', 422),
        (b'{"name": "a", "scopes": ["read"], "role": "king"}', 422),
        (b"", 422),
    ],
)
async def test_what_can_not_be_read_or_stored_is_refused_at_the_door(api: Api, body: bytes, status: int) -> None:
    answer = await api.admin.post("/v1/keys", content=body, headers={"Content-Type": "application/json"})
    document = problem(answer, status, "malformed" if status == 400 else "invalid")
    assert document["fix"]


async def test_a_body_over_the_limit_is_refused(api: Api) -> None:
    problem(await api.admin.post("/v1/keys", content=b" " * (16 * 2**20 + 1)), 413, "too_large")


async def test_an_address_says_all_that_it_can_do(api: Api) -> None:
    answer = await api.admin.request("PUT", "/v1/keys")
    problem(answer, 405, "method_not_allowed")
    assert answer.headers["Allow"] == "GET, POST"
    problem(await api.admin.get("/v1/kees"), 404, "not_found")


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+12:00"])
async def test_a_time_that_is_in_no_year_of_utc_is_refused_and_an_old_one_can_be_listed(api: Api, moment: str) -> None:
    """One such key, and nobody could list keys any more."""
    asked = {"name": "far", "scopes": ["read"], "expires_at": moment}
    problem(await api.admin.post("/v1/keys", json=asked), 422, "invalid")
    made = new_key("of a version before", ["read"], expires_at=datetime.fromisoformat(moment))
    await api.service.database.insert({keys: [made.row]})
    listed = (await api.admin.get("/v1/keys")).json()["items"]
    [year] = [key["expires_at"][:4] for key in listed if key["id"] == made.id]
    assert year == moment[:4]
