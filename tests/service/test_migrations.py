"""The migrations lead to the tables that the code uses, in one step or many, with rows in them, on both databases."""

import asyncio
import json
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from critic.records import Prompt, Response
from service.labels.labels import item_of
from service.settings import Settings
from service.store import migrations
from service.store.database import database_url as parsed
from service.store.tables import metadata
from tests.service.calls import running


async def test_the_migrations_lead_to_the_tables_of_the_code(database_url: str) -> None:
    await migrations.upgrade(database_url)
    with migrations.connected(parsed(database_url)) as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, metadata) == []


async def test_servers_that_start_together_take_turns(database_url: str) -> None:
    await asyncio.gather(*(migrations.upgrade(database_url) for _ in range(4)))
    with migrations.connected(parsed(database_url)) as connection:
        assert set(inspect(connection).get_table_names()) >= set(metadata.tables)


async def test_every_step_keeps_the_rows_of_the_one_before(database_url: str) -> None:
    """The first version's row goes through all steps that came since."""
    with migrations.connected(parsed(database_url)) as connection:
        steps = list(ScriptDirectory.from_config(migrations.config(connection)).walk_revisions())[::-1]
    await migrations.upgrade(database_url, steps[0].revision)
    with migrations.connected(parsed(database_url)) as connection:
        connection.execute(
            text(
                "INSERT INTO annotators (id, name, \"group\", attributes, created_at) VALUES ('1', 'Ada', 'x', '{}', 5)"
            )
        )
        connection.commit()
    for step in steps[1:]:
        await migrations.upgrade(database_url, step.revision)
    await migrations.upgrade(database_url)
    with migrations.connected(parsed(database_url)) as connection:
        annotator = connection.execute(text('SELECT id, name, "group", created_at FROM annotators')).one()
        assert tuple(annotator) == ("1", "Ada", "x", 5)


BEFORE = (
    "INSERT INTO items (id, prompt, responses) VALUES ('c', :prompt, :responses)",
    "INSERT INTO annotators (id, name, attributes, created_at) VALUES ('ada', 'Ada', '{}', 5)",
    "INSERT INTO projects (id, name, kind, guidelines, form, labels_per_item, assigned, created_at)"
    " VALUES ('b', 'rivers', 'comparison', '', :form, 1, '[]', 5)",
    "INSERT INTO tasks (id, project, position, item, content, answers) VALUES ('a', 'b', 0, :item, 'c', 1)",
    "INSERT INTO feedback (id, kind, source, item, content, annotator, project, task, label, created_at)"
    " VALUES ('f', 'comparison', 'human', :item, 'c', 'ada', 'b', 'a', :label, 5)",
    "INSERT INTO leases (task, annotator, state, since, until, feedback) VALUES ('a', 'ada', 'answered', 1, 5, 'f')",
)


@pytest.mark.slow
async def test_labels_and_projects_of_the_version_before_are_read_and_corrected(
    database_url: str, tmp_path: Path
) -> None:
    """Of the version that knew no corrections, skips with reasons, times and flags."""
    responses = [{"text": text, "model": "given", "finish": "given"} for text in ("The Po.", "Paris.")]
    prompt = {"messages": [{"role": "user", "content": "Name a river."}], "tags": [], "id": None}
    options = [{"value": value, "title": value} for value in ("first", "tie", "second")]
    form = [{"name": "choice", "type": "choice", "title": "Which?", "required": True, "options": options}]
    values = {"prompt": prompt, "responses": responses, "form": form, "label": {"choice": "tie", "outcome": "tie"}}
    given = {name: json.dumps(value) for name, value in values.items()}
    given["item"] = item_of(Prompt.model_validate(prompt), [Response.model_validate(one) for one in responses])
    await migrations.upgrade(database_url, "0003")
    with migrations.connected(parsed(database_url)) as connection:
        for statement in BEFORE:
            named = {name: value for name, value in given.items() if f":{name}" in statement}
            connection.execute(text(statement), named)
        connection.commit()
    await migrations.upgrade(database_url)
    async with running(Settings(database=database_url, data=tmp_path / "data", worker=False)) as api:
        ada = await api.client("label", annotator="ada")
        old = (await api.admin.get("/v1/feedback/f")).json()
        assert (old["label"]["choice"], old["seconds"], old["flag"], old["replaces"]) == ("tie", None, None, None)
        project = (await api.admin.get("/v1/projects/b")).json()
        assert len(project["skip_reasons"]) == 5 and project["progress"]["labels"] == 1
        assert (await ada.get("/v1/tasks/a")).json()["answer"]["label"] == {"choice": "tie", "outcome": "tie"}
        new = await ada.post("/v1/tasks/a/answer", json={"label": "both_bad", "replaces": "f"})
        assert new.status_code == 201, new.text
        history = (await api.admin.get("/v1/feedback/f/history")).json()["items"]
        assert [row["id"] for row in history] == ["f", new.json()["id"]]
