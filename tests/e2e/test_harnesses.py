"""The alignment tax's questions in other harnesses, each in the environment that `make harnesses` sets up."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import unavailable

pytestmark = pytest.mark.slow  # a harness takes seconds to import
ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four questions of two subjects, three of whose right options say so; and a shot of each subject."""
    for part in ("dev", "test"):
        (tmp_path / part).mkdir()
    for subject in ("rivers", "music"):
        (tmp_path / "dev" / f"{subject}_dev.csv").write_text("Which?,one right,two,three,four,A\n")
    (tmp_path / "test" / "rivers_test.csv").write_text("Which?,one,two right,three,four,B\nAnd?,right,b,c,d,A\n")
    (tmp_path / "test" / "music_test.csv").write_text("What?,one,two,three,four right,D\nThen?,a,b right,c,d,C\n")
    return tmp_path


@pytest.mark.parametrize("harness", ["lm_eval", "inspect_ai"])
def test_a_harness_asks_the_same_questions(folder: Path, harness: str) -> None:
    python = ROOT / ".venv-harnesses" / harness / "bin" / "python"
    if not python.is_file():
        unavailable("there is no .venv-harnesses; make harnesses sets it up")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hf")}
    script = Path(__file__).with_name("harness_tasks.py")
    done = subprocess.run(
        [python, script, harness, folder], env=environment, capture_output=True, text=True, timeout=250, cwd=folder
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {"accuracy": 0.75}
