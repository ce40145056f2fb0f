"""Jobs that are commands in child processes: their settings fit, and what they make is registered."""

import dataclasses
import json
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from pydantic import ValidationError

from service.jobs.kinds.align import AlignRequest
from service.jobs.kinds.train import TrainRequest
from service.jobs.requests import SettingsOfAll, TrainSettings
from service.settings import EngineSettings, Settings
from tests.service.jobs import processes
from tests.service.jobs.processes import CONSTITUTION, artifact, submit, until, working
from tests.trainers.tiny import write_model


def test_every_setting_of_a_train_request_is_one_of_a_trainer() -> None:
    from trainers.methods.dpo import DPOConfig
    from trainers.methods.ppo import PPOConfig
    from trainers.methods.reward import RewardConfig
    from trainers.methods.sft import SFTConfig

    configs = (SFTConfig, RewardConfig, DPOConfig, PPOConfig)
    settings = {}
    for config in configs:
        settings[config] = {field.name for field in dataclasses.fields(config)}
    assert set(TrainSettings.model_fields) <= set().union(*settings.values())
    for name in TrainSettings.model_fields.keys() - SettingsOfAll.model_fields.keys():
        having = [config for config in configs if name in settings[config]]
        assert having and len(having) < len(configs), f"{name} is of all methods, or of none"
        choices = [get_args(get_type_hints(config)[name]) for config in having]
        asked = get_args(get_args(TrainSettings.model_fields[name].annotation)[0])
        assert all(own == asked for own in choices), f"{name} has other choices in a request"


@pytest.mark.parametrize(("method", "name", "value"), [("sft", "beta", 0.1), ("reward", "loss", "ipo")])
def test_a_setting_of_another_method_is_refused_when_it_is_asked_for(method: str, name: str, value: Any) -> None:
    """And not hours later, by the process that trains."""
    asked: dict[str, Any] = {"kind": "train", "method": method, "name": "m", "data": [{"rows": [{"prompt": "a"}]}]}
    told = f"{method} has no setting '{name}'"
    with pytest.raises(ValidationError, match=told):
        TrainRequest.model_validate(asked | {"settings": {name: value}})
    chain = {"kind": "align", "name": "m", "constitution": "c@1.0.0", "input": {"rows": [{"prompt": "a"}]}}
    with pytest.raises(ValidationError, match=told):
        AlignRequest.model_validate(chain | {method: {name: value}})


@pytest.fixture
def service(tmp_path: Path) -> Settings:
    model = write_model(tmp_path / "tiny-model")
    made = processes.settings(tmp_path, f"sqlite:///{tmp_path / 'data' / 'cai.db'}")
    engines = {**made.engines, "tiny": EngineSettings(spec=f"hf:{model}")}
    engines |= {"rule": EngineSettings(spec="verify:contains=e")}
    return made.model_copy(update={"engines": engines})


@pytest.mark.slow
async def test_models_are_trained_on_what_jobs_left_and_registered(tmp_path: Path, service: Settings) -> None:
    async with working(tmp_path, service) as api:
        made = await submit(api.admin, processes.request(12))
        await until(api.admin, made, "done")
        steps = {"max_steps": 2, "per_device_train_batch_size": 1, "max_length": 512}
        asked = {"kind": "train", "method": "reward", "name": "rm-1", "model": "tiny", "data": [{"job": made}]}
        id = await submit(api.admin, asked | {"settings": steps})
        job = await until(api.admin, id, "done")
        assert job["result"] == {"model": "rm-1"} and job["request"]["data"][0]["file"] == "input/data-0.jsonl"
        lineage = json.loads(await artifact(api.admin, id, "lineage.json"))
        assert str(tmp_path) not in (await api.admin.get(f"/v1/jobs/{id}/logs")).text, "a log tells folders"
        assert lineage
        judged = await submit(
            api.admin,
            {"kind": "judge", "constitution": CONSTITUTION, "judges": ["models/rm-1"]}
            | {"input": {"rows": [{"prompt": "Name a river.", "responses": ["The Po.", "No."]}]}},
        )
        done = await until(api.admin, judged, "done")
        assert done["progress"]["rows"] == 1

        asked = {"kind": "train", "method": "dpo", "name": "dpo-1", "model": "tiny", "data": [{"job": made}]}
        wrong = asked | {"settings": {"heads": "groups"}}
        refused = await api.admin.post("/v1/jobs", json=wrong)
        assert refused.status_code == 422 and "dpo has no setting 'heads'" in refused.json()["detail"]


@pytest.mark.slow
async def test_the_chain_and_an_evaluation_are_jobs(tmp_path: Path, service: Settings) -> None:
    async with working(tmp_path, service) as api:
        rows = [{"prompt": f"Name river {i}.", "chosen": f"The Nile {i}.", "rejected": "No."} for i in range(6)]
        asked: dict[str, Any] = {
            "kind": "evaluate",
            "constitution": CONSTITUTION,
            "input": {"rows": rows},
            "modes": ["logprob"],
        }
        id = await submit(api.admin, asked)
        await until(api.admin, id, "done")
        figures = json.loads(await artifact(api.admin, id, "accuracy.json"))
        assert len(figures["modes"]["logprob"]["pairs"]) == 6

        asked = {"kind": "align", "name": "aligned", "constitution": CONSTITUTION, "policy": "tiny", "judges": ["rule"]}
        asked |= {"input": {"rows": processes.rows(16)}, "max_tokens": 60}
        asked |= {"dpo": {"max_steps": 2, "max_length": 512, "learning_rate": 1e-3}}
        id = await submit(api.admin, asked)
        job = await until(api.admin, id, "done")
        assert job["result"] == {"model": "aligned"}
        assert b"<html" in await artifact(api.admin, id, "report.html")
        assert (tmp_path / "data" / "artifacts" / "models" / id / "config.json").is_file()
