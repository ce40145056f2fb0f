"""What rows of some shapes hold besides, and what is refused in them."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from base.errors import InputError
from critic.files.inputs import read_labelled, read_pairs, read_prompts
from critic.files.shapes import SHAPES
from critic.files.shapes.base import PROMPTS
from critic.records import Line, Quarantined
from tests.contracts.shapes.cases import CASES
from tests.contracts.shapes.commands import answers, lines, said, written
from tests.contracts.shapes.pairs import AB
from tests.contracts.shapes.rows import ASK, EMU, ROBIN, TWO, Case, gpt, human, says, transcript, user
from tests.contracts.shapes.several import NECTAR, ULTRA
from tests.contracts.shapes.table import TABLE, table
from trainers.batches.data import read
from trainers.batches.examples import Pair, Rated


def rows_of(rows: list[Any]) -> Case:
    """A case of which nothing is expected."""
    return Case("", rows, [], [], [], [], [], [], [])


PAIRS_OF_ENDS = (("0", "1"), ("1", "2"), ("00", "01"), ("001", "002"), ("a", "b"), ("b", "c"))


def test_the_table_has_every_shape() -> None:
    rows = []
    for case in CASES:
        for row in case.rows:
            if isinstance(row, dict):
                rows.append({name.casefold(): value for name, value in row.items()})
    fitting = {shape.name for shape in SHAPES for row in rows if shape.fits(row)}
    assert {shape.name for shape in SHAPES} == fitting


def test_the_models_of_responses_are_kept(tmp_path: Path) -> None:
    for row in (ULTRA, NECTAR, AB | {"model_a": "m1", "model_b": "m2"}):
        (line,) = lines(rows_of([row]), tmp_path, read_pairs, truncate=False)
        assert [response.model for response in line.item.responses][:2] == ["m1", "m2"]


@pytest.mark.parametrize("change", [{"overall_score": "good"}, {"annotations": {"honesty": {"Rating": "9"}}}])
def test_a_rating_that_is_none_is_named_where_labels_are_asked_for(change: dict[str, Any], tmp_path: Path) -> None:
    row = ULTRA | {"completions": [ULTRA["completions"][0] | change, ULTRA["completions"][1]]}
    case = rows_of([row])
    assert [answers(line) for line in lines(case, tmp_path, read_pairs, truncate=False)] == TWO
    assert lines(case, tmp_path, read_labelled) == ["bad_rating"]


def test_without_an_overall_score_the_mean_of_the_aspects_is_taken(tmp_path: Path) -> None:
    completions = [
        {"response": EMU, "annotations": {"a": {"Rating": "5"}, "b": {"Rating": "4"}}},
        {"response": ROBIN, "annotations": {"a": {"Rating": "3"}, "b": {"Rating": "N/A"}}},
    ]
    data = read(written(rows_of([{"instruction": ASK, "completions": completions}]), tmp_path), (Rated,))
    assert [said(example) for example in data.examples] == [("Rated", EMU, 0.875), ("Rated", ROBIN, 0.5)]


@pytest.mark.parametrize(
    ("chosen", "reason"),
    [
        (transcript(ASK, ""), "empty_answer"),
        (transcript(ASK, EMU, "Thanks."), "empty_answer"),
        (transcript("Else?", EMU), "no_shared_prompt"),
    ],
)
def test_a_transcript_without_an_answer_is_refused_alike(chosen: str, reason: str, tmp_path: Path) -> None:
    case = rows_of([{"chosen": chosen, "rejected": transcript(ASK, ROBIN)}])
    assert lines(case, tmp_path, read_pairs, truncate=False) == lines(case, tmp_path, read_labelled) == [reason]
    with pytest.raises(InputError, match="nothing to train on"):
        read(written(case, tmp_path), (Pair,))


def test_two_turns_of_one_side_are_one(tmp_path: Path) -> None:
    sides = {
        "chosen": f"\n\nHuman: Hi.\n\nHuman: {ASK}\n\nAssistant: {EMU}",
        "rejected": f"\n\nHuman: Hi.\n\nHuman: {ASK}\n\nAssistant: {ROBIN}",
    }
    (line,) = lines(rows_of([sides]), tmp_path, read_pairs, truncate=False)
    assert [message.content for message in line.item.prompt.messages] == [f"Hi.\n\n{ASK}"]


def test_an_answer_that_is_left_off_is_counted(tmp_path: Path) -> None:
    rows = [{"messages": [user(), says(EMU)]}, {"messages": [user("Else?")]}]
    first, second = lines(rows_of(rows), tmp_path, read_prompts, truncate=False)
    assert (first.left_off, second.left_off) == (1, 0)


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        ([{"from": "alien", "value": ASK}], "role_order"),
        ([{"from": "human"}], "bad_prompt"),
        ([{"from": "human", "value": None}], "bad_prompt"),
        ("no list", "broken_line"),
    ],
)
def test_turns_that_are_none_are_refused(turns: object, reason: str, tmp_path: Path) -> None:
    case = rows_of([{"conversations": turns}])
    assert lines(case, tmp_path, read_prompts, truncate=False) == [reason]


def test_sharegpts_calls_of_tools_are_carried_through(tmp_path: Path) -> None:
    turns = [
        human("What is 2 and 2?"),
        {"from": "function_call", "value": '{"name": "add", "arguments": {"a": 2, "b": 2}}'},
        {"from": "observation", "value": "4"},
        gpt("Four."),
        human("And one more?"),
    ]
    (line,) = lines(rows_of([{"conversations": turns}]), tmp_path, read_prompts, truncate=False)
    messages = line.item.prompt.messages
    assert [message.role for message in messages] == ["user", "assistant", "tool", "assistant", "user"]
    assert messages[1].tool_calls[0].function.arguments == '{"a": 2, "b": 2}'


def test_a_system_column_begins_the_chat(tmp_path: Path) -> None:
    row = {"system": "Be brief.", "conversations": [human(), gpt(EMU)]}
    (line,) = lines(rows_of([row]), tmp_path, read_prompts, truncate=False)
    assert [message.role for message in line.item.prompt.messages] == ["system", "user"]


def test_a_shape_is_asked_wherever_it_fits() -> None:
    """A shape's ``keys`` say which rows are not looked at; none that fits may be among them."""
    numbered = []
    for name in ("output", "response_"):
        for pair in PAIRS_OF_ENDS:
            numbered.append({f"{name}{end}": "a" for end in pair})
    rows = [row for case in CASES for row in case.rows if isinstance(row, dict)] + numbered
    for given in rows:
        row = {name.casefold(): value for name, value in given.items()}
        assert not [shape.name for shape in SHAPES if shape.fits(row) and shape.keys.isdisjoint(row)]


def test_a_case_has_a_name_of_its_own_and_there_are_enough() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 60


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_table_is_read_as_its_rows(case: Case, tmp_path: Path) -> None:
    """Of a table only the columns that some shape knows are read, and none is refused that holds what is asked for."""
    rows = [row for row in case.rows if isinstance(row, dict) and row]
    try:
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in.parquet")
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # the latter where a struct has no field
        return  # values of several types in one place
    if not rows:
        return
    must_be_read_as_rows(case, tmp_path / "in.parquet")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_table_of_texts_is_read_as_its_rows(case: Case, tmp_path: Path) -> None:
    """Where a text says what the value did: it can't be empty, or a number, or an object or list that could be one."""
    rows = [row for row in case.rows if isinstance(row, dict) and row]
    names = list(dict.fromkeys(name for row in rows for name in row))
    texts = [value for row in rows for name, value in row.items() if name.casefold() in TEXTS]
    if not rows or not all(isinstance(value, str | list | dict) and value for value in texts):
        return
    if case.name in NO_TABLE:
        return
    with (tmp_path / "in.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, names)
        table.writeheader()
        for row in rows:
            table.writerow({name: in_a_cell(value) for name, value in row.items()})
    must_be_read_as_rows(case, tmp_path / "in.csv")


def test_lists_of_texts_on_both_sides_of_a_table_of_texts_are_refused(tmp_path: Path) -> None:
    """They may be several answers each, or one answer that is a list; a typed table tells."""
    (tmp_path / "in.csv").write_text(
        'prompt,chosen,rejected\nName two,"[""a"", ""b""]","[\'c\']"\nName one,[1],"[2, 3]"\n'
    )
    bad, good = read_pairs(str(tmp_path / "in.csv"), max_chars=99, truncate=False)
    assert isinstance(bad, Quarantined) and bad.reason == "bad_responses" and "JSON Lines" in bad.detail
    assert answers(good) == ["[1]", "[2, 3]"]


NO_TABLE = ("RewardBench 2", "a prompt that is an object", "a record of Argilla", "a tree of OASST")
"""What nobody writes as a table of texts, or what can't be told there: see the test above."""
TEXTS = (*PROMPTS, "chosen", "rejected", "completion", "response", "response_b", "response_a")


def in_a_cell(value: object) -> object:
    return json.dumps(value) if isinstance(value, list | dict) else value


def must_be_read_as_rows(case: Case, source: Path) -> None:
    uncut: dict[str, Any] = {"truncate": False}
    for reader, expected, more in (
        (read_prompts, case.generate, uncut),
        (read_pairs, case.judge, uncut),
        (read_labelled, case.evaluate, {}),
    ):
        try:
            lines = list(reader(str(source), max_chars=999, **more))
        except InputError:  # that no column can be used, told once and not for each row
            assert all(isinstance(one, str) and not one.endswith(ASK) for one in expected)
            continue
        taken = [line for line in lines if isinstance(line, Line)]
        refused = [line.reason for line in lines if isinstance(line, Quarantined)]
        assert len(taken) == sum(not isinstance(one, str) or one.endswith(ASK) for one in expected)
        assert refused == [one for one in expected if isinstance(one, str) and not one.endswith(ASK)]


def test_how_probable_a_weighted_preference_is_stays_its_label(tmp_path: Path) -> None:
    row = {"instruction": ASK, "output_1": EMU, "output_2": ROBIN, "preference": 1.25}
    [pair] = read(written(rows_of([row]), tmp_path), (Pair,)).examples
    assert isinstance(pair, Pair) and (pair.chosen, pair.probability) == (EMU, 0.75)


def test_a_history_that_is_no_list_of_pairs_is_refused(tmp_path: Path) -> None:
    row = {"instruction": ASK, "output": EMU, "history": [["only a question"]]}
    assert lines(rows_of([row]), tmp_path, read_prompts, truncate=False) == ["bad_prompt"]


def test_the_documented_table_is_that_of_the_cases() -> None:
    assert TABLE.read_text(encoding="utf-8") == table(), "python -m tests.contracts.shapes.table writes it"
