"""Backup and restore, between the databases, and what a broken backup does: nothing."""

import gzip
from pathlib import Path

import pytest
from sqlalchemy import select

from constitution.errors import InputError
from service import tables
from service.backup import backup, restore
from service.settings import Settings
from tests.service.calls import comparison, running


async def filled(settings: Settings) -> dict[str, list[dict[str, object]]]:
    """Make a service with rows of most tables; return all of them by table."""
    async with running(settings) as api:
        ada = await api.annotator("Ada", "nurses")
        labels = [comparison(f"Name river {n}.", annotator=ada, constitution="honesty") for n in range(3)]
        given = (await api.admin.post("/v1/feedback", json=labels)).json()["ids"]
        await api.admin.post(f"/v1/feedback/{given[1]}/retract", json={"reason": "Zu schnell gelesen: é"})
        yaml = Path("examples/short.yaml").read_bytes()
        await api.admin.post("/v1/constitutions", content=yaml, headers={"Content-Type": "application/yaml"})
        row = {"id": "j", "seq": 1, "kind": "judge", "request": {}, "state": "running", "progress": {}, "epoch": 1}
        row |= {"created_at": tables.now(), "cancel": False, "attempt": 1}
        row = {name: value for name, value in row.items() if name in tables.jobs.c}
        await api.service.database.insert({tables.jobs: [row]})
        return await rows(api.service.database)


async def rows(database: object) -> dict[str, list[dict[str, object]]]:
    found = {}
    async with database.read() as connection:  # type: ignore[attr-defined]
        for table in tables.metadata.sorted_tables:
            query = select(table).order_by(*table.primary_key.columns)
            found[table.name] = [dict(row) for row in (await connection.execute(query)).mappings()]
    return {name: there for name, there in found.items() if there}


@pytest.mark.parametrize("to", ["sqlite", "postgresql"])
async def test_all_rows_come_back_in_either_kind_of_database(
    to: str, settings: Settings, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    before = await filled(settings)
    counts = backup(settings.url, tmp_path / "all.gz")
    assert counts == {name: len(there) for name, there in before.items()}
    assert (tmp_path / "all.gz").stat().st_mode & 0o077 == 0
    if to == "sqlite":
        url = f"sqlite:///{tmp_path / 'new.db'}"
    else:
        server = request.getfixturevalue("postgres")
        url = server.url(server.create())
    assert restore(url, tmp_path / "all.gz") == counts
    async with running(settings.model_copy(update={"database": url, "data": tmp_path / "new"})) as api:
        after = await rows(api.service.database)
        [job] = after["jobs"]
        assert job["state"] == "failed" and "retry" in str(job["error"])
        after["jobs"] = before["jobs"]
        after["keys"] = [key for key in after["keys"] if key in before["keys"]]  # the new client's is one more
        assert after == before
        stored = await api.admin.post("/v1/feedback", json=comparison("One more."))  # numbers go on after the last
        assert stored.status_code == 201, stored.text


async def test_a_backup_that_was_cut_or_changed_restores_nothing(settings: Settings, tmp_path: Path) -> None:
    await filled(settings)
    file = tmp_path / "all.gz"
    backup(settings.url, file)
    lines = gzip.decompress(file.read_bytes()).splitlines(keepends=True)
    broken = {
        "cut": file.read_bytes()[:-40],
        "end gone": gzip.compress(b"".join(lines[:-1])),
        "row gone": gzip.compress(b"".join(lines[:5] + lines[6:])),
        "none": b"",
        "other": gzip.compress(b"{}\n"),
    }
    for name, content in broken.items():
        (tmp_path / f"{name}.gz").write_bytes(content)
        url = f"sqlite:///{tmp_path / f'{name}.db'}"
        with pytest.raises(InputError, match=r"cut short|no backup"):
            restore(url, tmp_path / f"{name}.gz")
    with pytest.raises(InputError, match="exists already"):
        backup(settings.url, file)
    with pytest.raises(InputError, match="in use already"):
        restore(settings.url, file)
    with pytest.raises(InputError, match="holds no service"):
        backup(f"sqlite:///{tmp_path / 'empty.db'}", tmp_path / "empty.gz")
    assert not (tmp_path / "empty.gz").exists()
