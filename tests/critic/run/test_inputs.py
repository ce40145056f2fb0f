"""What a run reads: formats, columns, and files that are no input at all."""

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from base.errors import InputError
from critic.files.inputs import open_prompts, read_pairs, read_prompts
from critic.run.request import RunRequest
from critic.run.run import sha256_and_rows

from .input_rows import CHAT, last_texts, prompts, read, refused, write_lines

ROWS = [
    {"prompt": "One river?", "tags": ["a", "b"], "id": "p0"},
    {"prompt": 'Two,\n"rivers"?', "tags": [], "id": None},
]


def as_csv(folder: Path) -> str:
    path = folder / "in.csv"
    path.write_bytes(b'\xef\xbb\xbfprompt,tags,id\r\nOne river?,"a, b",p0\r\n\r\n"Two,\n""rivers""?",,\r\n')
    return str(path)


def as_jsonl(folder: Path) -> str:
    return str(write_lines(folder / "in.jsonl", *ROWS))


def as_json(folder: Path) -> str:
    (folder / "in.json").write_text(json.dumps(ROWS, indent=1))
    return str(folder / "in.json")


def as_json_object(folder: Path) -> str:
    (folder / "in.json").write_text(json.dumps({"rows": ROWS}))
    return str(folder / "in.json")


def as_json_lines_named_json(folder: Path) -> str:
    return str(write_lines(folder / "in.json", *ROWS))


def as_parquet(folder: Path) -> str:
    pq.write_table(pa.Table.from_pylist(ROWS), folder / "in.parquet")
    return str(folder / "in.parquet")


def as_dataset(folder: Path) -> str:
    import datasets

    datasets.Dataset.from_list(ROWS).save_to_disk(folder / "saved")
    return str(folder / "saved")


def as_dataset_with_splits(folder: Path) -> str:
    import datasets

    data = datasets.Dataset.from_list(ROWS)
    datasets.DatasetDict({"train": data.select([1]), "dev": data}).save_to_disk(folder / "splits")
    return f"{folder / 'splits'}:dev"


FORMATS = [as_csv, as_jsonl, as_json, as_json_object, as_json_lines_named_json, as_parquet, as_dataset]


@pytest.mark.parametrize("write", [*FORMATS, as_dataset_with_splits])
def test_every_format_gives_the_same_prompts(write: Any, tmp_path: Path) -> None:
    first, second = [read(line) for line in prompts(write(tmp_path))]
    assert first.item.prompt.messages[0].content == "One river?"
    assert first.item.prompt.tags == ("a", "b") and first.item.prompt.id == "p0"
    assert second.item.prompt.messages[0].content == 'Two,\n"rivers"?'
    assert second.item.prompt.tags == () and second.item.prompt.id is None
    assert (first.row, second.row) == (0, 1)
    assert str(tmp_path) not in first.where + second.where


def test_plain_text_is_a_prompt_a_line_and_blank_lines_are_no_rows(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_bytes(b"\xef\xbb\xbfOne\r\n\r\n  \n{not json\n" + "Zwölf".encode())
    lines = [read(line) for line in prompts(tmp_path / "in.txt")]
    assert last_texts(list(lines)) == ["One", "{not json", "Zwölf"]
    assert [(line.row, line.where) for line in lines] == [(0, "in.txt:1"), (1, "in.txt:4"), (2, "in.txt:5")]


@pytest.mark.parametrize(
    ("data", "texts"),
    [
        (b'\n{"prompt": "One"}\n{"prompt": "Two"}\n', ["One", "Two"]),
        (b'"One"\n"Two"', ["One", "Two"]),
        (b'"One" is a word\n{"prompt": "Two"}\n', ['"One" is a word', '{"prompt": "Two"}']),
    ],
)
def test_stdin_is_json_lines_or_plain_lines(data: bytes, texts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    lines = prompts("-")
    assert last_texts(lines) == texts
    assert lines[-1].where.startswith("stdin:")


def test_stdin_with_a_broken_first_object_is_json_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"prompt": \n{"prompt": "Two"}\n')))
    first, second = prompts("-")
    assert refused(first).reason == "broken_line" and last_texts([second]) == ["Two"]


def test_the_first_known_column_is_the_prompt(tmp_path: Path) -> None:
    path = write_lines(
        tmp_path / "in.jsonl",
        {"text": "no", "question": "no", "instruction": "no", "messages": CHAT, "prompt": "yes"},
        {"text": "no", "question": "no", "instruction": "no", "messages": CHAT, "prompt": None},
        {"text": "no", "question": "no", "instruction": "Sum up", "input": "A long text."},
        {"text": "no", "question": "yes"},
        {"text": "yes", "input": "no"},
        {"input": "yes"},
        {"prompt": CHAT},
        CHAT,
    )
    texts = ["yes", "Name a river.", "Sum up\n\nA long text.", "yes", "yes", "yes", "Name a river.", "Name a river."]
    lines = prompts(path)
    assert last_texts(lines) == texts
    assert [m.role for m in read(lines[-1]).item.prompt.messages] == ["system", "user", "assistant", "user"]


@pytest.mark.parametrize(
    ("name", "data", "problem"),
    [
        ("in.jsonl", b"", "empty"),
        ("in.jsonl", b"\n  \r\n", "empty"),
        ("in.json", b"", "empty"),
        ("in.json", b"[]", "empty"),
        ("in.json", b'{"rows": [', "not JSON"),
        ("in.json", b'[\n{"prompt": "a"}\n]\n]', "not JSON: Extra data"),
        ("in.json", b"7", "array of rows"),
        ("in.json", b'"caf\xe9"', "UTF-8"),
        ("in.csv", b"", "empty"),
        ("in.csv", b"prompt\n", "empty"),
        ("in.csv", b"title,body\na,b\n", "no column holds prompts"),
        ("in.csv", b'"title\n', "header"),
        ("in.parquet", b"PAR1 and no more", "not a Parquet file"),
        ("in.xlsx", b"PK\x03\x04", "not an XLSX file"),
        ("in.xls", b"\xd0\xcf", "unknown format '.xls'"),
        ("in", b"hello", "unknown format ''"),
        ("in.jsonl", b"\x1f\x8b\x08\x00", "can't be unpacked"),
        ("in.jsonl.gz", b"Hello", "its first bytes say that it isn't"),
        ("in.jsonl", b"\x28\xb5\x2f\xfd\x04", "can't be unpacked"),
        ("in.parquet.gz", b"\x1f\x8b\x08\x00", "unknown format '.parquet'"),
        ("in.txt", "Hello".encode("utf-16-le"), "binary"),
    ],
)
def test_a_file_that_is_no_input_at_all_is_refused_at_the_call(
    name: str, data: bytes, problem: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=problem) as caught:
        read_prompts(str(tmp_path / name), max_chars=100, truncate=False)
    assert caught.value.where.startswith(name) and caught.value.problem


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        prompts(tmp_path / "absent.jsonl")
    with pytest.raises(InputError, match="holds no dataset"):
        prompts(tmp_path)
    with pytest.raises(InputError, match="no split 'test' among train, dev"):
        prompts(as_dataset_with_splits(tmp_path).replace(":dev", ":test"))


def test_a_hub_id_streams_and_its_failure_is_readable(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    asked: list[Any] = []

    def load(name: str, split: str, revision: str | None, streaming: bool) -> Any:
        assert revision is None
        asked.append((name, split, streaming))
        if name == "who/absent":
            raise FileNotFoundError("not there")
        return datasets.Dataset.from_list(ROWS).to_iterable_dataset()

    monkeypatch.setattr(datasets, "load_dataset", load)
    assert last_texts(prompts("who/rivers:dev"))[0] == "One river?"
    with pytest.raises(InputError, match="not there"):
        prompts("who/absent")
    assert asked == [("who/rivers", "dev", True), ("who/absent", "train", True)]


def test_parquet_is_read_in_small_batches(tmp_path: Path) -> None:
    table = pa.table({"prompt": [f"p{i}" for i in range(200)]})
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=70)
    assert last_texts(prompts(tmp_path / "in.parquet")) == [f"p{i}" for i in range(200)]


@pytest.mark.parametrize("ending", [".jsonl", ".txt", ".csv", ".json", ".parquet"])
def test_rows_can_be_stepped_over_in_every_format(ending: str, tmp_path: Path) -> None:
    texts = [f"What is {number}?" for number in range(100)]
    path = tmp_path / f"in{ending}"
    rows = [{"prompt": text} for text in texts]
    match ending:
        case ".parquet":
            pq.write_table(pa.Table.from_pylist(rows), path)
        case ".json":
            path.write_text(json.dumps(rows))
        case ".jsonl":
            write_lines(path, *rows)
        case _:
            path.write_text("\n".join((["prompt"] if ending == ".csv" else []) + texts))
    unread = list(open_prompts(str(path), max_chars=1000, truncate=False))
    expected = [prompts(path)[number] for number in (99, 7)]
    assert [unread[number]() for number in (99, 7)] == expected
    assert len(unread) == 100


def test_tool_turns_text_parts_and_a_null_prompt_beside_messages_are_read(tmp_path: Path) -> None:
    call = {"id": "c0", "type": "function", "function": {"name": "times", "arguments": '{"a": 17}'}}
    turns: list[dict[str, Any]] = [
        {"role": "developer", "content": "Be brief.", "tool_calls": None},
        {"role": "user", "content": [{"type": "text", "text": "17 times "}, {"type": "text", "text": "23?"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "391", "tool_call_id": "c0", "tool_calls": []},
        {"role": "user", "content": "So?"},
    ]
    (line,) = prompts(write_lines(tmp_path / "x.jsonl", {"prompt": None, "messages": turns}))
    messages = read(line).item.prompt.messages
    assert [message.role for message in messages] == ["system", "user", "assistant", "tool", "user"]
    assert messages[1].content == "17 times 23?"
    assert messages[2].text == '[calls times with {"a": 17}]'


def test_what_no_place_can_hold_is_refused_by_name_inside_of_parts_and_calls_too(tmp_path: Path) -> None:
    nul = {"role": "user", "content": [{"type": "text", "text": "a\0"}]}
    picture = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}
    call = {"role": "assistant", "tool_calls": [{"id": "1"}]}
    rows = [{"messages": [nul]}, {"messages": [picture]}, {"messages": [call]}, {"prompt": "q", "id": float("nan")}]
    faults = [refused(line) for line in prompts(write_lines(tmp_path / "x.jsonl", *rows))]
    assert [line.reason for line in faults] == ["bad_characters", "bad_prompt", "bad_prompt", "bad_prompt"]
    assert "'image_url'" in faults[1].detail
    assert "tool_calls.0.function" in faults[2].detail


def test_an_answer_that_calls_tools_is_no_text_to_compare(tmp_path: Path) -> None:
    call = {"id": "c0", "function": {"name": "times", "arguments": {}}}
    side = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a", "tool_calls": [call]}]
    file = write_lines(tmp_path / "x.jsonl", {"chosen": side, "rejected": "b"})
    (line,) = read_pairs(str(file), max_chars=100, truncate=False)
    assert "calls tools" in refused(line).detail


@pytest.mark.parametrize(("text", "rows"), [("", 0), ("{}", 1), ("{}\n", 1), ("{}\n{}", 2), ("{}\n{}\n", 2)])
def test_the_last_line_counts_with_and_without_its_end(text: str, rows: int, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text(text)
    request = RunRequest("honesty", str(tmp_path / "in.jsonl"), ("embedded",), "embedded")
    assert sha256_and_rows(request)[1] == rows
