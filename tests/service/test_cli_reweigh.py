"""``cai generate --ranking`` and ``cai reweigh`` as a person runs them: what is printed, and what is not loaded."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.factories import small_constitution

pytestmark = pytest.mark.slow  # a process a command
ROOT = Path(__file__).parents[2]

# The command itself, in a process that says afterwards what it loaded.
CAI = """
import sys
from service.cli import main
try:
    main()
finally:
    loaded = [m for m in ("torch", "transformers", "openai", "vllm", "datasets") if m in sys.modules]
    print("loaded:", *loaded, file=sys.stderr)
"""


def cai(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", CAI, *arguments]
    environment = {"PYTHONPATH": str(ROOT), "COLUMNS": "120"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=600
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run of three ranked samples for each of six prompts, whose judge is gone."""
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(small_constitution(2)))
    (tmp_path / "p.txt").write_text("".join(f"question {i}\n" for i in range(6)))
    (tmp_path / "s.yaml").write_text("{}")
    engines = ("--policy", "scripted:s.yaml", "--judge", "scripted:s.yaml")
    what = ("--principles", "c.yaml", "--prompts", "p.txt", "--samples", "3", "--ranking", "--out", "run")
    assert cai(tmp_path, "generate", *what, *engines).returncode == 0
    (tmp_path / "s.yaml").unlink()
    return tmp_path


def test_no_engine_is_opened_and_every_byte_is_the_same(folder: Path) -> None:
    done = cai(folder, "reweigh", "run", "--principles", "c.yaml", "--out", "new")
    assert (done.returncode, done.stderr) == (0, "loaded:\n")
    assert "0 changed side, 0 became ties, 0 stopped being ties" in done.stdout
    assert "stale" not in done.stdout and "no votes" not in done.stdout
    for name in ("pairs.jsonl", "sft.jsonl", "feedback.jsonl"):
        assert (folder / "new" / name).read_bytes() == (folder / "run" / name).read_bytes()
    shown = cai(folder, "show", "new", "--pair", "0").stdout
    assert "ranking by all comparisons" in shown and "p1" in shown


def test_what_changed_is_printed_and_the_same_as_data(folder: Path) -> None:
    constitution = small_constitution(3)
    constitution["principles"][1]["compare"] = "Which is new?"
    (folder / "new.yaml").write_text(yaml.safe_dump(constitution))
    command = ("reweigh", "run", "--principles", "new.yaml", "--weight", "p0=2.5", "--aggregation", "probability")
    printed = cai(folder, *command, "--out", "printed", "--tie-band", "0.2", "--ignore-priorities").stdout
    # Six prompts, three comparisons each, both orders.
    assert "votes of principles that are worded otherwise don't count: 36 (p1 36)" in printed
    assert "no votes:   p1, p2" in printed
    told = json.loads(cai(folder, *command, "--out", "data", "--tie-band", "0.2", "--json").stdout)
    assert told["stale_votes"] == {"p1": 36} and told["principles_without_votes"] == ["p1", "p2"]
    judgements = told["judgements"]
    assert sum(judgements.values()) == 18 and judgements["became_tie"] > 0
    assert f"{judgements['kept_side']} kept their side, {judgements['changed_side']} changed side" in printed
    assert f"{told['pairs']['before']} before, {told['pairs']['after']} now" in printed
    only = json.loads(
        cai(folder, "reweigh", "run", "--principles", "c.yaml", "--only", "p1", "--out", "o", "--json").stdout
    )
    assert only["left_out_votes"] == {"p0": 36}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--out", "run"), "--out: this is the run itself"),
        (("--out", "."), "not an empty directory"),
        (("--weight", "p0"), "'p0' is not ID=W"),
        (("--weight", "p0=heavy"), "'p0=heavy' is not ID=W"),
        (("--weight", "p0=-1"), "-1.0 is no weight"),
        (("--only", "p7"), "It has p0, p1"),
    ],
)
def test_bad_input_is_2_with_one_clear_error(folder: Path, arguments: tuple[str, ...], said: str) -> None:
    done = cai(folder, "reweigh", "run", "--principles", "c.yaml", "--out", "new", *arguments)
    assert done.returncode == 2 and done.stdout == "" and not (folder / "new").exists()
    assert done.stderr.startswith("error: ") and said in done.stderr and "Traceback" not in done.stderr
