"""``cai evaluate judge`` as a person runs it: the table, rows that are no labels, going on, and a fitted contrast."""

import json
import subprocess
from pathlib import Path

import pytest

from tests import warm

pytestmark = pytest.mark.slow  # a process a command


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [{"prompt": f"Question {i}?", "chosen": "word " * (1 + i % 7), "rejected": "word"} for i in range(1, 25)]
    rows = [row for row in rows if row["chosen"].strip() != row["rejected"]]
    (tmp_path / "labelled.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "long.yaml").write_text(f"likelihood: long\nchoose: first\nlog: {tmp_path / 'calls'}\n")
    return tmp_path


def evaluate(folder: Path, *more: str, pairs: str = "labelled.jsonl") -> "subprocess.CompletedProcess[str]":
    command = [warm.CAI, "evaluate", "judge", "--judge", "scripted:long.yaml", "--pairs", pairs, *more]
    return warm.run(command, folder)


def test_modes_stand_beside_the_rules_of_length(folder: Path) -> None:
    # The script finds longer texts likelier under any principle alike, and always says "first".
    done = evaluate(folder, "--mode", "logprob", "--mode", "contrast?against=prompt", "--out", "out")
    assert done.returncode == 0, done.stderr
    for word in ("logprob", "contrast", "always", "longer", "shorter", "no better", "better"):
        assert word in done.stdout
    modes = json.loads((folder / "out" / "accuracy.json").read_text())["modes"]
    assert modes["logprob"]["figures"]["accuracy"]["estimate"] == 0.5
    assert modes["logprob"]["figures"]["position"]["estimate"] == 1.0
    made = (folder / "calls").read_text()
    again = evaluate(folder, "--mode", "logprob", "--mode", "contrast?against=prompt", "--out", "out")
    assert again.stdout == done.stdout and (folder / "calls").read_text() == made


def test_two_pairs_say_nothing_by_any_mode_or_rule(folder: Path) -> None:
    two = [{"prompt": f"{i}?", "chosen": "a long answer", "rejected": "no"} for i in range(2)]
    (folder / "two.jsonl").write_text("".join(json.dumps(row) + "\n" for row in two))
    done = evaluate(folder, "--mode", "logprob", "--out", "two", pairs="two.jsonl")
    assert done.returncode == 0, done.stderr
    assert "No more than 2 prompts: nothing can be said of fewer than 20." in done.stdout
    assert "better" not in done.stdout and done.stdout.count("too few") == 4
    told = json.loads((folder / "two" / "accuracy.json").read_text())
    longer = told["rules"]["always the longer"]["accuracy"]
    assert longer["estimate"] == 1 and longer["low"] == pytest.approx(0.025**0.5), "exactly 2 of 2"
    assert told["modes"]["logprob"]["against_length"] == {
        "rule": "always the longer",
        "wins": 0,
        "losses": 2,
        "p": 0.5,
    }


def test_rows_that_are_no_labels_are_named_and_cost_nothing_else(folder: Path) -> None:
    with (folder / "labelled.jsonl").open("a") as file:
        file.write('{"prompt": "Why?", "responses": ["a", "b"]}\n')
    done = evaluate(folder, "--mode", "contrast")
    assert done.returncode == 3
    assert "labelled.jsonl:22: no_label" in done.stderr
    assert "21 pairs" in done.stdout


def test_a_fitted_contrast_is_a_mode(folder: Path) -> None:
    done = evaluate(folder, "--fit", "linear.json", "--out", "out")
    assert done.returncode == 0, done.stderr
    fitted = json.loads((folder / "linear.json").read_text())
    assert fitted["labels"] == 21 and fitted["weights"]["length"] > 0  # the better answers here are the longer ones
    used = evaluate(folder, "--mode", "contrast?weights=linear.json")
    assert used.returncode == 0 and "1.00" in used.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--mode", "coin"), "no judge mode 'coin'"),
        (("--principle", "nobody"), "has no principle 'nobody'"),
        (("--mode", "contrast?weights=missing.json"), "can't be read"),
    ],
)
def test_bad_input_is_2(folder: Path, arguments: tuple[str, ...], said: str) -> None:
    done = evaluate(folder, *arguments)
    assert done.returncode == 2 and said in done.stderr


def test_a_file_without_labels_is_told(folder: Path) -> None:
    (folder / "none.jsonl").write_text('{"prompt": "Why?", "responses": ["a", "b"]}\n')
    done = evaluate(folder, pairs="none.jsonl")
    assert done.returncode == 2 and "chosen" in done.stderr
