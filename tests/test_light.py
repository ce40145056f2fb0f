"""What a plain installation can do, in which PyTorch and what it brings along are missing."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from base import extras

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
# Found by Python when it starts: nothing of an extra can be imported, as if it were not installed.
MISSING = """
import sys
from importlib.abc import MetaPathFinder

class Missing(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
"""
# Rooms that run or train a model in this process, or belong to a harness. Everything else is imported without them.
LOCAL = (
    "critic.chats.",
    "critic.local.",
    "critic.vllm.",
    "critic.cluster.",
    "critic.evaluation.harnesses.",
    "service.align",
    "service.cli.shown.steps",
    "service.cli.training.",
)
WALK = """
import importlib, pkgutil, sys
for root in ("base", "cai_feedback", "constitution", "critic", "service"):
    package = importlib.import_module(root)
    for module in pkgutil.walk_packages(package.__path__, root + ".", onerror=lambda name: None):
        if not module.name.startswith({local}) and not module.name.endswith(("__main__", "migrations.env")):
            importlib.import_module(module.name)
"""
PAIRS = '{"prompt": "Say one", "response_a": "One.", "response_b": "One, I think."}\n'


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose ``sitecustomize.py`` takes the extras away."""
    folder = tmp_path_factory.mktemp("light")
    (folder / "sitecustomize.py").write_text(MISSING.format(names=set(extras.EXTRAS)), encoding="utf-8")
    (folder / "pairs.jsonl").write_text(PAIRS, encoding="utf-8")
    (folder / "script.yaml").write_text("choose: longest\n", encoding="utf-8")
    return folder


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
    return subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True)


def cai(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return python(folder, "-m", "service.cli", *arguments)


@pytest.mark.slow
def test_everything_but_local_models_is_imported_without_pytorch(light: Path) -> None:
    done = python(light, "-c", WALK.format(local=LOCAL))
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_answers_are_judged_and_exported_without_pytorch(light: Path) -> None:
    judge = ("--principles", "honesty", "--pairs", "pairs.jsonl", "--judge", "scripted:script.yaml", "--out", "run")
    judged = cai(light, "judge", *judge)
    assert judged.returncode == 0, judged.stderr
    exported = cai(light, "export", "run", "--format", "jsonl", "--out", "pairs-out.jsonl", "--table", "feedback")
    assert exported.returncode == 0, exported.stderr
    assert json.loads((light / "pairs-out.jsonl").read_text("utf-8").splitlines()[0])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "extra"),
    [
        (("compare", "--principles", "honesty", "--prompt", "p", "--response", "a", "--response", "b"), "local"),
        (("judge", "--principles", "honesty", "--pairs", "pairs.jsonl", "--judge", "rm:x", "--out", "no"), "local"),
        (("judge", "--principles", "honesty", "--pairs", "pairs.jsonl", "--judge", "vllm:x", "--out", "no"), "vllm"),
        (("train", "dpo", "--config", "dpo-smoke"), "train"),
        (("align", "--principles", "honesty", "--prompts", "pairs.jsonl", "--out", "no"), "train"),
    ],
)
def test_what_needs_an_extra_says_which(light: Path, command: tuple[str, ...], extra: str) -> None:
    refused = cai(light, *command)
    assert refused.returncode == 2
    assert f"cai-feedback[{extra}]" in refused.stderr and "Traceback" not in refused.stderr
    assert not (light / "no").exists()


def test_each_extra_that_is_named_is_offered() -> None:
    offered: dict[str, list[str]] = PROJECT["optional-dependencies"]
    for package, extra in extras.EXTRAS.items():
        assert any(line.startswith(package) for line in offered[extra]), f"{extra} does not bring {package}"
        assert not any(line.startswith(package) for line in PROJECT["dependencies"])


CLIENT = """
import sys
import cai_feedback
cai_feedback.Client, cai_feedback.AsyncClient
heavy = ("fastapi", "starlette", "numpy", "scipy", "dbos", "openai", "pyarrow", "datasets", "torch")
print([name for name in (*heavy, "service.api.routers") if name in sys.modules])
"""


def test_a_client_imports_neither_routes_nor_what_judges() -> None:
    done = subprocess.run([sys.executable, "-c", CLIENT], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
