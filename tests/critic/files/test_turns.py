"""Turns of chats as files have them: names, roles, older calls, and what is left out of them."""

from pathlib import Path
from typing import Any

import pytest

from critic.files.inputs import read_pairs
from critic.records import Line
from tests.critic.run.input_rows import CHAT, prompts, write_lines
from trainers.batches.data import read
from trainers.batches.examples import Demonstration


@pytest.mark.parametrize(
    ("turns", "read"),
    [
        ([{"role": "Human", "content": "Hi"}], ("user", "Hi")),
        ([{"from": "human", "value": "Hi"}], ("user", "Hi")),
        ([{"role": "prompter", "value": "Hi"}], ("user", "Hi")),
        ([{"role": "user", "content": "Hi", "name": "Kim", "lang": "en", "\ud800": 1}], ("user", "Hi")),
    ],
)
def test_turns_are_read_by_any_of_their_names(turns: list[Any], read: tuple[str, str], tmp_path: Path) -> None:
    (line,) = prompts(write_lines(tmp_path / "in.jsonl", {"messages": turns}))
    assert isinstance(line, Line)
    assert [(message.role, message.content) for message in line.item.prompt.messages] == [read]


def test_a_call_of_the_older_form_is_a_tool_call(tmp_path: Path) -> None:
    call = {"role": "assistant", "content": None, "function_call": {"name": "add", "arguments": "{}"}}
    chat = [CHAT[1], call, {"role": "function", "name": "add", "content": "4"}, {"role": "user", "content": "So?"}]
    (line,) = prompts(write_lines(tmp_path / "in.jsonl", {"messages": chat}))
    assert isinstance(line, Line)
    called, result = line.item.prompt.messages[1:3]
    assert called.text == "[calls add with {}]" and (result.role, result.name, result.content) == ("tool", "add", "4")


def test_thoughts_in_a_chat_are_left_out_and_counted(tmp_path: Path) -> None:
    thinks = {"role": "assistant", "content": "Hello.", "reasoning_content": "They greet me."}
    chat = [CHAT[1], thinks, {"role": "user", "content": "So?"}]
    earlier, sides, shared, last = (
        {"messages": chat},
        {"prompt": "Hi", "responses": [[thinks], "Bye."]},
        {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Yes.", "thinking": "Is it?"}]},
        {"messages": chat[:2]},
    )
    lines = [*prompts(write_lines(tmp_path / "in.jsonl", earlier, shared, last))]
    lines += read_pairs(str(write_lines(tmp_path / "pairs.jsonl", sides)), max_chars=1000, truncate=False)
    # An answer that nobody asked for is left off whole.
    assert [(line.thoughts, line.left_off) for line in lines if isinstance(line, Line)] == [
        (1, 0),
        (0, 1),
        (0, 1),
        (1, 0),
    ]


def test_trainers_count_them_by_rows(tmp_path: Path) -> None:
    answer = {"role": "assistant", "content": "Yes.", "reasoning": "Is it?"}
    rows = [{"prompt": "Hi", "completion": [answer]}, {"prompt": "So?", "completion": "Yes."}]
    data = read(str(write_lines(tmp_path / "in.jsonl", *rows)), (Demonstration,))
    assert [example.answers for example in data.examples] == [("Yes.",), ("Yes.",)] and data.thoughts == 1
