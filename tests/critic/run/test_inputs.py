"""What a run reads: formats, shapes of a prompt, and rows that cost only themselves."""

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from constitution.errors import InputError
from critic.records import Line, Quarantined
from critic.run.inputs import open_prompts, read_labelled, read_pairs, read_prompts
from critic.run.sources import MAGIC

CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi"},
    {"role": "user", "content": "Name a river."},
]


def prompts(path: Path | str, max_chars: int = 100_000, truncate: bool = False) -> list[Line | Quarantined]:
    return list(read_prompts(str(path), max_chars=max_chars, truncate=truncate))


def pairs(path: Path, *rows: dict[str, Any], max_chars: int = 100_000) -> list[Line | Quarantined]:
    write_lines(path, *rows)
    return list(read_pairs(str(path), max_chars=max_chars, truncate=False))


def write_lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def last_texts(lines: list[Line | Quarantined]) -> list[str]:
    return [line.item.prompt.messages[-1].content for line in lines if isinstance(line, Line)]


def refused(line: Line | Quarantined) -> Quarantined:
    assert isinstance(line, Quarantined), line
    return line


def read(line: Line | Quarantined) -> Line:
    assert isinstance(line, Line), line
    return line


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


def test_a_broken_line_in_the_middle_costs_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'{"prompt": "One"}\n\n{"prompt": \n{"prompt": "Three"}\n')
    first, broken, third = prompts(path)
    assert last_texts([first, third]) == ["One", "Three"]
    assert broken == Quarantined(
        row=1, where="in.jsonl:3", reason="broken_line", detail="not JSON: Expecting value at character 11"
    )
    assert third.row == 2


@pytest.mark.parametrize(
    ("row", "reason", "detail"),
    [
        ({"prompt": [CHAT[2], CHAT[1]]}, "role_order", "chat roles are out of order: assistant, user"),
        ({"prompt": CHAT[:3]}, "role_order", "ending with user"),
        ({"prompt": []}, "empty_prompt", "none"),
        ({"prompt": "  "}, "empty_prompt", "the last user message is empty"),
        ({"prompt": [{"role": "human", "content": "Hi"}]}, "bad_prompt", "role: Input should be 'system', 'user'"),
        ({"prompt": [{"role": "user", "content": "Hi", "name": "x"}]}, "bad_prompt", "name: Extra inputs"),
        ({"prompt": ["Hi"]}, "bad_prompt", "a message needs a role and a content"),
        ({"prompt": 7}, "bad_prompt", "neither a string nor a list"),
        ({"prompt": "Hi", "tags": [1]}, "bad_prompt", "tags"),
        ({"prompt": "Hi", "id": [1]}, "bad_prompt", "id"),
        ({"title": "Hi"}, "no_prompt", "prompt, messages, instruction"),
        ({"prompt": "a\ud800b"}, "bad_characters", "surrogate"),
        ({"prompt": [{"role": "user", "content": "a\udfffb"}]}, "bad_characters", "surrogate"),
        ({"prompt": [{"role": "user", "content": "x", "\ud800": 1}]}, "bad_prompt", "valid string"),
        ({"prompt": "a\0b"}, "bad_characters", "NUL"),
        ({"prompt": "Hi", "tags": "a,\0"}, "bad_characters", "NUL"),
        ({"prompt": "Hi", "id": "\udc00"}, "bad_characters", "surrogate"),
        (7, "broken_line", "an object, a string or a list"),
    ],
)
def test_a_row_that_is_no_prompt_is_named_with_its_reason(
    row: object, reason: str, detail: str, tmp_path: Path
) -> None:
    bad, good = prompts(write_lines(tmp_path / "in.jsonl", row, "Fine"))
    assert refused(bad).reason == reason
    assert detail in refused(bad).detail
    assert last_texts([good]) == ["Fine"]


def test_null_keys_of_messages_are_no_fault(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "in.jsonl", [{"role": "user", "content": "Hi", "tool_calls": None}])
    assert last_texts(prompts(path)) == ["Hi"]


def test_bytes_that_are_not_utf8_cost_only_their_line(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_bytes(b"One\nca\xe9\nThree")
    (tmp_path / "in.csv").write_bytes(b"prompt\nOne\nca\xe9\nThree")
    for name in ("in.txt", "in.csv"):
        lines = prompts(tmp_path / name)
        assert last_texts(lines) == ["One", "Three"]
        assert refused(lines[1]).reason == "not_utf8"


def test_parquet_strings_that_are_not_utf8_cost_only_their_row(tmp_path: Path) -> None:
    raw = pa.array([b"One", b"ca\xe9", b"Three"], pa.binary())
    column = pa.StringArray.from_buffers(3, raw.buffers()[1], raw.buffers()[2])
    pq.write_table(pa.table({"prompt": column}), tmp_path / "in.parquet")
    lines = prompts(tmp_path / "in.parquet")
    assert last_texts(lines) == ["One", "Three"]
    assert (refused(lines[1]).reason, lines[1].where) == ("not_utf8", "in.parquet:row 1")


def test_csv_goes_on_after_a_quote_that_is_never_closed(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text('prompt,id\n"open,1\nTwo,2\n"Three",3\nFour,4,5\nFive,5\n')
    lines = prompts(tmp_path / "in.csv")
    assert last_texts(lines) == ["Two", "Three", "Five"]
    assert [(refused(lines[i]).where, refused(lines[i]).reason) for i in (0, 3)] == [
        ("in.csv:2", "broken_line"),
        ("in.csv:5", "broken_line"),
    ]


def test_csv_cells_hold_chats_as_json(tmp_path: Path) -> None:
    cell = json.dumps(CHAT).replace('"', '""')
    (tmp_path / "in.csv").write_text(f'messages\n"{cell}"\n[broken\n')
    good, bad = prompts(tmp_path / "in.csv")
    assert last_texts([good]) == ["Name a river."] and refused(bad).reason == "broken_line"


def test_a_long_prompt_is_quarantined_unless_cutting_was_asked_for(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "in.jsonl", CHAT, "x" * 1_000_000, "y")
    first, long, short = prompts(path, max_chars=20)
    assert refused(first).reason == refused(long).reason == "too_long"
    assert "1,000,000 characters; the limit is 20" in refused(long).detail
    assert read(short).cut == 0

    first, long, short = [read(line) for line in prompts(path, max_chars=20, truncate=True)]
    # 9 + 5 + 2 characters of earlier turns leave 4 for "Name a river." (13).
    assert [m.content for m in first.item.prompt.messages] == ["Be brief.", "Hello", "Hi", "Name"]
    assert (first.cut, long.cut, short.cut) == (9, 999_980, 0)
    assert len(long.item.prompt.messages[0].content) == 20


def test_cutting_never_empties_the_last_message_or_touches_earlier_turns(tmp_path: Path) -> None:
    (line,) = prompts(write_lines(tmp_path / "in.jsonl", CHAT), max_chars=16, truncate=True)
    assert refused(line).reason == "too_long" and "can't reach it" in refused(line).detail


def test_a_line_of_one_megabyte_is_read(tmp_path: Path) -> None:
    (line,) = prompts(write_lines(tmp_path / "in.jsonl", "é" * 500_000), max_chars=500_000)
    assert len(last_texts([line])[0]) == 500_000


def test_a_line_beyond_all_measure_is_refused_and_the_next_one_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("critic.run.sources.LINE_BYTES", 10)
    (tmp_path / "in.txt").write_text("x" * 10 + "\n" + "x" * 35 + "\nshort\n" + "x" * 11)
    lines = prompts(tmp_path / "in.txt")
    assert last_texts(lines) == ["x" * 10, "short"]
    assert [(refused(lines[i]).where, refused(lines[i]).reason) for i in (1, 3)] == [
        ("in.txt:2", "too_long"),
        ("in.txt:4", "too_long"),
    ]


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
        ("in.csv", b"title,body\na,b\n", "none of the columns"),
        ("in.csv", b'"title\n', "header"),
        ("in.parquet", b"PAR1 and no more", "not a Parquet file"),
        ("in.xlsx", b"PK\x03\x04", "unknown format '.xlsx'"),
        ("in", b"hello", "unknown format ''"),
        ("in.jsonl", b"\x1f\x8b\x08\x00", "binary"),
        ("in.txt", "Hello".encode("utf-16"), "binary"),
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

    def load(name: str, split: str, streaming: bool) -> Any:
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


ASSISTANT = [{"role": "assistant", "content": "The Nile"}, {"role": "assistant", "content": "The Po"}]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": CHAT, "responses": ["The Nile", "The Po"]},
        {"prompt": CHAT, "responses": ASSISTANT},
        {"prompt": CHAT, "responses": [[ASSISTANT[0]], [ASSISTANT[1]]]},
        {"prompt": CHAT, "chosen": "The Nile", "rejected": "The Po"},
        {"prompt": CHAT, "chosen": [ASSISTANT[0]], "rejected": [ASSISTANT[1]]},
        {"chosen": [*CHAT, ASSISTANT[0]], "rejected": [*CHAT, ASSISTANT[1]]},
        {"prompt": CHAT, "chosen": [*CHAT, ASSISTANT[0]], "rejected": [*CHAT, ASSISTANT[1]]},
        {"messages": CHAT, "output_1": "The Nile", "output_2": "The Po"},
    ],
)
def test_responses_come_in_the_shapes_in_use(row: dict[str, Any], tmp_path: Path) -> None:
    (line,) = pairs(tmp_path / "in.jsonl", row)
    item = read(line).item
    assert [m.model_dump() for m in item.prompt.messages] == CHAT
    assert [(r.text, r.model, r.finish) for r in item.responses] == [
        ("The Nile", "given", "given"),
        ("The Po", "given", "given"),
    ]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": "Hi"}, "no_responses"),
        ({"prompt": "Hi", "chosen": "a"}, "no_responses"),
        ({"prompt": "Hi", "responses": []}, "too_few_responses"),
        ({"prompt": "Hi", "responses": ["a"]}, "too_few_responses"),
        ({"prompt": "Hi", "responses": "a"}, "broken_line"),
        ({"prompt": "Hi", "responses": {"a": 1}}, "bad_responses"),
        ({"prompt": "Hi", "responses": ["a", 7]}, "bad_responses"),
        ({"prompt": "Hi", "responses": ["a", {"role": "user", "content": "b"}]}, "bad_responses"),
        ({"prompt": "Hi", "responses": ["a", "b\ud800"]}, "bad_characters"),
        ({"prompt": "Hi", "responses": ["a", "b" * 101]}, "too_long"),
        ({"responses": ["a", "b"]}, "no_prompt"),
        ({"chosen": [*CHAT, ASSISTANT[0]], "rejected": [*CHAT[1:], ASSISTANT[1]]}, "no_shared_prompt"),
        ({"chosen": [*CHAT, ASSISTANT[0]], "rejected": "The Po"}, "no_shared_prompt"),
        ({"prompt": "Hi", "chosen": [*CHAT, ASSISTANT[0]], "rejected": [*CHAT, ASSISTANT[1]]}, "no_shared_prompt"),
    ],
)
def test_rows_without_two_responses_to_one_prompt_are_named(row: dict[str, Any], reason: str, tmp_path: Path) -> None:
    (line,) = pairs(tmp_path / "in.jsonl", row, max_chars=100)
    assert refused(line).reason == reason


def test_equal_responses_are_left_to_the_pipeline(tmp_path: Path) -> None:
    (line,) = pairs(tmp_path / "in.jsonl", {"prompt": "Hi", "responses": ["same", "same", ""]})
    assert [r.text for r in read(line).item.responses] == ["same", "same", ""]


def test_real_judge_sets_are_read_whole(cai_data: Path) -> None:
    for name in ("FairEval", "LLMEval^2", "MT-Bench"):
        path = cai_data / "llmbar_dev" / name / "dataset.json"
        rows = json.loads(path.read_text())
        lines = [read(line) for line in read_pairs(str(path), max_chars=10**6, truncate=False)]
        assert [line.item.responses[1].text for line in lines] == [row["output_2"] for row in rows]


ends = st.sampled_from([b"\n", b"\r\n"])
parts = st.one_of(st.binary(max_size=40), st.sampled_from([b'{"prompt": "x"}', b'"x"', b"[]", b"{}", b"\xef\xbb\xbf"]))


@given(st.lists(st.tuples(parts, ends), max_size=12))
def test_any_bytes_give_one_result_for_each_line_or_one_clear_error(
    tmp_path_factory: pytest.TempPathFactory, lines: list[tuple[bytes, bytes]]
) -> None:
    data = b"".join(part + end for part, end in lines)
    path = tmp_path_factory.mktemp("any") / "in.jsonl"
    path.write_bytes(data)
    expected = [n for n, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1) if line.strip()]
    try:
        found = prompts(path)
    except InputError:
        assert not expected or b"\0" in data or data.startswith(MAGIC)
        return
    assert [line.where for line in found] == [f"in.jsonl:{n}" for n in expected]
    assert [line.row for line in found] == list(range(len(expected)))


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
    assert [unread[number]() for number in (99, 7)] == [prompts(path)[number] for number in (99, 7)]
    assert len(unread) == 100


def test_labelled_rows_need_a_better_and_a_worse_answer(tmp_path: Path) -> None:
    file = tmp_path / "labelled.jsonl"
    rows = [
        {"prompt": "Why?", "chosen": "Because.", "rejected": "No."},
        {"prompt": "Why?", "responses": ["a", "b"]},
        {"prompt": "Why?", "chosen": "same", "rejected": "same"},
        {"prompt": "Why?", "responses": ["x", "y", "z"], "chosen": "a", "rejected": "b"},
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    good, unlabelled, equal, both = list(read_labelled(str(file), max_chars=100))
    assert isinstance(good, Line) and [r.text for r in good.item.responses] == ["Because.", "No."]
    assert isinstance(unlabelled, Quarantined) and unlabelled.reason == "no_label"
    assert isinstance(equal, Quarantined) and equal.reason == "equal_sides"
    assert isinstance(both, Line) and [r.text for r in both.item.responses] == ["a", "b"]
