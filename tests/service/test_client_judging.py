"""The client's calls of judges, rewards and jobs, with a scripted engine and a rule."""

from pathlib import Path

import httpx2
import pytest

from critic.feedback import ComparisonLabel
from service.client import AsyncClient
from service.settings import EngineSettings, Settings
from tests.service.calls import Api
from tests.service.judges import constitution, judged_by, scripted


@pytest.fixture
def settings(migrated_url: str, tmp_path: Path) -> Settings:
    judge = scripted(tmp_path, "judge", replies=[{"reply": "It could be shorter."}], choose="first")
    return judged_by(migrated_url, tmp_path, judge=judge, rule=EngineSettings(spec="verify:max-words=3"))


async def test_from_a_constitution_to_a_job(api: Api) -> None:
    key = (await api.admin.post("/v1/keys", json={"name": "client", "scopes": ["admin"]})).json()["key"]
    async with AsyncClient("http://cai.test", key, transport=httpx2.ASGITransport(api.app)) as client:
        published = await client.publish(constitution("mine"))
        assert published.ref in [item.ref async for item in client.constitutions()]
        assert (await client.constitution("mine")).hash == published.hash
        assert [(item.name, item.default) async for item in client.engines()] == [("judge", True), ("rule", False)]

        judged = await client.compare("Name a river.", ["The Po.", "The Rhine."], "mine@1.0.0")
        assert judged.constitution_hash == published.hash
        assert judged.judgements[0].outcome == "tie"  # the judge says "first" in both orders
        pointwise = await client.compare(
            "Name a river.", ["The Po.", "The Rhine."], "mine", mode="contrast?against=none", engine="judge"
        )
        assert pointwise.judgements[0].votes[0].order is None
        [_, item] = [label async for label in client.all_feedback()]
        assert isinstance(item.label, ComparisonLabel)
        assert item.label.votes == tuple(pointwise.judgements[0].votes)  # what was stored is what was said
        said = await client.critique("Name a river.", "The Po.", "mine@1.0.0", revise=True)
        assert said.rounds[0].critique.text == "It could be shorter."
        stored = [(label.kind, label.source) async for label in client.all_feedback()]
        assert stored == [("comparison", "ai"), ("comparison", "ai"), ("critique", "ai"), ("correction", "ai")]
        rewarded = await client.reward(["Name a river."] * 2, ["The Po.", "It may be the Po."], engine="rule")
        assert rewarded.rewards[0] is not None and rewarded.rewards[0] > (rewarded.rewards[1] or 0)

        asked = {
            "kind": "judge",
            "constitution": "mine",
            "input": {"rows": [{"prompt": "A?", "responses": ["x", "y"]}]},
        }
        job = await client.submit(asked, idempotency_key="once")
        assert (await client.submit(asked, idempotency_key="once")).id == job.id
        assert (await client.job(job.id)).state == "queued"
        assert (await client.cancel(job.id)).state == "cancelled"
        assert (await client.retry(job.id)).state == "queued"
        assert [item.id async for item in client.jobs(state="queued")] == [job.id]
        assert [item async for item in client.models()] == []
