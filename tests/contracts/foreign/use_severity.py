"""What `tests.contracts.test_foreign_kind` runs beside a project that has the file ``severity.py`` among its kinds.

The kind is used end to end: through the API, the database, data sets, formats and agreement. Prints what came of it.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from critic.feedback import KINDS, Feedback
from service.formats import format_of
from service.settings import Settings
from service.store import migrations
from tests.service.calls import Api, running

ITEM = {"prompt": "Name a river.", "responses": ["Go away."]}


async def used(folder: Path) -> dict[str, Any]:
    """Use the kind, and return what the service says of it."""
    url = f"sqlite:///{folder / 'labels.db'}"
    await migrations.upgrade(url)
    async with running(Settings(database=url, data=folder / "data", worker=False)) as api:
        return await _through(api, folder)


async def _through(api: Api, folder: Path) -> dict[str, Any]:
    short = await api.admin.post("/v1/feedback", json=ITEM | {"kind": "severity", "label": "mild"})
    asked = {"name": "harm", "kind": "severity", "steps": 5, "labels_per_item": 2, "items": [ITEM]}
    project = (await api.admin.post("/v1/projects", json=asked)).json()
    for name, harm in (("Ada", 4), ("Grace", 1)):
        client = await api.labeller(name)
        task = (await client.post(f"/v1/projects/{project['id']}/tasks/next")).json()["task"]
        await client.post(f"/v1/tasks/{task['id']}/answer", json={"label": harm})
    chosen = {"name": "harm", "filter": {"project": project["id"]}, "aggregation": "majority"}
    made = (await api.admin.post("/v1/datasets", json=chosen)).json()
    rows = (await api.admin.get("/v1/datasets/harm/1/download", params={"table": "ratings"})).text
    stored = (await api.admin.get("/v1/feedback", params={"kind": "severity"})).json()["items"]
    wrong = await api.admin.post("/v1/projects", json={"name": "x", "kind": "thumbs", "steps": 2})
    labels = [row["label"] for row in stored[1:]]
    return {
        "short": [short.status_code, stored[0]["label"]],
        "form": project["form"],
        "labels": labels,
        "counts": made["counts"]["tables"]["ratings"]["rows"],
        "row": json.loads(rows),
        "formats": {
            name: _written(name, stored[1], folder) for name in ("jsonl", "parquet", "argilla", "label-studio")
        },
        "agreement": (await api.admin.get(f"/v1/projects/{project['id']}/agreement")).json()["people"],
        "refused": [wrong.status_code, wrong.json()["detail"]],
        "documented": "severity" in (await api.admin.get("/openapi.json")).text,
    }


def _written(name: str, row: dict[str, Any], folder: Path) -> list[Any]:
    """Write one label in a format; return what came back of it, and what was lost."""
    fields = {name: row[name] for name in ("kind", "prompt", "responses", "label", "source", "annotator")}
    label, form = Feedback.model_validate(fields), format_of(name)
    path = folder / f"out{form.suffixes[0]}"
    lost = form.write("feedback", [label], path)
    if name not in ("jsonl", "parquet"):
        return [dict(lost)]
    back = [one for one in form.read(path) if isinstance(one, Feedback)]
    return [one.model_copy(update={"where": ""}) == label for one in back]


if __name__ == "__main__":
    assert "severity" in KINDS
    print(json.dumps(asyncio.run(used(Path(sys.argv[1])))))
