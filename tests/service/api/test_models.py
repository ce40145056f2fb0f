"""Models that were trained here: listed with their lineage, and reward models as engines."""

from pathlib import Path
from typing import Any

import pytest

from service.settings import EngineSettings, Settings
from service.store.tables import models, now
from tests.service.calls import Api, problem
from tests.service.judges import judged_by


@pytest.fixture
def settings(migrated_url: str, tmp_path: Path) -> Settings:
    return judged_by(migrated_url, tmp_path, short=EngineSettings(spec="verify:max-words=3"))


async def add(api: Api, name: str, trainer: str = "reward", **more: Any) -> None:
    row = {"id": f"id-{name}", "name": name, "trainer": trainer, "folder": f"models/{name}", "lineage": {}}
    await api.service.database.insert({models: [row | {"created_at": now()} | more]})


async def test_pages_by_name_and_one_by_name(api: Api) -> None:
    for name in ("b", "a/1", "c"):
        await add(api, name)
    first = (await api.admin.get("/v1/models?limit=2")).json()
    second = (await api.admin.get("/v1/models", params={"limit": 2, "cursor": first["next"]})).json()
    assert [one["name"] for one in first["items"] + second["items"]] == ["a/1", "b", "c"] and second["next"] is None
    assert (await api.admin.get("/v1/models/a/1")).json() == first["items"][0]
    for nobody in ("nobody", "../a", "a", "%00"):
        answer = await api.admin.get(f"/v1/models/{nobody}")
        assert answer.status_code in (400, 404), answer.text


async def test_lineage_tells_no_folder_of_this_machine_and_only_reward_models_are_engines(api: Api) -> None:
    parent = {"name": f"{api.service.settings.data.resolve()}/artifacts/models/sft", "revision": "r"}
    await add(api, "policy", trainer="dpo", lineage={"parent": parent}, job="job-1")
    await add(api, "rm")
    policy, rm = (await api.admin.get("/v1/models")).json()["items"]
    assert policy["lineage"]["parent"]["name"] == "artifacts/models/sft" and policy["job"] == "job-1"
    assert (policy["engine"], rm["engine"]) == (None, "models/rm")


async def test_it_needs_the_scope_read(api: Api) -> None:
    problem(await (await api.client("label")).get("/v1/models"), 403, "forbidden")
    assert (await (await api.client("read")).get("/v1/models")).status_code == 200


@pytest.mark.slow
async def test_a_trained_reward_model_judges_and_rewards_by_its_name(api: Api) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForSequenceClassification

    from tests.critic.engines.conftest import make_tokenizer

    torch.manual_seed(3)
    tokenizer = make_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    config.num_labels = 1
    folder = api.service.settings.data / "artifacts" / "models" / "rm"
    LlamaForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    await add(api, "rm")
    texts = ["The Po.", "Paris, of course."]
    body = {"prompts": ["Name a river."] * 2, "responses": texts}
    told = (await api.admin.post("/v1/rewards?engine=models/rm", json=body)).json()
    asked = {"prompt": "Name a river.", "responses": texts, "constitution": "honesty", "engine": "models/rm"}
    compared = (await api.admin.post("/v1/comparisons", json=asked)).json()
    assert compared["judge"] == "models/rm" and str(folder) not in str(compared)
    assert compared["judgements"][0]["votes"][0]["values"] == pytest.approx(told["rewards"], abs=1e-4)
