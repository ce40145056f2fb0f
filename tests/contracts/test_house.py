"""A kind is one file, a resource of the API three: dropped into place together, they work end to end.

`test_methods` trains with its file, `test_found_commands` runs the commands; all others are used here, in one service.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.contracts.test_foreign_kinds import ENGINE, MODE
from tests.contracts.test_found_commands import COMMAND

ROOT = Path(__file__).parents[2]
FOREIGN = Path(__file__).parent / "foreign"
MIGRATION = '''
"""Notes"""

import sqlalchemy as sa
from alembic import op

revision = "9000"
down_revision = "{before}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "notes", sa.Column("id", sa.String(length=64), primary_key=True), sa.Column("text", sa.Text(), nullable=False)
    )
'''
KINDS = {
    "engine": {"critic/engines/echoer.py": ENGINE},
    "judge mode": {"critic/judging/modes/shorter.py": MODE},
    "kind of feedback": {"critic/feedback/kinds/severity.py": (FOREIGN / "severity.py").read_text("utf-8")},
    "file format": {"service/formats/training/tabbed.py": (FOREIGN / "tabbed.py").read_text("utf-8")},
    "job kind": {"service/jobs/kinds/tally.py": (FOREIGN / "tally.py").read_text("utf-8")},
    "training method": {
        "trainers/methods/nudge.py": (FOREIGN.parent / "foreign_method.py").read_text("utf-8"),
    },
    "evaluate subcommand": {
        "service/cli/commands/evidence/evaluate/volume.py": COMMAND.format(name="volume"),
    },
}
VERSIONS = "service/store/migrations/versions"


def resource() -> dict[str, str]:
    """The files of a resource of the API: the route, its table with its queries, and the table's making."""
    newest = max(path.name for path in (ROOT / VERSIONS).glob("[0-9]*.py")).partition("_")[0]
    return {
        "service/api/notes.py": (FOREIGN / "notes.py").read_text("utf-8"),
        "service/store/tables/notes.py": (FOREIGN / "notes_table.py").read_text("utf-8"),
        f"{VERSIONS}/9000_notes.py": MIGRATION.format(before=newest),
    }


def test_a_kind_is_one_file_and_a_resource_three() -> None:
    assert {kind: len(files) for kind, files in KINDS.items()} == dict.fromkeys(KINDS, 1)
    assert len(KINDS) == 7 and len(resource()) == 3


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to import from: this project's packages, with all these files in place, and no other change."""
    folder = tmp_path_factory.mktemp("house")
    for package in ("critic", "service"):
        # With what is compiled, but for what another process is writing now.
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("*.pyc.*"))
    (folder / "trainers").mkdir()
    for entry in (ROOT / "trainers").iterdir():
        if entry.name not in ("methods", "__pycache__"):
            (folder / "trainers" / entry.name).symlink_to(entry)
    shutil.copytree(ROOT / "trainers/methods", folder / "trainers/methods")
    for files in (*KINDS.values(), resource()):
        for place, text in files.items():
            (folder / place).write_text(text, "utf-8")
    return folder


def python(house: Path, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": f"{house}{os.pathsep}{ROOT}"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=house, env=environment, input=given, capture_output=True, text=True)


@pytest.mark.slow
def test_foreign_files_are_used_through_the_service(house: Path, tmp_path: Path) -> None:
    done = python(house, "-m", "tests.contracts.foreign.use_house", str(tmp_path))
    assert done.returncode == 0, done.stderr[-3000:]
    told: dict[str, Any] = json.loads(done.stdout)
    assert (told["said"], told["counted"]) == (["words 0", "words 1"], {"counted": 4})
    assert told["refused"] == [422, 422, 422] and told["documented"]
    assert told["by_form"] == {"asks": [True] * 4, "result": {"counted": 7}, "page": 200, "listed": True}
    assert "echoer:polly" in json.dumps(told["provenance"]) and "shorter" in json.dumps(told["provenance"])
    assert told["tabbed"] == "Say one\tOne.\tOne, I think.\n" and told["read"][0]["choice"] == "first"
    assert told["labelled"] == [201, 201] and set(told["pages"]) == {200}
    assert told["notes"] == [201, [{"id": "a", "text": "Mind the step."}]]


# Writes each file into place, imports its folder anew, and tells what that says.
MISFIT = """
import importlib, json, sys
from pathlib import Path

from base.errors import InputError

told = {}
for name, (place, text, _) in json.load(sys.stdin).items():
    package = ".".join(Path(place).parts[: 3 if "jobs" in place else 2])
    importlib.import_module(package)
    Path(place).write_text(text, "utf-8")
    importlib.invalidate_caches()
    try:
        importlib.reload(sys.modules[package])
    except InputError as error:
        told[name] = str(error)
    Path(place).unlink()
    sys.modules.pop(".".join(Path(place).with_suffix("").parts), None)
print(json.dumps(told))
"""
TALLY = KINDS["job kind"]["service/jobs/kinds/tally.py"]
TABBED = KINDS["file format"]["service/formats/training/tabbed.py"]
MISFITS = {
    "no job": ("service/jobs/kinds/odd.py", "JOBS = []\n", "service.jobs.kinds.odd: it holds no job kind"),
    "a second job": (
        "service/jobs/kinds/utter.py",
        TALLY,
        "service.jobs.kinds.utter: there is a job kind 'tally' already",
    ),
    "a job without run": (
        "service/jobs/kinds/odd.py",
        TALLY.replace(", run=_run", "").replace('"tally"', '"odd"'),
        "JobKind.__init__() missing 1 required keyword-only argument: 'run'",
    ),
    "a job without a name": (
        "service/jobs/kinds/odd.py",
        TALLY.replace('Literal["tally"]', "str"),
        "TallyRequest: its request does not say its name",
    ),
    "a job without about": (
        "service/jobs/kinds/odd.py",
        TALLY.replace("What an engine says is counted.", "").replace('"tally"', '"odd"'),
        "the job kind 'odd' lacks about",
    ),
    "no format": (
        "service/formats/training/odd.py",
        "X = 1\n",
        "service.formats.training.odd: it holds no file format",
    ),
    "a second format": (
        "service/formats/training/utter.py",
        TABBED,
        "service.formats.training.utter: there is a file format 'tabbed' already",
    ),
    "a format without a title": (
        "service/formats/training/odd.py",
        TABBED.replace('"tabbed"', '"odd"').replace('    title: ClassVar[str] = "Lines with tabs"\n', ""),
        "the file format 'odd' lacks a title",
    ),
}


@pytest.mark.slow
def test_a_file_that_does_not_fit_says_what_is_missing(house: Path) -> None:
    done = python(house, "-c", MISFIT, given=json.dumps(MISFITS))
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    for name, (_, _, told) in MISFITS.items():
        assert told in said[name], name
