"""Pairs: the shapes of responses in use, and rows with a better and a worse answer."""

import json
from pathlib import Path
from typing import Any

import pytest

from critic.files.inputs import read_labelled, read_pairs
from critic.records import Line, Quarantined

from .input_rows import CHAT, read, refused, write_lines


def pairs(path: Path, *rows: dict[str, Any], max_chars: int = 100_000) -> list[Line | Quarantined]:
    write_lines(path, *rows)
    return list(read_pairs(str(path), max_chars=max_chars, truncate=False))


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
        ({"prompt": "Hi", "chosen": "a"}, "one_side"),
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


def test_real_judge_sets_are_read_but_for_an_answer_that_is_empty(cai_data: Path) -> None:
    for name, is_whole in (("FairEval", True), ("LLMEval^2", False), ("MT-Bench", True)):
        path = cai_data / "llmbar_dev" / name / "dataset.json"
        rows = json.loads(path.read_text())
        lines = list(read_pairs(str(path), max_chars=10**6, truncate=False))
        if not is_whole:
            assert refused(lines.pop(169)).reason == "empty_answer" and not rows.pop(169)["output_2"].strip()
        expected = [row["output_2"] for row in rows]
        assert [read(line).item.responses[1].text for line in lines] == expected


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
