"""A kind of feedback is one file: dropped among the kinds of a copy of this project, it works everywhere else.

A file that is no such kind is refused with what it lacks.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import critic

ROOT = Path(critic.__file__).parents[1]
FOREIGN = Path(__file__).parent / "foreign"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package that kinds are found in; all others are the project's."""
    folder = tmp_path_factory.mktemp("copy")
    # With what is compiled, but for what another process is writing now.
    shutil.copytree(ROOT / "critic", folder / "critic", ignore=shutil.ignore_patterns("*.pyc.*"))
    return folder


def run(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join((str(copy), str(ROOT)))
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.slow
def test_a_foreign_kind_is_one_file(copy: Path, tmp_path: Path) -> None:
    here = copy / "critic/feedback/kinds/severity.py"
    shutil.copy(FOREIGN / "severity.py", here)
    try:
        done = run(copy, "-m", "tests.contracts.foreign.use_severity", str(tmp_path))
    finally:
        here.unlink()
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["short"] == [201, {"word": "mild"}]
    assert [(field["name"], field["max"]) for field in told["form"]] == [("harm", 5)]
    assert [label["harm"] for label in told["labels"]] == [4, 1] and told["labels"][0]["steps"] == 5
    assert told["counts"] == 1
    assert (told["row"]["rating"], told["row"]["scale"], told["row"]["labels"]) == (-4, [-5, 0], 2)
    assert told["formats"] == {
        "jsonl": [True],
        "parquet": [True],
        "argilla": [{"skipped_severity": 1}],
        "label-studio": [{"skipped_severity": 1}],
    }
    assert told["agreement"]["units"] == 1 and list(told["agreement"]["alpha"]) == ["ordinal"]
    assert told["refused"] == [422, "only a severity has steps"]
    assert told["documented"]


BROKEN = {
    "no_name": ("class OddLabel(Label):\n    pass\n", "the kind has no name"),
    "no_rows": (
        "class OddLabel(Label):\n    kind: ClassVar[str] = 'odd'\n    def form(cls): return ()\n",
        "the kind 'odd' lacks rows",
    ),
    "same_name": (
        "class OddLabel(Label):\n    kind: ClassVar[str] = 'thumbs'\n"
        "    def form(cls): return ()\n    def rows(self, responses, *, ties=False): return iter(())\n",
        "two kinds of feedback are called 'thumbs'",
    ),
    "short": (
        "class OddLabel(Label):\n    kind: ClassVar[str] = 'odd'\n    short: ClassVar[str | None] = 'nothing'\n"
        "    def form(cls): return ()\n    def rows(self, responses, *, ties=False): return iter(())\n",
        "the short form is no field of the label: 'nothing'",
    ),
    "option": (
        "class Other(ProjectOptions):\n    levels: str | None = None\n"
        "class OddLabel(Label):\n    kind: ClassVar[str] = 'odd'\n    options: ClassVar = Other\n"
        "    def form(cls): return ()\n    def rows(self, responses, *, ties=False): return iter(())\n",
        "the option 'levels' is of another type",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_is_no_kind_says_what_it_lacks(name: str, copy: Path) -> None:
    text, problem = BROKEN[name]
    here = copy / f"critic/feedback/kinds/odd_{name}.py"
    imports = "from typing import ClassVar\n\nfrom critic.feedback.base import Label, ProjectOptions\n\n\n"
    here.write_text(imports + text, "utf-8")
    try:
        done = run(copy, "-c", "import critic.feedback")
    finally:
        here.unlink()
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-2:]
    assert problem in " ".join(last) and f"odd_{name}" in " ".join(last), done.stderr
