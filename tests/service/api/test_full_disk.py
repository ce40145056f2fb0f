"""A full disk: the request is refused with what to do, nothing of it is stored, and reading goes on."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from service.settings import Settings
from tests.service.calls import Api, comparison, problem


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path / "data", worker=False)


async def test_a_full_disk_refuses_what_it_can_not_store_and_keeps_what_it_has(api: Api) -> None:
    small = comparison("A label from before.")
    assert (await api.admin.post("/v1/feedback", json=small)).status_code == 201
    writer = api.service.database.writer
    writer.dispose()

    @event.listens_for(writer, "connect")
    def full(connection: Any, _: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA max_page_count = 1")  # SQLite takes the size that the file has now
        cursor.close()

    large = comparison("x" * 100_000)
    refused = problem(await api.admin.post("/v1/feedback", json=large), 507, "disk_full")
    assert "Make room" in refused["fix"]
    labels = (await api.admin.get("/v1/feedback")).json()["items"]
    assert [label["prompt"]["messages"][0]["content"] for label in labels] == ["A label from before."]

    event.remove(writer, "connect", full)
    writer.dispose()
    assert (await api.admin.post("/v1/feedback", json=large)).status_code == 201
