"""Pages of those who run projects, in a real browser: what they do by mouse, without scripts, and for whom they are."""

import json
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect
from sqlalchemy import update

from service.jobs.inputs.artifacts import of_job
from service.store.tables import jobs, now
from tests.service.web import managed
from tests.service.web.site import Site

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]


@dataclass(frozen=True, slots=True)
class Managed:
    """What there is to look at: a key, and a labelled project."""

    site: Site
    key: str
    project: str


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def there(shared_site: Site) -> Managed:
    site = shared_site
    items = managed.pairs()
    items[4]["prompt"] = f"Question 4: {managed.HOSTILE}"
    items[4]["responses"] = [f"Put {managed.HOSTILE}", f"Water {managed.HOSTILE}"]
    project = await managed.project(site, f"Basil {managed.HOSTILE}", items)
    await managed.label_all(site, project, "managed ")
    await managed.judge_all(site, items)
    await managed.judge_all(site, [item | {"prompt": f"Unseen {item['prompt']}"} for item in managed.pairs(3)])
    asked = {"name": "basil", "aggregation": "each", "filter": {"project": project}}
    assert (await site.admin.post("/v1/datasets", json=asked)).status_code == 201
    await managed.model(site, "basil-reward", await managed.job(site, "managed1"))
    return Managed(site, await site.key("admin"), project)


async def opened(there: Managed, address: str, **more: Any) -> Page:
    page = await there.site.page(there.key, **more)
    await page.goto(address)
    return page


async def test_a_file_of_pairs_becomes_a_project_in_at_most_six_clicks(
    there: Managed, site: Site, tmp_path: Path
) -> None:
    file = tmp_path / "winter herbs.jsonl"
    rows = [{"prompt": item["prompt"], "chosen": "Yes.", "rejected": "No."} for item in managed.pairs(3)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows) + "broken\n")
    page = await opened(there, "/projects")
    await page.get_by_role("link", name="New project").first.click()  # 1
    await page.get_by_label("File", exact=True).set_input_files(file)  # 2 and 3: the field, and the file in its dialog
    await page.get_by_role("button", name="Make the project").click()  # 4
    assert await page.get_by_role("heading", name="winter herbs").is_visible()
    assert "1 row of the file could not be used" in await page.locator("main").inner_text()
    preview = page.get_by_role("region", name="The first task, as annotators see it")
    assert "Question 0" in await preview.inner_text() and "Which answer is better?" in await preview.inner_text()
    _, annotator = await site.labeller()
    assert "winter herbs" not in await annotator.locator("main").inner_text()  # nobody sees it before it is opened
    await page.get_by_role("button", name="Open it to annotators").click()  # 5
    await annotator.reload()
    assert "winter herbs" in await annotator.locator("main").inner_text()


async def test_a_project_that_is_refused_keeps_what_was_typed_and_one_made_by_mistake_is_discarded(
    there: Managed, site: Site
) -> None:
    page = await opened(there, "/projects/new", java_script_enabled=False)
    await page.get_by_label("Name", exact=True).fill("made by mistake")
    await page.get_by_label("Guidelines").fill("Prefer the shorter one.")
    await page.get_by_role("button", name="Make the project").click()
    assert "which file?" in await page.get_by_role("alert").inner_text()
    assert await page.get_by_label("Guidelines").input_value() == "Prefer the shorter one."
    await page.get_by_label("Later, by the API").check()
    await page.get_by_label("Kind", exact=True).first.select_option("rating")
    await page.get_by_role("button", name="Make the project").click()
    assert await page.get_by_role("heading", name="made by mistake").is_visible()
    await page.get_by_role("button", name="Discard it").click()
    names = [one["name"] for one in (await site.admin.get("/v1/projects", params={"limit": 500})).json()["items"]]
    assert "made by mistake" not in names


async def test_gold_comes_from_a_file_of_its_own(there: Managed, site: Site, tmp_path: Path) -> None:
    known = [{"prompt": "Gold?", "responses": ["Right.", "Wrong."], "expected": "first", "why": "It is."}]
    for name, rows in (("items", managed.pairs(2)), ("gold", known)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    page = await opened(there, "/projects/new")
    await page.get_by_label("File", exact=True).set_input_files(tmp_path / "items.jsonl")
    await page.get_by_label("Name", exact=True).fill("with gold")
    await page.get_by_text("More: skip reasons").click()
    await page.get_by_label("Gold items").set_input_files(tmp_path / "gold.jsonl")
    await page.get_by_label("One gold item among so many").fill("2")
    await page.get_by_label("Harmful").uncheck()
    await page.get_by_role("button", name="Make the project").click()
    await page.get_by_role("heading", name="with gold").wait_for()
    projects = (await site.admin.get("/v1/projects", params={"limit": 500})).json()["items"]
    [made] = [one for one in projects if one["name"] == "with gold"]
    assert made["settings"]["gold_every"] == 2 and made["progress"]["items"] == 2
    assert "harmful" not in made["skip_reasons"] and "broken" in made["skip_reasons"]


async def test_a_reviewer_decides_an_item_without_scripts_and_the_labels_stay(there: Managed, site: Site) -> None:
    page = await opened(there, f"/projects/{there.project}/items", java_script_enabled=False)
    await page.locator("tbody a").first.click()
    text = await page.locator("main").inner_text()
    for shown in ("managed Ada", "managed Cy", "judge-1", "no-invention", "p = 0."):
        assert shown in text
    await page.get_by_label("The first is better").check()
    await page.get_by_label("Why?").fill("The second invents a source.")
    await page.get_by_role("button", name="Decide").click()
    assert "The second invents a source." in await page.locator("main").inner_text()
    decided = (await site.admin.get(f"/v1/projects/{there.project}/adjudications")).json()["items"]
    assert decided[0]["reason"] == "The second invents a source." and decided[0]["label"]["choice"] == "first"
    labels = (await site.admin.get("/v1/feedback", params={"item": decided[0]["item"]})).json()["items"]
    assert all(label["retracted"] is None for label in labels) and len(labels) >= 5


async def test_an_annotator_is_paused_and_their_labels_are_put_back(there: Managed, site: Site) -> None:
    id = await managed.project(site, "to be paused", managed.pairs(2))
    await managed.label_all(site, id, "paused ")
    page = await opened(there, f"/projects/{id}")
    row = page.get_by_role("row", name="paused Bo")
    await row.get_by_text("Pause", exact=True).first.click()
    await row.get_by_label("Why?").fill("on leave")
    await row.get_by_label("Withdraw their 2 labels").check()
    await row.get_by_role("button", name="Pause").click()
    await page.get_by_role("button", name="Let them go on").wait_for()
    progress = (await site.admin.get(f"/v1/projects/{id}/progress")).json()
    assert [(one["name"], one["labels"], one["paused"]) for one in progress["annotators"]] == [
        ("paused Ada", 2, False),
        ("paused Bo", 0, True),
        ("paused Cy", 2, False),
    ]


async def test_what_the_judge_is_least_sure_of_is_one_click_from_people(there: Managed, site: Site) -> None:
    target = await managed.project(site, "closest calls", [])
    page = await opened(there, "/uncertain")
    assert "Unseen Question 2" in await page.locator("tbody tr").first.inner_text()  # 0.55, the nearest to even
    await page.get_by_label("Give the chosen to").select_option(target)
    await page.get_by_role("button", name="Assign to people").click()
    await page.get_by_role("heading", name="closest calls").wait_for()
    assert (await site.admin.get(f"/v1/projects/{target}")).json()["progress"]["items"] >= 3


async def test_pictures_and_numbers_are_files(there: Managed) -> None:
    page = await opened(there, f"/projects/{there.project}/agreement")
    names = ("agreement", "each-other", "groups", "with-others", "leans")
    for name in names:
        at = f"/projects/{there.project}/pictures/{name}"
        picture = await page.request.get(f"{at}.svg")
        assert picture.ok, name
        assert ET.fromstring(await picture.text()).tag == "{http://www.w3.org/2000/svg}svg"
        numbers = (await (await page.request.get(f"{at}.csv")).text()).splitlines()
        assert len(numbers) > 1 and "," in numbers[0], name
    async with page.expect_download() as download:
        await page.get_by_role("button", name="PNG").first.click()
    path = await (await download.value).path()
    assert path.read_bytes().startswith(b"\x89PNG")


async def test_a_job_goes_on_on_its_page_until_it_ends(there: Managed, site: Site) -> None:
    id = await managed.job(site, "managedlive", kind="generate", state="running")
    page = await opened(there, f"/jobs/{id}")
    assert "12 of 40" in await page.locator("#live").inner_text()
    async with site.service.database.transaction() as connection:
        change = update(jobs).where(jobs.c.id == id)
        await connection.execute(change.values(progress={"rows": 39, "total": 40}))
    await page.locator("#live").get_by_text("39 of 40").wait_for()
    async with site.service.database.transaction() as connection:
        await connection.execute(change.values(state="done", ended_at=now()))
    await page.get_by_role("button", name="Do it again").wait_for()
    await page.goto(f"/jobs/{id}/report")
    assert await page.title() == "R"  # the script in it did not run
    assert await page.locator("p").evaluate("p => getComputedStyle(p).color") == "rgb(1, 2, 3)"  # its style applies


async def test_a_training_s_reward_and_kl_are_drawn_while_it_runs(there: Managed, site: Site) -> None:
    id = await managed.job(site, "managedppo", state="running")
    site.service.jobs.artifacts.remove(of_job(id))  # they are stored when it has ended
    file = site.service.settings.data / "runs" / id / "model" / "metrics.jsonl"
    file.parent.mkdir(parents=True)

    def logged(steps: int) -> None:
        rows = [{"step": step, "reward": step**0.5, "kl": 0.5 * step} for step in range(1, steps + 1)]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 99, "rew')  # being written

    logged(1)
    page = await opened(there, f"/jobs/{id}")
    assert await page.get_by_role("heading", name="Training curves").count() == 0
    logged(3)
    for name in ("Reward", "KL to the reference", "Reward against KL"):
        await page.get_by_role("group", name=name, exact=True).locator("svg").first.wait_for()
    points = page.get_by_role("group", name="KL to the reference").locator("circle")
    assert await points.count() == 3
    logged(5)
    await expect(points).to_have_count(5)
    assert await page.get_by_role("status").inner_text() == "Running, 12 of 40"
    numbers = await (await page.request.get(f"/jobs/{id}/curves/kl.csv")).text()
    assert numbers.splitlines()[0] == "step,reward,kl" and len(numbers.splitlines()) == 6


async def test_a_constitution_is_checked_as_one_types_published_and_compared(there: Managed, site: Site) -> None:
    page = await opened(there, "/constitutions/new")
    text = page.get_by_label("Text (YAML)")
    written = (await text.input_value()).replace("my-constitution", "paged")
    await text.fill(written.replace("critique:", "critic:"))
    await page.get_by_text("fault").first.wait_for()
    assert "critic" in await page.locator("#checked").inner_text()
    await text.fill(written)
    await page.get_by_text("paged@1.0.0 can be published").wait_for()
    await page.get_by_role("button", name="Publish").click()
    await page.get_by_role("heading", name="paged@1.0.0").wait_for()
    await page.get_by_role("link", name="Edit as a new version").click()
    text = page.get_by_label("Text (YAML)")
    await text.fill((await text.input_value()).replace("1.0.0", "1.1.0").replace("Be short", "Be brief"))
    await page.get_by_role("button", name="Publish").click()
    await page.get_by_role("link", name="what changed since 1.0.0").click()
    assert await page.locator("ins").first.inner_text() == "brief"
    assert await page.locator("del").first.inner_text() == "short"


async def test_search_finds_labels_and_leads_to_the_whole_story(there: Managed) -> None:
    page = await opened(there, "/search", java_script_enabled=False)
    await page.get_by_label("A text in a prompt").fill("Question 7:")
    await page.get_by_role("button", name="Search").click()
    await page.get_by_role("link", name="Question 7:").first.click()
    text = await page.locator("main").inner_text()
    assert "basil@1" in text and "basil-reward" in text and "managed Ada" in text and "no-invention" in text


async def test_a_form_from_elsewhere_does_nothing(there: Managed, site: Site) -> None:
    page = await opened(there, "/projects")
    forms: Sequence[tuple[str, dict[str, str | float | bool]]] = (
        (f"/projects/{there.project}/change", {"closed": "yes"}),
        (f"/projects/{there.project}/discard", {}),
        (f"/projects/{there.project}/pause", {"annotator": "x", "paused": "yes"}),
        ("/projects/new", {"name": "forged", "kind": "comparison", "source": "later"}),
        ("/constitutions/new", {"text": "x", "act": "publish"}),
        ("/jobs/managed1/cancel", {}),
        ("/uncertain", {"project": there.project}),
        ("/datasets", {"name": "forged", "aggregation": "each"}),
        (f"/projects/{there.project}/routing", {"budget": "1"}),
        ("/certificates", {"file": "{}"}),
    )
    for address, form in forms:
        assert (await page.request.post(address, form=form)).status == 403, address
    project = (await site.admin.get(f"/v1/projects/{there.project}")).json()
    assert project["closed_at"] is None and project["paused"] == []
