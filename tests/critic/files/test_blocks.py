"""Anthropic's messages: blocks of text, calls of tools and their results, and what the model thought."""

import json
from pathlib import Path
from typing import Any

import pytest

from critic.files.inputs import read_pairs, read_prompts
from critic.records import Line, Quarantined

CALL = {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Oslo"}}
RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "Snow."}]}
THOUGHT = {"type": "thinking", "thinking": "Let me see.", "signature": "x"}


def text(said: str) -> dict[str, str]:
    return {"type": "text", "text": said}


def chat(*more: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"role": "user", "content": [text("Is it cold "), text("in Oslo?")]},
        {"role": "assistant", "content": [THOUGHT, text("I look."), CALL]},
        {"role": "user", "content": [RESULT, *more]},
    ]


def line(row: dict[str, Any], folder: Path, reader: Any = read_prompts) -> Line | Quarantined:
    (folder / "in.jsonl").write_text(json.dumps(row))
    lines: list[Line | Quarantined] = list(reader(str(folder / "in.jsonl"), max_chars=999, truncate=False))
    [only] = lines
    return only


def test_calls_and_results_are_turns_and_thoughts_are_counted(tmp_path: Path) -> None:
    read = line({"system": [text("Be brief.")], "messages": chat(text("And what do I wear?"))}, tmp_path)
    assert isinstance(read, Line), read
    messages = read.item.prompt.messages
    assert [message.role for message in messages] == ["system", "user", "assistant", "tool", "user"]
    assert [message.content for message in messages] == [
        "Be brief.", "Is it cold in Oslo?", "I look.", "Snow.", "And what do I wear?",
    ]  # fmt: skip
    [call] = messages[2].tool_calls or ()
    assert (call.id, call.function.name, json.loads(call.function.arguments)) == ("t1", "weather", {"city": "Oslo"})
    assert messages[3].tool_call_id == "t1" and read.thoughts == 1


def test_an_answer_is_what_was_said(tmp_path: Path) -> None:
    answer = {"role": "assistant", "content": [THOUGHT, text("Very.")]}
    row = {"prompt": [{"role": "user", "content": [text("Cold?")]}], "chosen": [answer], "rejected": "No."}
    read = line(row, tmp_path, read_pairs)
    assert isinstance(read, Line) and read.item.responses[0].text == "Very." and read.thoughts == 1
    calling = row | {"chosen": [{"role": "assistant", "content": [CALL]}]}
    refused = line(calling, tmp_path, read_pairs)
    assert isinstance(refused, Quarantined) and "calls tools" in refused.detail


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([{"type": "image", "source": {}}, text("What is it?")], "'image'"),
        ([CALL | {"name": None}], "tool_use has no name"),
        ([RESULT | {"content": None}, text("So?")], "tool_result holds no content"),
        ([THOUGHT], "Field required"),
    ],
)
def test_what_is_no_text_is_refused_with_its_type(content: Any, words: str, tmp_path: Path) -> None:
    role = "user" if content[0]["type"] in ("image", "tool_result") else "assistant"
    turns = [{"role": role, "content": content}, {"role": "user", "content": "Well?"}]
    refused = line({"messages": turns}, tmp_path)
    assert isinstance(refused, Quarantined) and words in refused.detail, refused


def test_a_system_that_is_no_text_is_no_missing_one(tmp_path: Path) -> None:
    refused = line({"system": {"text": "Be brief."}, "prompt": "Cold?"}, tmp_path)
    assert isinstance(refused, Quarantined) and "system is" in refused.detail
