"""What is not kept for ever, on both databases."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from service.keys.retention import Retention
from service.store.tables import annotators, feedback, idempotency, now
from tests.service.calls import Api, comparison


@pytest.mark.parametrize(("days", "gone"), [(None, set()), (30, {"id-of-old"}), (400, set())])
async def test_annotators_without_a_label_for_long_are_erased_and_their_labels_stay(
    api: Api, days: int | None, gone: set[str]
) -> None:
    old, busy, new = [await api.labeller(name, "nurses") for name in ("Old", "Busy", "New")]
    for client in (old, busy):
        assert (await client.post("/v1/feedback", json=comparison())).status_code == 201
    long_ago = now() - timedelta(days=100)
    async with api.service.database.transaction() as connection:
        aged = annotators.c.id.in_(["id-of-old", "id-of-busy"])
        await connection.execute(update(annotators).where(aged).values(created_at=long_ago))
        await connection.execute(
            update(feedback).where(feedback.c.annotator == "id-of-old").values(created_at=long_ago)
        )
    settings = api.service.settings.model_copy(update={"annotator_days": days})
    assert set(await Retention(settings, api.service.database).once()) == gone
    assert await Retention(settings, api.service.database).once() == []
    shown = {one["id"]: one["name"] for one in (await api.admin.get("/v1/annotators")).json()["items"]}
    assert shown == {
        id: None if id in gone else name
        for id, name in [("id-of-old", "Old"), ("id-of-busy", "Busy"), ("id-of-new", "New")]
    }
    labels = (await api.admin.get("/v1/feedback")).json()["items"]
    assert [(label["annotator"], label["group"]) for label in labels] == [
        ("id-of-old", "nurses"),
        ("id-of-busy", "nurses"),
    ]
    assert (await new.get("/v1/feedback")).status_code == 403  # its key still works, within its scope


async def test_answers_to_repeated_requests_are_kept_for_a_week(api: Api) -> None:
    for name in ("early", "late"):
        await api.admin.post("/v1/feedback", json=comparison(), headers={"Idempotency-Key": name})
    async with api.service.database.transaction() as connection:
        early = update(idempotency).where(idempotency.c.name == "early")
        await connection.execute(early.values(at=now() - timedelta(days=8)))
    await Retention(api.service.settings, api.service.database).once()
    async with api.service.database.read() as connection:
        assert (await connection.execute(select(idempotency.c.name))).scalars().all() == ["late"]
        assert (await connection.execute(select(func.count()).select_from(feedback))).scalar_one() == 2
