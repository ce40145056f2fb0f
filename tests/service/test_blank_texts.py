"""A text that shows nothing is refused wherever somebody gives one, by one rule: `critic.feedback.blank_place`.

What a policy writes is another matter: its empty answers are counted in runs, and rewarded as any other.
"""

from pathlib import Path
from typing import Any

import pytest

from base.errors import InputError
from cai_feedback import Judge
from critic.feedback.feedback import SHOWS_NOTHING
from critic.rows import Broken
from service.cli import app
from service.formats import FORMATS, format_of
from service.settings import EngineSettings, Settings
from tests.feedback_samples import feedback
from tests.service.calls import Api, one_database
from tests.service.judges import judged_by, scripted

BLANKS = ("", " \n\t", "\u200b\u2060", "\u3000")
GOOD = "The Po."

each = pytest.mark.parametrize("blank", BLANKS, ids=["empty", "spaces", "no width", "wide space"])


@pytest.fixture
def settings(migrated_url: str, tmp_path: Path) -> Settings:
    rule = EngineSettings(spec="verify:max-words=3")
    return judged_by(migrated_url, tmp_path, judge=scripted(tmp_path, "judge", choose="first"), rule=rule)


async def refused(api: Api, path: str, body: Any, where: str) -> None:
    """What is sent is refused with the place of the text, and what is wrong with it."""
    answer = await api.admin.post(path, json=body)
    told = answer.json()
    assert answer.status_code == 422, told
    assert SHOWS_NOTHING in answer.text and where in answer.text


@one_database
async def test_judges_are_not_asked_about_it(api: Api) -> None:
    for blank in BLANKS:
        under = {"prompt": "Name a river.", "constitution": "helpfulness"}
        await refused(api, "/v1/comparisons", under | {"responses": [GOOD, blank]}, "/responses/1")
        await refused(api, "/v1/comparisons", under | {"responses": [{"text": blank}, GOOD]}, "/responses/0")
        await refused(api, "/v1/critiques", under | {"response": blank}, "/responses/0")
        if blank.strip():  # of spaces alone, which the record itself refuses in its own words
            await refused(api, "/v1/comparisons", under | {"prompt": blank, "responses": [GOOD, "Paris."]}, "/prompt")


@one_database
async def test_no_label_is_stored_of_it(api: Api) -> None:
    for blank in BLANKS:
        label = {"kind": "comparison", "prompt": "Name a river.", "responses": [GOOD, blank], "label": "first"}
        await refused(api, "/v1/feedback", label, "/responses/1")
        good = label | {"responses": [GOOD, "Paris."]}
        batch = await api.admin.post("/v1/feedback", json=[good, label])
        assert batch.status_code == 207 and batch.json()["faults"][0]["where"] == "/1/responses/1"
        shown = {"kind": "demonstration", "prompt": "Name a river.", "label": {"text": blank}}
        answer = await api.admin.post("/v1/feedback", json=shown)
        assert answer.status_code == 422 and "empty" in answer.text


@one_database
async def test_no_project_asks_about_it(api: Api) -> None:
    made = (await api.admin.post("/v1/projects", json={"name": "rivers", "kind": "comparison"})).json()
    for blank in BLANKS:
        items = {"items": [{"prompt": "Name a river.", "responses": [GOOD, blank]}]}
        await refused(api, "/v1/projects", {"name": "more", "kind": "comparison"} | items, "/items/0/responses/1")
        await refused(api, f"/v1/projects/{made['id']}/items", items, "/items/0/responses/1")


@one_database
async def test_nobody_answers_a_task_with_it(api: Api) -> None:
    ada = await api.labeller("Ada")
    for number, blank in enumerate(BLANKS):
        asked = {"name": f"shown {number}", "kind": "demonstration", "items": [{"prompt": "Name a river."}]}
        made = (await api.admin.post("/v1/projects", json=asked)).json()
        task = (await ada.post(f"/v1/projects/{made['id']}/tasks/next")).json()["task"]["id"]
        answer = await ada.post(f"/v1/tasks/{task}/answer", json={"label": {"text": blank}})
        assert answer.status_code == 422 and "empty" in answer.text


@one_database
async def test_an_answer_of_a_policy_has_its_reward(api: Api) -> None:
    for blank in BLANKS:
        body = {"prompts": ["Name a river."] * 2, "responses": [GOOD, blank]}
        answer = await api.admin.post("/v1/rewards", params={"engine": "rule"}, json=body)
        assert answer.status_code == 200 and None not in answer.json()["rewards"]


@each
def test_python_and_the_command_line_refuse_it(blank: str, tmp_path: Path) -> None:
    judge = scripted(tmp_path, "judge", choose="first").spec
    with Judge(judge, "honesty@1.0.0") as opened:
        with pytest.raises(InputError, match=r"responses.1.*shows nothing"):
            opened.compare("Name a river.", [GOOD, blank])
        with pytest.raises(InputError, match=r"responses.0.*shows nothing"):
            opened.critique("Name a river.", blank)
    asked = ["--principles", "honesty@1.0.0", "--judge", judge, "--prompt", "Name a river.", "--response", blank]
    for command in (["critique", *asked], ["compare", *asked, "--response", GOOD]):
        with pytest.raises(InputError, match="shows nothing"):
            app([*command], standalone_mode=False)


@each
@pytest.mark.parametrize(
    "name", [name for name, form in FORMATS.items() if "feedback" in form.tables and "comparison" in form.reads]
)
def test_files_of_labels_are_refused_by_the_row(name: str, blank: str, tmp_path: Path) -> None:
    form = format_of(name)
    path = tmp_path / f"labels{form.suffixes[0]}"
    form.write("feedback", [feedback("comparison", {"choice": "first"}, (GOOD, blank))], path)
    (row,) = form.read(path)
    assert isinstance(row, Broken) and row.reason == "empty_answer"
