"""A setting is one line in one file: written into its model, it is an option, a key of files, of requests, of runs."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "critic" / "settings" / "judging.py"
BEFORE = "    priorities: bool = True\n"
LINE = """
    loudness: Annotated[int, CommandOption(JUDGING), InRequests(Le(11))] = Field(default=1, ge=0, description="Loud")
"""[1:]
# Runs with the models as they stand in a file beside it, in place of the project's own.
WITH_IT = """
import sys
from importlib.util import module_from_spec, spec_from_file_location

spec = spec_from_file_location("critic.settings.judging", "judging.py")
sys.modules[spec.name] = module = module_from_spec(spec)
spec.loader.exec_module(module)
"""
SCHEMAS = """
import json
from pathlib import Path
from base.option import as_file
from critic.run.request import RunRequest
from critic.settings.run import RunLimits
from service.jobs.running.cluster_rows import settings_of
from service.jobs.kinds import KINDS

request = RunRequest("c.yaml", "p.jsonl", ("embedded",), None, settings={"loudness": 9})
told = as_file(settings_of(request, Path("c.yaml"), Path("out"), "ray", RunLimits()))
schema = KINDS["judge"].request.model_json_schema()["$defs"]["JobSettings"]["properties"]["loudness"]
print(json.dumps({"schema": schema, "told": told["loudness"]}))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    text = MODELS.read_text("utf-8")
    assert text.count(BEFORE) == 1
    (tmp_path / "judging.py").write_text(text.replace(BEFORE, LINE + BEFORE), "utf-8")
    (tmp_path / "script.yaml").write_text("choose: longest\n")
    (tmp_path / "pairs.jsonl").write_text('{"prompt": "Say one", "responses": ["One.", "One, I think."]}\n')
    (tmp_path / "run.yaml").write_text(
        "principles: honesty\npairs: pairs.jsonl\njudge: scripted:script.yaml\nloudness: 7\n"
    )
    return tmp_path


def python(folder: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "120"}
    line = [sys.executable, "-c", WITH_IT + code, *arguments]
    done = subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done


def cai(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return python(folder, "from service.cli import main\nsys.argv[0] = 'cai'\nmain()\n", *arguments)


@pytest.mark.slow
def test_a_line_in_a_model_is_an_option_a_key_of_files_and_requests_and_reaches_the_run(folder: Path) -> None:
    for command in ("generate", "judge", "reweigh"):
        told = " ".join(cai(folder, command, "--help").stdout.replace("│", " ").split())
        assert "--loudness" in told and "Loud" in told, command
    read: dict[str, Any] = json.loads(python(folder, SCHEMAS).stdout)
    assert (read["schema"]["maximum"], read["schema"]["description"], read["told"]) == (11, "Loud", 9)

    cai(folder, "judge", "--config", "run.yaml", "--out", "of-file")
    assert json.loads((folder / "of-file" / "manifest.json").read_text("utf-8"))["config"]["loudness"] == 7
    both = cai(folder, "judge", "--config", "run.yaml", "--loudness", "8", "--out", "of-line")
    assert "--loudness on the command line goes before loudness of run.yaml" in both.stderr
    assert json.loads((folder / "of-line" / "manifest.json").read_text("utf-8"))["config"]["loudness"] == 8
