"""Files as other tools write them: pandas' JSON, chats in cells of a table, Excel's text, arrays on one line."""

import json
from pathlib import Path
from typing import Any

import pytest

from base.errors import InputError
from critic.files.inputs import read_pairs, read_prompts
from critic.files.shapes import naming
from critic.records import Line

ROWS: list[dict[str, Any]] = [
    {"prompt": "Which bird can't fly?", "chosen": "The emu.", "rejected": "A robin."},
    {"prompt": "Which swims?", "chosen": "The duck.", "rejected": "The emu."},
]
WANTED = [(row["prompt"], [row["chosen"], row["rejected"]]) for row in ROWS]
CHAT = [{"role": "user", "content": "Can it fly?"}, {"role": "assistant", "content": "It's too heavy."}]


def read(folder: Path, name: str, content: str | bytes, column: str | None = None) -> list[Any]:
    """The prompts and answers of a file's rows, and the reasons of those that are refused."""
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    lines = read_pairs(str(folder / name), max_chars=1000, truncate=False, columns=naming(column))
    return [_said(line) for line in lines]


def _said(line: Any) -> Any:
    if not isinstance(line, Line):
        return line.reason
    return line.item.prompt.messages[-1].content, [answer.text for answer in line.item.responses]


def _column(name: str) -> list[Any]:
    return [row[name] for row in ROWS]


def _numbered(values: list[Any]) -> dict[str, Any]:
    return {str(i): value for i, value in enumerate(values)}


BY_COLUMN = {name: _column(name) for name in ROWS[0]}
OF_THE_VIEWER = [{"row_idx": i, "row": row} for i, row in enumerate(ROWS)]
DATA = [list(row.values()) for row in ROWS]
TABLES: dict[str, Any] = {
    "records": ROWS,
    "list": BY_COLUMN,
    "columns": {name: _numbered(texts) for name, texts in BY_COLUMN.items()},
    "index": _numbered(ROWS),
    "the hub's viewer": {"features": [], "rows": OF_THE_VIEWER},
    "a split alone": {"version": "1", "train": ROWS, "test": []},
    "a split within data": {"data": {"train": ROWS}},
    "split": {"columns": list(ROWS[0]), "index": [0, 1], "data": DATA},
}


@pytest.mark.parametrize("orient", TABLES)
@pytest.mark.parametrize("ending", [".json", ".jsonl"])
def test_a_table_of_pandas_is_read_in_each_of_its_orients(orient: str, ending: str, tmp_path: Path) -> None:
    indent = None if ending == ".json" else 1  # under .jsonl a whole row on the first line is a row
    assert read(tmp_path, f"rows{ending}", json.dumps(TABLES[orient], indent=indent)) == WANTED


def test_columns_of_chats_are_columns(tmp_path: Path) -> None:
    asked = [[{"role": "user", "content": row["prompt"]}] for row in ROWS]
    table = BY_COLUMN | {"prompt": asked, "chosen": [[{"role": "assistant", "content": row["chosen"]}] for row in ROWS]}
    assert read(tmp_path, "rows.json", json.dumps(table)) == WANTED


def test_several_tables_in_one_object_are_told_with_what_takes_one_out(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"several tables: train, test\n.*jq -c '\.train\[\]'"):
        read(tmp_path, "rows.json", json.dumps({"train": ROWS, "test": ROWS[:1]}))


@pytest.mark.parametrize("nothing", ["\u200b", "\ufeff \u2060", "\u00ad\n"])
def test_a_prompt_of_characters_without_width_is_empty(nothing: str, tmp_path: Path) -> None:
    row = {"prompt": nothing, "chosen": "a", "rejected": "b"}
    seen = row | {"prompt": f"{nothing}\U0001f642"}
    assert read(tmp_path, "rows.json", json.dumps([row, seen])) == ["empty_prompt", (seen["prompt"], ["a", "b"])]


def test_letters_that_are_tags_are_read_by_models_and_kept(tmp_path: Path) -> None:
    hidden = "".join(chr(0xE0000 + ord(letter)) for letter in "Say yes")
    row = {"prompt": hidden, "chosen": "a", "rejected": "b"}
    assert read(tmp_path, "rows.json", json.dumps([row])) == [(hidden, ["a", "b"])]


def test_one_row_is_not_taken_for_columns(tmp_path: Path) -> None:
    row = {"messages": CHAT[:1], "responses": ["A", "B"]}
    assert read(tmp_path, "row.json", json.dumps(row)) == [("Can it fly?", ["A", "B"])]
    row = {"messages": CHAT[:1], "tags": ["birds"]}
    assert read(tmp_path, "row.json", json.dumps(row)) == ["no_responses"]


def test_an_array_on_one_line_is_read_under_the_ending_of_lines_and_a_broken_line_costs_itself(tmp_path: Path) -> None:
    assert read(tmp_path, "rows.jsonl", json.dumps(ROWS)) == WANTED
    lines = "[{\n" + "\n".join(map(json.dumps, ROWS))
    assert read(tmp_path, "rows.jsonl", lines) == ["broken_line", *WANTED]


def test_objects_of_several_lines_are_refused_with_what_makes_lines_of_them(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"jq -c") as error:
        read(tmp_path, "rows.jsonl", "\n".join(json.dumps(row, indent=2) for row in ROWS))
    assert "rows.jsonl:6" in str(error.value)


@pytest.mark.parametrize("write", [json.dumps, repr], ids=["JSON", "Python"])
def test_a_chat_in_a_cell_is_a_chat(write: Any, tmp_path: Path) -> None:
    sides = [[*CHAT[:1], {"role": "assistant", "content": text}] for text in ("It's too heavy.", "It can.")]
    cells = ",".join('"' + write(side).replace('"', '""') + '"' for side in sides)
    assert read(tmp_path, "rows.csv", f"chosen,rejected\n{cells}\n") == [
        ("Can it fly?", ["It's too heavy.", "It can."])
    ]


def test_a_chat_that_numpy_wrote_is_refused_and_a_text_in_brackets_is_a_text(tmp_path: Path) -> None:
    cell = "[{'role': 'user', 'content': 'q'}\n {'role': 'assistant', 'content': 'a'}]"
    rows = read(tmp_path, "rows.csv", f'prompt,chosen,rejected\nq,"{cell}",b\nq,"[{{a set}}]",[b]\n')
    assert rows == ["bad_chat", ("q", ["[{a set}]", "[b]"])]


def test_a_table_that_excel_calls_text_is_a_table_and_a_prompt_with_a_tab_is_a_prompt(tmp_path: Path) -> None:
    table = "prompt\tchosen\trejected\r\nWelcher Vogel?\tDer Emu.\tÄh.\r\n"
    assert read(tmp_path, "table.txt", table.encode("utf-16")) == [("Welcher Vogel?", ["Der Emu.", "Äh."])]
    (tmp_path / "prompts.txt").write_text("Which bird?\tAnd why?\nWhich fish?\n")
    lines = list(read_prompts(str(tmp_path / "prompts.txt"), max_chars=1000, truncate=False))
    assert [_said(line)[0] for line in lines] == ["Which bird?\tAnd why?", "Which fish?"]


def test_a_column_that_no_row_has_is_told_before_any_row_is_refused(tmp_path: Path) -> None:
    lines = "\n".join(json.dumps({"question": row["prompt"], "win": "a", "lose": "b"}) for row in ROWS)
    with pytest.raises(InputError, match=r"no column 'questoin', which is to be prompt; there are question, win, lose"):
        read(tmp_path, "rows.jsonl", lines, "prompt=questoin,chosen=win,rejected=lose")
    assert read(tmp_path, "rows.jsonl", lines, "prompt=question,chosen=win,rejected=lose") == [
        (row["prompt"], ["a", "b"]) for row in ROWS
    ]


def test_a_column_that_some_rows_lack_costs_those_rows_alone(tmp_path: Path) -> None:
    lines = '{"q": "x", "chosen": "a", "rejected": "b"}\n{"chosen": "a", "rejected": "b"}\nno JSON\n'
    assert read(tmp_path, "rows.jsonl", lines, "prompt=q") == [("x", ["a", "b"]), "bad_columns", "broken_line"]
