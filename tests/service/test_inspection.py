"""How a file is read, told for every command: the same counts and reasons as the commands themselves give."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer import Typer
from typer.testing import CliRunner

from base.errors import InputError
from critic.files.inputs import read_pairs
from critic.files.shapes import naming
from critic.records import Quarantined
from service.cli.commands.runs.inspect import inspect as command
from service.cli.runs import inspection
from service.cli.runs.inspection import Inspection, inspect, middle

ROWS: list[Any] = [
    {"History": "Why is ice slippery?", "human_ref_A": "Water.", "human_ref_B": "Magic.", "labels": 1, "score": 4},
    {"History": "Why is ice cold?", "human_ref_A": "It melts.", "human_ref_B": "No.", "labels": None},
    {"History": "Why is ice white?", "human_ref_A": "Air.", "human_ref_B": "Air."},
    {"note": "no row"},
]


def written(path: Path, rows: list[Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def uses(inspection: Inspection) -> dict[str, tuple[int, dict[str, int]]]:
    by_command = {}
    for use in inspection.uses:
        by_command[use.command] = (use.taken, {reason: len(places) for reason, places in use.refused.items()})
    return by_command


def test_each_command_is_told(tmp_path: Path) -> None:
    inspection = inspect(written(tmp_path / "in.jsonl", ROWS), naming())
    assert (inspection.name, inspection.rows, inspection.whole, inspection.shapes) == ("in.jsonl", 4, True, ("SHP",))
    assert inspection.columns["History"] == "history" and inspection.columns["human_ref_A"] == "human_ref_a"
    assert inspection.ignored == ("score", "note")
    assert uses(inspection) == {
        "generate, align": (3, {"no_prompt": 1}),
        "judge": (3, {"no_responses": 1}),
        "evaluate judge": (1, {"no_label": 3}),
        "train sft": (0, {"other_kind": 1, "no_label": 2, "unknown_format": 1}),
        "train dpo, orpo, simpo": (1, {"no_label": 2, "unknown_format": 1}),
        "train reward": (1, {"no_label": 2, "unknown_format": 1}),
    }
    judged = inspection.uses[1]
    assert judged.first == [
        ("Why is ice slippery?", ("Water.", "Magic.")),
        ("Why is ice cold?", ("It melts.", "No.")),
    ]
    assert judged.refused["no_responses"][0].startswith("in.jsonl:4: ")
    assert middle(inspection.prompt_tokens) == (4, 4, 5)


def test_a_prompt_that_comes_twice_and_an_id_of_two_are_told(tmp_path: Path) -> None:
    rows = [{"id": 7, "prompt": "Why?"}, {"id": 7, "prompt": "How?"}, {"id": 8, "prompt": "Why?"}]
    inspection = inspect(written(tmp_path / "in.jsonl", rows), naming())
    assert uses(inspection)["generate, align"] == (1, {"same_id": 1, "duplicate": 1})


def test_what_turns_say_beside_is_named(tmp_path: Path) -> None:
    turn = {"role": "user", "content": "Why?", "date": "2024-05-01", "lang": None}
    inspection = inspect(
        written(tmp_path / "in.jsonl", [{"prompt": [turn]}, {"prompt": [turn | {"lang": "en"}]}]), naming()
    )
    assert inspection.turns == {"date": 2, "lang": 1} and uses(inspection)["generate, align"] == (1, {"duplicate": 1})


def test_it_says_what_the_command_itself_finds(tmp_path: Path) -> None:
    source = written(tmp_path / "in.jsonl", ROWS)
    lines = list(read_pairs(source, max_chars=32_000, truncate=False))
    refused = sum(isinstance(line, Quarantined) for line in lines)
    assert uses(inspect(source, naming()))["judge"] == (len(lines) - refused, {"no_responses": refused})


def test_of_many_rows_a_sample_is_read_and_all_where_that_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("HEAD", 5), ("EVERY", 10), ("SAMPLED", 50)):
        monkeypatch.setattr(inspection, name, value)
    source = written(tmp_path / "in.jsonl", [{"prompt": f"question {i}"} for i in range(200)])
    sampled, whole = inspect(source, naming()), inspect(source, naming(), whole=True)
    assert (sampled.rows, sampled.whole, uses(sampled)["generate, align"]) == (9, False, (9, {}))
    assert (whole.rows, whole.whole, uses(whole)["generate, align"]) == (200, True, (200, {}))


def test_a_command_that_takes_nothing_of_a_table_says_why(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("Frage;tags\nWarum?;a\n")
    inspection = inspect(str(tmp_path / "in.csv"), naming("prompt=frage"))
    assert uses(inspection)["generate, align"] == (1, {})
    assert "no column holds answers" in inspection.uses[1].problem


def test_what_can_be_read_only_once_is_refused() -> None:
    with pytest.raises(InputError, match="only once"):
        inspect("-", naming())


def run(*arguments: str) -> str:
    app = Typer()
    app.command()(command)
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == 0, done.output
    return done.output


def test_the_command_prints_it_and_no_text_drives_the_terminal(tmp_path: Path) -> None:
    rows = [{"prompt": "red \x1b[31m text " + "long " * 50, "chosen": "a", "rejected": "b"}, *ROWS[3:]]
    source = written(tmp_path / "in.jsonl", rows)
    said = run(source)
    assert "\x1b" not in said and "cai judge: 1 taken, 1 refused" in said
    assert "no_responses: 1, as in.jsonl:2: no responses" in said and "not read: note" in said
    assert max(map(len, said.splitlines())) < 250
    assert json.loads(run(source, "--json"))["uses"][1]["taken"] == 1
