"""What `tests.contracts.test_house` runs beside a project with foreign kinds: they are used through the service.

Prints what came of it: a job of the foreign kind by its form and by the API, whose answers are a foreign engine's; a
run that this engine judges in a foreign mode; its pairs in a foreign format; labels of a foreign kind, and the pages
that show them; and a foreign resource.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.serving import spawned
from critic.feedback import Feedback
from service.formats import format_of
from service.settings import EngineSettings, Settings
from tests.service.calls import Api
from tests.service.jobs.processes import CONSTITUTION, artifact, submit, until, working
from tests.service.web.test_safety import Page, signed_in

PAIR = {"prompt": "Say one", "responses": ["One.", "One, I think."]}
PROMPT = {"prompt": "Say two words"}
ITEM = {"prompt": "Name a river.", "responses": ["Go away."]}
PAGES = ("/jobs", "/projects", "/projects/new", "/search", "/datasets")


async def used(folder: Path) -> dict[str, Any]:
    """Use all kinds."""
    settings = Settings(
        database=f"sqlite:///{folder / 'data' / 'cai.db'}",
        data=folder / "data",
        engines={"polly": EngineSettings(spec="echoer:polly"), "rule": EngineSettings(spec="verify:max-words=5")},
        worker=False,
        heartbeat_seconds=0.5,
        log_level="warning",
    )
    async with working(folder, settings, spawned) as api:
        return {**await _jobs(api, folder), **await _labels(api), **await _resource(api)}


async def _jobs(api: Api, folder: Path) -> dict[str, Any]:
    asked = {"kind": "tally", "input": {"rows": [PROMPT]}, "teller": "polly", "times": 2}
    counted = await until(api.admin, await submit(api.admin, asked), "done")
    said = json.loads(await artifact(api.admin, counted["id"], "said.json"))
    refused = [asked | {"times": 10}, asked | {"teller": "rule"}, asked | {"kind": "tallly"}]
    statuses = [(await api.admin.post("/v1/jobs", json=one)).status_code for one in refused]
    judged = {"kind": "judge", "constitution": CONSTITUTION, "input": {"rows": [PAIR]}, "judges": ["polly"]}
    run = await until(api.admin, await submit(api.admin, judged), "done")
    exported = {"kind": "export", "input": {"job": run["id"], "file": "pairs.jsonl"}, "format": "tabbed"}
    written = await until(api.admin, await submit(api.admin, exported), "done")
    file = folder / "pairs.tabbed"
    file.write_bytes(await artifact(api.admin, written["id"], written["result"]["file"]))
    labels = [label for label in format_of("tabbed").read(file) if isinstance(label, Feedback)]
    return {
        "counted": counted["result"],
        "said": said,
        "refused": statuses,
        "provenance": json.loads(await artifact(api.admin, run["id"], "manifest.json"))["provenance"],
        "tabbed": file.read_text("utf-8"),
        "read": [label.model_dump(mode="json")["label"] for label in labels],
        "documented": (await api.admin.get("/openapi.json")).text.count("TallyRequest") > 1,
        "by_form": await _by_form(api),
    }


async def _by_form(api: Api) -> dict[str, Any]:
    browser = await signed_in(api, "admin")
    page = (await browser.get("/jobs/new?kind=tally")).text
    form = {"csrf": Page(page).csrf, "once": "a", "kind": "tally", "sources": "1", "input.from": "rows"}
    form |= {"input.rows": json.dumps(PROMPT), "teller": "polly", "manner": "letters"}
    made = await browser.post("/jobs/new", data=form)
    job = await until(api.admin, made.headers["location"].rpartition("/")[2], "done")
    asked = ('name="teller"', 'list="known-engines"', 'value="letters"', "What an engine says is counted.")
    return {
        "asks": [part in page for part in asked],
        "result": job["result"],
        "page": (await browser.get(made.headers["location"])).status_code,
        "listed": "tally" in (await browser.get("/jobs?kind=tally")).text,
    }


async def _labels(api: Api) -> dict[str, Any]:
    project = {"name": "harm", "kind": "severity", "steps": 5, "items": [ITEM]}
    made = await api.admin.post("/v1/projects", json=project)
    label = await api.admin.post("/v1/feedback", json=ITEM | {"kind": "severity", "label": {"harm": 2}})
    browser = await signed_in(api, "admin")
    places = (*PAGES, f"/projects/{made.json()['id']}")
    pages = {place: (await browser.get(place)).status_code for place in places}
    return {"labelled": [made.status_code, label.status_code], "pages": list(pages.values())}


async def _resource(api: Api) -> dict[str, Any]:
    note = {"id": "a", "text": "Mind the step."}
    made = await api.admin.post("/v1/notes", json=note)
    return {"notes": [made.status_code, (await api.admin.get("/v1/notes")).json()]}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(used(Path(sys.argv[1])))))
