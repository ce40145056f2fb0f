"""``cai evaluate policy``: one command from engines and prompts to a report, and the same again asks nothing."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from base.errors import InputError
from service.cli import app


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    scripts = {"base": "Short {seed}.", "lynx": "A longer answer, number {seed}."}
    for name, reply in scripts.items():
        content = {"replies": [{"reply": reply}], "log": str(tmp_path / f"{name}.log")}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(content))
    (tmp_path / "judge.yaml").write_text("choose: hash")
    (tmp_path / "prompts.txt").write_text("".join(f"question {i}\n" for i in range(22)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def cai(*more: str) -> Result:
    command = ["evaluate", "policy", "scripted:base.yaml", "scripted:lynx.yaml", "--prompts", "prompts.txt"]
    return CliRunner().invoke(app, [*command, "--judge", "scripted:judge.yaml", "--out", "out", *more])


def test_the_report_is_written_and_the_same_command_asks_nothing_twice(folder: Path) -> None:
    done = cai("--json", "--safe", "prompts.txt")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told == json.loads((folder / "out/policy.json").read_text())
    assert told["sets"] == {"held-out": 22, "safe": 22}
    assert told["wins"]["held-out"]["lynx.yaml"]["all"]["win rate"]["n"] == 22
    assert len((folder / "out/answers.jsonl").read_text().splitlines()) == 2 * 2 * 22
    assert "Policies before and after" in (folder / "out/policy.html").read_text()
    calls = (folder / "lynx.log").read_text()
    assert cai("--safe", "prompts.txt").exit_code == 0 and (folder / "lynx.log").read_text() == calls


def test_people_who_compared_other_answers_and_options_that_miss_another_are_refused(folder: Path) -> None:
    (folder / "people.jsonl").write_text(json.dumps({"prompt": "question 1", "chosen": "x", "rejected": "y"}))
    for more in (("--people", "people.jsonl"), ("--shots", "2"), ("--reward", "scripted:judge.yaml")):
        assert isinstance(cai(*more).exception, InputError), more
    assert not (folder / "lynx.log").exists(), "all of these are refused before anything is asked"
    done = cai("--people", "people.jsonl", "--reward", "verify:contains=e")
    assert "none of its rows" in str(done.exception)
