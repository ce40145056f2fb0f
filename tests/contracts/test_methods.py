"""Training methods: each shipped one is whole, and a foreign file dropped beside them is a method everywhere."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from base.errors import InputError
from service.settings import EngineSettings
from tests.service.jobs import processes
from tests.trainers.tiny import planted, write_model
from trainers import catalogue
from trainers.batches.examples import NAMES
from trainers.config import TrainConfig
from trainers.method import load as method_of

ROOT = Path(__file__).parents[2]
FOREIGN = Path(__file__).parent / "foreign_method.py"


@pytest.mark.parametrize("name", catalogue.names())
def test_what_is_read_off_a_file_is_what_its_object_says(name: str) -> None:
    listed, method = catalogue.read(name), method_of(name)
    assert (listed.name, listed.config) == (name, method.config.__name__) == (method.name, listed.config)
    assert (listed.about, listed.rows, listed.makes) == (method.about, method.rows, method.makes)
    assert listed.rewarded == method.rewarded == (not method.rows)
    assert issubclass(method.config, TrainConfig) and method.config is not TrainConfig
    fields = {field.name for field in dataclasses.fields(method.config)}
    assert (
        catalogue.plain_settings(name) <= catalogue.settings(name).keys() <= fields and set(method.rows) <= NAMES.keys()
    )


def test_an_unknown_method_is_told() -> None:
    with pytest.raises(InputError, match="did you mean 'dpo'"):
        catalogue.read("dpoo")


def test_settings_that_could_name_a_file_are_no_request_s() -> None:
    assert "beta" in catalogue.plain_settings("dpo") and "unfinished" in catalogue.plain_settings("ppo")
    assert not {"reward", "principles", "heldout_reward", "output_dir"} & catalogue.plain_settings("ppo")


@pytest.fixture(scope="module")
def dropped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to import from, whose ``trainers`` is this project's with one method more."""
    place = tmp_path_factory.mktemp("dropped")
    (place / "trainers").mkdir()
    for entry in (ROOT / "trainers").iterdir():
        if entry.name not in ("methods", "__pycache__"):
            (place / "trainers" / entry.name).symlink_to(entry)
    shutil.copytree(ROOT / "trainers" / "methods", place / "trainers" / "methods")
    shutil.copy(FOREIGN, place / "trainers" / "methods" / "nudge.py")
    return place


def environment(dropped: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": f"{dropped}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1", "COLUMNS": "100"}


def rows(file: Path) -> Path:
    lines = (pair.model_dump(include={"chosen", "rejected"}) | {"prompt": pair.prompt.messages[0].content}
             for pair in planted(8))  # fmt: skip
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


@pytest.mark.slow
def test_a_foreign_method_is_trained_by_the_command(dropped: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        yaml.safe_dump(
            {"model": str(write_model(tmp_path / "model")), "data": str(rows(tmp_path / "rows.jsonl")), "push": 2.0}
            | {
                "output_dir": str(tmp_path / "out"),
                "max_steps": 2,
                "report_to": "none",
                "use_cpu": True,
                "max_length": 256,
            }
        )
    )

    def cai(*arguments: str) -> str:
        command = [sys.executable, "-m", "service.cli", *arguments]
        done = subprocess.run(
            command, env=environment(dropped), capture_output=True, text=True, check=False, cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "Settings of nudge" in (told := cai("train", "-h")) and "How hard answers are pushed." in told
    cai("train", "nudge", "--config", str(config))
    lineage = json.loads((tmp_path / "out" / "lineage.json").read_text())
    assert lineage["trainer"] == "nudge" and lineage["settings"]["push"] == 2.0
    card = (tmp_path / "out" / "README.md").read_text()
    assert "A language model that was nudged." in card and "hf:PATH" in card
    assert "nudge" in cai("inspect", str(tmp_path / "rows.jsonl"))


JOB = """
import asyncio, json, sys, types
from pathlib import Path

sys.modules["tests"] = tests = types.ModuleType("tests")  # a package may have installed one of this name
tests.__path__ = [sys.argv[3]]
from benchmarks.serving import spawned
from service.settings import Settings
from tests.service.jobs.processes import submit, until, working

async def main(folder, given):
    async with working(folder, Settings.model_validate(given["settings"]), spawned) as api:
        for asked, code in given["refused"]:
            answer = await api.admin.post("/v1/jobs", json=asked)
            assert answer.status_code == code, answer.text
        id = await submit(api.admin, given["asked"])
        assert (await until(api.admin, id, "done"))["result"] == {"model": "nudged"}
        model = (await api.admin.get("/v1/models/nudged")).json()
        assert model["trainer"] == "nudge" and model["engine"] is None, model
        assert "nudge" in json.dumps((await api.admin.get("/openapi.json")).json())

asyncio.run(main(Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())))
"""


@pytest.mark.slow
def test_a_foreign_method_is_a_job(dropped: Path, tmp_path: Path) -> None:
    made = processes.settings(tmp_path, f"sqlite:///{tmp_path / 'data' / 'cai.db'}")
    engines = {**made.engines, "tiny": EngineSettings(spec=f"hf:{write_model(tmp_path / 'model')}")}
    given = [json.loads(line) for line in rows(tmp_path / "rows.jsonl").read_text().splitlines()]
    asked: dict[str, Any] = {"kind": "train", "method": "nudge", "name": "nudged", "model": "tiny"}
    asked |= {"data": [{"rows": given}], "settings": {"max_steps": 1, "max_length": 256, "push": 0.5}}
    refused = [
        (asked | {"method": "shove"}, 422),
        (asked | {"settings": {"shove": 1}}, 422),
        (asked | {"settings": {"output_dir": "/x"}}, 422),
        (asked | {"reward": "tiny"}, 422),
    ]
    (tmp_path / "given.json").write_text(
        json.dumps(
            {"settings": made.model_copy(update={"engines": engines}).model_dump(mode="json"), "asked": asked}
            | {"refused": refused}
        )
    )
    (tmp_path / "job.py").write_text(JOB)
    command = [
        sys.executable,
        str(tmp_path / "job.py"),
        str(tmp_path),
        str(tmp_path / "given.json"),
        str(ROOT / "tests"),
    ]
    done = subprocess.run(
        command, env=environment(dropped), capture_output=True, text=True, check=False, timeout=280, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr[-3000:]
