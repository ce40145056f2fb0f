"""The list of engines: what they are and can do, and nothing of where they are."""

from pathlib import Path

import pytest

from service.settings import EngineSettings, Settings
from tests.service.calls import Api, problem
from tests.service.judges import judged_by, scripted


@pytest.fixture
def settings(migrated_url: str, tmp_path: Path) -> Settings:
    return judged_by(
        migrated_url,
        tmp_path,
        judge=scripted(tmp_path, "script", mode="verdict?samples=3&temperature=1"),
        server=EngineSettings(spec="openai:gpt@http://10.1.2.3:8000/v1?key_env=MY_SECRET_KEY"),
        short=EngineSettings(spec="verify:max-words=3"),
    )


async def test_names_kinds_and_modes_without_addresses(api: Api) -> None:
    answer = await api.admin.get("/v1/engines")
    by_name = {one["name"]: (one["kind"], one["mode"], one["default"], one["open"]) for one in answer.json()["items"]}
    assert by_name == {
        "judge": ("scripted", "verdict", True, False),
        "server": ("openai", "logprob", False, False),
        "short": ("verify", "rm", False, False),
    }
    for secret in ("10.1.2.3", "MY_SECRET_KEY", ".yaml"):
        assert secret not in answer.text


async def test_an_engine_in_use_says_what_it_can_do(api: Api) -> None:
    body = {"prompts": ["Name a river."], "responses": ["The Po."]}
    assert (await api.admin.post("/v1/rewards?engine=short", json=body)).status_code == 200
    [short] = [one for one in (await api.admin.get("/v1/engines")).json()["items"] if one["name"] == "short"]
    assert (short["open"], short["model"], short["capabilities"]) == (
        True,
        "verify:max-words=3",
        {"rewards": "heads: reward"},
    )


async def test_it_needs_the_scope_read(api: Api) -> None:
    problem(await (await api.client("label")).get("/v1/engines"), 403, "forbidden")
    assert (await (await api.client("read")).get("/v1/engines")).status_code == 200
