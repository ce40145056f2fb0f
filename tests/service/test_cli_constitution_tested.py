"""``cai constitution test`` and ``recover``: figures of a stored run, limits that a check can hold, no call."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from base.errors import InputError
from service.cli import app
from tests.factories import small_constitution


def cai(*command: str) -> Result:
    return CliRunner().invoke(app, list(command))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tested")
    (folder / "c.yaml").write_text(yaml.safe_dump(small_constitution(3)))
    (folder / "judge.yaml").write_text("choose: hash")
    rows = [{"prompt": f"question {i}", "chosen": f"plain {i}", "rejected": f"wordy answer {i}"} for i in range(30)]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ["judge", "--principles", f"{folder / 'c.yaml'}", "--pairs", f"{folder / 'pairs.jsonl'}"]
    done = cai(*command, "--judge", f"scripted:{folder / 'judge.yaml'}", "--out", f"{folder / 'run'}", "--quiet")
    assert done.exit_code == 0, done.output
    return folder


def check(run: Path, *more: str) -> Result:
    return cai("constitution", "test", f"{run / 'c.yaml'}", "--run", f"{run / 'run'}", *more)


def figures(done: Result) -> Any:
    return json.loads(done.stdout)


def test_every_figure_is_there_as_json_and_as_a_page(run: Path) -> None:
    done = check(run, "--json", "--out", f"{run / 'report'}", "--weight", "p0=50")
    assert done.exit_code == 0, done.output
    told = figures(done)
    assert told["comparisons"] == told["prompts"] == 30
    assert [one["principle"] for one in told["influences"]] == ["p0", "p1", "p2"]
    assert all(one["read"] == 30 and one["decides"]["n"] == 30 for one in told["influences"])
    assert told["changes"][0]["stays"] == 30 and len(told["changes"][1]["flips"]) > 0
    assert json.loads((run / "report/test.json").read_text()) == told
    assert "under test" in (run / "report/test.html").read_text()
    printed = check(run)
    assert "what if" in printed.output and "One judge read each principle once" in printed.output


def test_a_limit_that_is_not_held_is_said_and_has_an_exit_code_of_its_own(run: Path) -> None:
    assert check(run, "--max-flips", "0", "--max-duplicates", "3").exit_code == 0
    other = small_constitution(3)
    other["principles"][0]["weight"] = 50
    (run / "heavy.yaml").write_text(yaml.safe_dump(other))
    done = cai("constitution", "test", f"{run / 'heavy.yaml'}", "--run", f"{run / 'run'}", "--max-flips", "0.01")
    assert done.exit_code == 4 and "beyond the limit: flips" in done.output
    assert check(run, "--max-ambiguous", "0").exit_code == 4, "what is not known is no pass"


def test_a_second_run_tells_ambiguity_and_one_of_other_pairs_is_refused(run: Path, tmp_path: Path) -> None:
    done = check(run, "--again", f"{run / 'run'}", "--json")
    assert [one["times"] for one in figures(done)["ambiguities"]] == [1.0] * 3 and not figures(done)["ambiguous"]
    (tmp_path / "other.jsonl").write_text(json.dumps({"prompt": "else", "chosen": "a", "rejected": "b"}))
    command = ["judge", "--principles", f"{run / 'c.yaml'}", "--pairs", f"{tmp_path / 'other.jsonl'}", "--quiet"]
    cai(*command, "--judge", f"scripted:{run / 'judge.yaml'}", "--out", f"{tmp_path / 'run'}")
    refused = check(run, "--again", f"{tmp_path / 'run'}")
    assert isinstance(refused.exception, InputError) and "none of its comparisons" in str(refused.exception)


@pytest.mark.parametrize("option", [("--weight", "p9=2"), ("--weight", "p0=-1"), ("--weight", "p0")])
def test_a_weight_that_is_none_is_refused(run: Path, option: tuple[str, str]) -> None:
    assert isinstance(check(run, *option).exception, InputError)


def test_what_the_chosen_answers_have_in_common_is_said(run: Path) -> None:
    done = cai("constitution", "recover", f"{run / 'pairs.jsonl'}", "--run", f"{run / 'run'}", "--json")
    assert done.exit_code == 0, done.output
    told = figures(done)
    assert told["rules"][0]["says"] == "is shorter" and told["pairs"] == told["prompts"] == 30
    assert "the chosen answer is shorter" in cai("constitution", "recover", f"{run / 'pairs.jsonl'}").output
