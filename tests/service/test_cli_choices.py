"""``cai evaluate choices`` as a person runs it: figures, quarantine, going on, errors."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from base.errors import InputError
from service.cli import app

GOOD = [
    {
        "prompt": f"\n\nHuman: What is {i} and {i}?\n\nAssistant:",
        "corrects": [f"{2 * i}"],
        "incorrects": ["Many.", "No."],
    }
    for i in range(4)
]
PAPER = ["\nTake the better one. Options:"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "paper.json").write_text(json.dumps(PAPER))
    script(tmp_path)
    rows(tmp_path, *GOOD)
    return tmp_path


def script(folder: Path, **settings: Any) -> None:
    (folder / "s.yaml").write_text(
        yaml.safe_dump({"log": "calls.log", "choose": "first", "likelihood": "short"} | settings)
    )


def rows(folder: Path, *given: object) -> None:
    (folder / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in given))


def choices(*arguments: str) -> Result:
    command = ["evaluate", "choices", "rows.jsonl", "--judge", "scripted:s.yaml", *arguments]
    return CliRunner(env={"COLUMNS": "120"}).invoke(app, command, catch_exceptions=False)


def calls(folder: Path) -> int:
    return len((folder / "calls.log").read_text().splitlines())


def test_figures_of_a_judge_that_says_first_and_likes_short_answers(folder: Path) -> None:
    done = choices("--json")
    assert done.exit_code == 0
    results = json.loads(done.stdout)
    figures = results["figures"]
    assert (results["rows"], results["unreadable"]) == (
        4,
        {"letters": 0, "likelihood": 0, "pairs": 8, "below_floor": 0},
    )
    assert {figures[name]["estimate"] for name in ("ties, both orders", "same position")} == {1}
    assert figures["accuracy, both orders"] | {"high": 0} == {"estimate": 0, "low": 0, "high": 0, "n": 8, "clusters": 4}
    # One digit is shorter than any wrong answer.
    assert figures["accuracy, likelihood summed"]["estimate"] == 1
    assert calls(folder) == 4 * (2 * 2 + 3), "pairs in both orders, and answers"
    table = choices().stdout
    assert "│ same position                  │ 1.000 " in table
    assert "4 rows read, 0 of them in one order only" in table


def test_columns_may_have_other_names(folder: Path) -> None:
    rows(folder, {"question": GOOD[0]["prompt"], "right": ["0"], "Incorrects": ["Many."]})
    done = choices("--column", "prompt=question,corrects=right")
    assert done.exit_code == 0 and "1 rows read" in done.stdout
    assert "No more than 1 row: nothing can be said of fewer than 20." in done.stdout
    with pytest.raises(InputError, match=r"no column 'rigt'.*there are question, right, Incorrects"):
        choices("--column", "prompt=question,corrects=rigt")
    with pytest.raises(InputError, match="'chosen=right' maps no column"):
        choices("--column", "chosen=right")


def test_bad_rows_are_named_and_the_rest_is_read(folder: Path) -> None:
    rows(folder, GOOD[0], {"prompt": "x"}, GOOD[1])
    done = choices()
    assert done.exit_code == 3
    assert "2 rows read" in done.stdout
    assert "quarantined: row 1, rows.jsonl:2: corrects is not a list" in done.stdout
    [refused] = json.loads(choices("--json").stdout)["quarantined"]
    assert (refused["row"], refused["reason"]) == (1, "bad_answers")


def test_rows_that_the_judge_can_not_answer_are_quarantined_in_the_order_of_the_file(folder: Path) -> None:
    rows(folder, GOOD[0], {"prompt": "x"})
    script(folder, fail={"every": 1, "how": "raise"})
    refused = json.loads(choices("--json").stdout)["quarantined"]
    assert [(row["row"], row["reason"]) for row in refused] == [(0, "engine_error"), (1, "bad_answers")]


def test_the_same_command_asks_nothing_again_and_a_larger_limit_only_the_rest(folder: Path) -> None:
    out = ("--out", "out", "--format", "paper", "--principles", "paper.json")
    choices("--limit", "1", *out)
    assert calls(folder) == 7
    first = (folder / "out" / "choices.json").read_bytes()
    choices("--limit", "1", *out)
    assert (calls(folder), (folder / "out" / "choices.json").read_bytes()) == (7, first)
    choices("--limit", "2", *out)
    assert calls(folder) == 14
    written = json.loads((folder / "out" / "choices.json").read_text())
    assert [len(reading["pairs"]) for reading in written["readings"]] == [2, 2]


def test_a_directory_belongs_to_one_measurement(folder: Path) -> None:
    choices("--out", "out")
    with pytest.raises(InputError, match="another config"):
        choices("--out", "out", "--format", "paper", "--principles", "paper.json")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--format", "paper"), "expected the paper's comparison instructions"),
        (("--format", "paper", "--principles", "rows.json"), "not one of the five files"),
        (("--principles", "paper.json"), "the plain format asks by no principles"),
        (("--judge", "nobody"), "there is no engine 'nobody'"),
    ],
)
def test_what_does_not_fit_together_is_told(folder: Path, arguments: tuple[str, ...], problem: str) -> None:
    (folder / "rows.json").write_text("[[]]")
    with pytest.raises(InputError, match=problem):
        choices(*arguments)


def test_an_empty_file_is_told(folder: Path) -> None:
    (folder / "rows.jsonl").write_text("\n")
    with pytest.raises(InputError, match="the file holds no rows"):
        choices()


@pytest.mark.slow
def test_the_embedded_model_finds_what_makes_sense_likelier_than_what_does_not(
    folder: Path, embedded_model: Path
) -> None:
    capitals = {"France": "Paris", "Spain": "Madrid", "Italy": "Rome"}
    rows(
        folder,
        *(
            {
                "prompt": f"\n\nHuman: What is the capital of {country}?\n\nAssistant:",
                "corrects": [f"The capital of {country} is {city}."],
                "incorrects": [f"The capital of {country} is banana."],
            }
            for country, city in capitals.items()
        ),
    )
    results = json.loads(choices("--judge", "embedded?dtype=float32", "--json").stdout)
    assert results["figures"]["accuracy, likelihood summed"]["estimate"] == 1
    assert results["figures"]["accuracy, likelihood per token"]["estimate"] == 1
    assert results["unreadable"] == {"letters": 0, "likelihood": 0, "pairs": 3, "below_floor": 0}
    assert results["figures"]["orders agree"]["n"] == 3
