"""Clocks that jump: nothing is erased too early, nothing is left out, nothing stays locked. On both databases."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Text, select, update

from service.keys import retention
from service.keys.retention import Retention
from service.refusals import Unauthorized
from service.store import clock as believing
from service.store import tables
from service.store.clock import LEAP, SLACK, moved
from service.store.tables import annotators, clock, feedback, idempotency, keys, leases, now, sessions
from tests.service.calls import Api, comparison

HERE = datetime(2026, 11, 28, 12, tzinfo=UTC)
FAR = datetime(2100, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("here", "running", "believed"),
    [
        (HERE + HOUR, HOUR, HERE + HOUR),  # a quiet hour
        (HERE - HOUR, HOUR, HERE),  # back: believed time waits
        (HERE + 2 * HOUR, HOUR, HERE + 2 * HOUR),  # an hour too far: caught up at twice the pace
        (FAR, HOUR, HERE + 2 * HOUR),
        (FAR, None, HERE),  # a start
        (HERE + timedelta(days=6), None, HERE + timedelta(days=6)),
        (HERE + timedelta(days=60), None, HERE),
    ],
)
def test_time_moves_on_as_far_as_it_is_believed(here: datetime, running: timedelta | None, believed: datetime) -> None:
    assert moved(HERE, here, running) == believed


@given(st.lists(st.tuples(st.integers(-(10**9), 10**9), st.integers(0, 10_000)), max_size=40))
def test_a_running_server_never_believes_more_than_twice_its_own_time(looks: list[tuple[int, int]]) -> None:
    at, spent = HERE, timedelta()
    for said, seconds in looks:
        running = timedelta(seconds=seconds)
        spent += running
        before, at = at, moved(at, HERE + timedelta(seconds=said), running)
        assert before <= at <= HERE + 2 * spent + len(looks) * SLACK


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (believing, retention, tables):
        monkeypatch.setattr(module, "now", lambda: FAR)


async def aged(api: Api, name: str, days: int) -> None:
    await api.annotator(name)
    async with api.service.database.transaction() as connection:
        mine = update(annotators).where(annotators.c.id == f"id-of-{name.lower()}")
        await connection.execute(mine.values(created_at=now() - timedelta(days=days)))


@pytest.mark.parametrize("passes", [1, 3])
async def test_a_clock_that_says_2100_erases_nobody(api: Api, passes: int, request: pytest.FixtureRequest) -> None:
    for name, days in (("Ada", 0), ("Grace", 20), ("Mary", 29)):
        await aged(api, name, days)
    await api.admin.post("/v1/feedback", json=comparison(), headers={"Idempotency-Key": "k"})
    settings = api.service.settings.model_copy(update={"annotator_days": 30})
    if passes > 1:  # a service that has looked before
        await Retention(settings, api.service.database).once()
    request.getfixturevalue("far")
    for _ in range(passes):  # as often as it starts
        server = Retention(settings, api.service.database)
        assert await server.once() == [] and await server.once() == []
    async with api.service.database.read() as connection:
        assert len((await connection.execute(select(idempotency))).all()) == 1
        believed = (await connection.execute(select(clock.c.believed))).scalar_one()
    assert believed <= datetime.now(UTC) + LEAP


async def test_what_is_old_by_believed_time_goes(api: Api) -> None:
    await aged(api, "Old", 31)
    settings = api.service.settings.model_copy(update={"annotator_days": 30})
    assert await Retention(settings, api.service.database).once() == ["id-of-old"]


async def given_at(api: Api, *minutes: float) -> list[str]:
    """Labels in this order, dated so many minutes after noon by whichever clock their server had."""
    ids = []
    for number, minute in enumerate(minutes):
        id = (await api.admin.post("/v1/feedback", json=comparison(f"Name river {number}."))).json()["id"]
        async with api.service.database.transaction() as connection:
            dated = update(feedback).where(feedback.c.id == id).values(created_at=HERE + timedelta(minutes=minute))
            await connection.execute(dated)
        ids.append(id)
    return ids


async def chosen(api: Api, **filters: datetime) -> list[str]:
    ids: list[str] = []
    params: dict[str, Any] = {name: moment.isoformat() for name, moment in filters.items()} | {"limit": 2}
    while True:
        page = (await api.admin.get("/v1/feedback", params=params)).json()
        ids += [label["id"] for label in page["items"]]
        if page["next"] is None:
            return ids
        params["cursor"] = page["next"]


@pytest.mark.parametrize(
    "minutes",
    [
        (0, 1, 2, 3, 4, 5),
        (60, 61, 62, 1, 2, 3),  # a clock that was an hour ahead, and set right
        (0, 1, 2, -60, -59, -58),  # one that went back
        (0, 2.5, 1, 3.5, 2, 4.5),  # two servers, a minute and a half apart
        (0, 10**7, 1, 2, 3, 4),  # one that said 2045 once
    ],
)
async def test_no_label_is_left_out_whatever_the_clocks_said(api: Api, minutes: tuple[float, ...]) -> None:
    ids = await given_at(api, *minutes)
    for minute in sorted({*minutes, *(m + 0.5 for m in minutes)}):
        moment = HERE + timedelta(minutes=minute)
        since, until = await chosen(api, since=moment), await chosen(api, until=moment)
        assert {id for id, at in zip(ids, minutes, strict=True) if at >= minute} <= set(since)
        assert {id for id, at in zip(ids, minutes, strict=True) if at < minute} <= set(until)
        assert set(since) | set(until) == set(ids)
        assert since == ids[len(ids) - len(since) :] and until == ids[: len(until)]  # one piece, in order
        if list(minutes) == sorted(minutes):
            assert not set(since) & set(until)


async def test_a_data_set_has_all_labels_since_a_clock_went_back(api: Api) -> None:
    await given_at(api, 60, 61, 62, 1, 2, 3)
    asked = {"name": "rivers", "aggregation": "each", "filter": {"since": HERE.isoformat()}}
    made = await api.admin.post("/v1/datasets", json=asked)
    assert made.status_code == 201 and made.json()["counts"]["labels"] == 6


async def test_a_lease_of_a_clock_that_was_ahead_holds_nothing(api: Api) -> None:
    ada, grace = await api.labeller("Ada"), await api.labeller("Grace")
    items = [{"prompt": "Name a river.", "responses": ["The Po.", "Paris."]}]
    id = (await api.admin.post("/v1/projects", json={"name": "r", "kind": "comparison", "items": items})).json()["id"]
    task = (await ada.post(f"/v1/projects/{id}/tasks/next")).json()["task"]
    assert (await grace.post(f"/v1/projects/{id}/tasks/next")).json()["task"] is None
    async with api.service.database.transaction() as connection:
        await connection.execute(update(leases).values(since=FAR, until=FAR + HOUR))
    assert (await api.admin.get(f"/v1/projects/{id}")).json()["progress"]["leased"] == 0
    assert (await grace.post(f"/v1/projects/{id}/tasks/next")).json()["task"]["id"] == task["id"]
    late = await ada.post(f"/v1/tasks/{task['id']}/answer", json={"label": "first"})
    assert late.status_code == 409
    assert (await grace.post(f"/v1/tasks/{task['id']}/answer", json={"label": "first"})).status_code == 201


async def test_an_expired_key_stays_expired_when_the_clock_goes_back(api: Api) -> None:
    client = await api.client("read")
    async with api.service.database.transaction() as connection:
        mine = update(keys).where(keys.c.scopes.cast(Text).contains("read"))
        await connection.execute(mine.values(expires_at=now() + HOUR))
    assert (await client.get("/v1/projects")).status_code == 200
    await Retention(api.service.settings, api.service.database).once()
    async with api.service.database.transaction() as connection:  # what a later look believed
        await connection.execute(update(clock).values(believed=now() + 2 * HOUR))
    api.service.keys._known.clear()
    assert (await client.get("/v1/projects")).status_code == 401


async def test_who_signs_in_while_the_clock_is_behind_is_in_and_links_work(api: Api) -> None:
    """Sessions were dated by the clock and looked at by believed time: each was over when it began."""
    await Retention(api.service.settings, api.service.database).once()
    async with api.service.database.transaction() as connection:
        await connection.execute(update(clock).values(believed=now() + 48 * HOUR))
    made = (await api.admin.post("/v1/keys", json={"name": "k", "scopes": ["read"]})).json()
    there = api.service.sessions
    assert (await api.service.keys.caller(made["key"])).key == made["id"]  # which looks at believed time
    token = await there.begin(made["id"])
    assert (await there.find(token)).caller.key == made["id"]
    link = (await api.admin.post(f"/v1/keys/{made['id']}/links", json={"hours": 1})).json()
    used = await there.use(link["path"].rpartition("/")[2])
    assert (await there.find(used)).caller.key == made["id"]


async def test_a_session_of_a_clock_that_was_ahead_is_over(api: Api) -> None:
    made = (await api.admin.post("/v1/keys", json={"name": "k", "scopes": ["read"]})).json()
    token = await api.service.sessions.begin(made["id"])
    async with api.service.database.transaction() as connection:
        await connection.execute(update(sessions).values(expires_at=now() + 700_000 * HOUR))
    with pytest.raises(Unauthorized):
        await api.service.sessions.find(token)
