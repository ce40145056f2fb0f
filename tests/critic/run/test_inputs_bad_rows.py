"""Rows that are broken, too long or no prompt cost only themselves."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from base.errors import InputError
from critic.files.containers.packed import BINARY, MARKS
from critic.records import Quarantined

from .input_rows import CHAT, last_texts, prompts, read, refused, write_lines


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
        ({"prompt": [{"role": "narrator", "content": "Hi"}]}, "role_order", "a turn from 'narrator'; expected user"),
        ({"prompt": [{"role": 7, "content": "Hi"}]}, "role_order", "a turn from '7'"),
        ({"prompt": [{"role": "user", "tool_calls": 7}]}, "bad_prompt", "tool_calls is not a list"),
        ({"prompt": [{"content": "Hi"}]}, "bad_prompt", "role: Field required"),
        ({"prompt": [{"role": "user", "content": "Hi", "audio": "x.wav"}]}, "not_text", "something in audio"),
        ({"prompt": ["Hi"]}, "bad_prompt", "a turn is 'Hi'; expected an object"),
        ({"prompt": 7}, "bad_prompt", "neither a string nor a list"),
        ({"prompt": "Hi", "tags": [1]}, "bad_prompt", "tags"),
        ({"prompt": "Hi", "id": [1]}, "bad_prompt", "id"),
        ({"title": "Hi"}, "no_prompt", "prompt, messages, instruction"),
        ({"prompt": "a\ud800b"}, "bad_characters", "surrogate"),
        ({"prompt": [{"role": "user", "content": "a\udfffb"}]}, "bad_characters", "surrogate"),
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
    monkeypatch.setattr("critic.rows.LINE_BYTES", 10)
    (tmp_path / "in.txt").write_text("x" * 10 + "\n" + "x" * 35 + "\nshort\n" + "x" * 11)
    lines = prompts(tmp_path / "in.txt")
    assert last_texts(lines) == ["x" * 10, "short"]
    assert [(refused(lines[i]).where, refused(lines[i]).reason) for i in (1, 3)] == [
        ("in.txt:2", "too_long"),
        ("in.txt:4", "too_long"),
    ]


ends = st.sampled_from([b"\n", b"\r\n"])

parts = st.one_of(st.binary(max_size=40), st.sampled_from([b'{"prompt": "x"}', b'"x"', b"[]", b"{}", b"\xef\xbb\xbf"]))


@given(st.lists(st.tuples(parts, ends), max_size=12))
def test_any_bytes_give_one_result_for_each_line_or_one_clear_error(
    tmp_path_factory: pytest.TempPathFactory, lines: list[tuple[bytes, bytes]]
) -> None:
    data = b"".join(part + end for part, end in lines)
    assume(not data.startswith(tuple(MARKS)))  # such data is UTF-16, and has other line ends
    path = tmp_path_factory.mktemp("any") / "in.jsonl"
    path.write_bytes(data)
    expected = [n for n, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1) if line.strip()]
    try:
        read = prompts(path)
    except InputError:
        assert not expected or b"\0" in data or data.startswith(BINARY)
        return
    wanted = [f"in.jsonl:{n}" for n in expected]
    assert [line.where for line in read] == wanted
    assert [line.row for line in read] == list(range(len(expected)))
