"""Labels of foreign files that must not change, vanish or be made up: empty ones, whole numbers, parts."""

import json
from pathlib import Path
from typing import Any

import pytest

from critic.feedback import ComparisonLabel, Feedback
from critic.files.sources import Broken
from service.formats import format_of
from service.formats.base import Found
from tests.feedback_samples import feedback

ASK = "Name a tree."
CHAT = [{"role": "user", "content": ASK}, {"role": "assistant", "content": "An oak."}]


def read(name: str, rows: list[Any], tmp_path: Path, **options: Any) -> list[Found]:
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return list(format_of(name, options).read(path))


def reasons(rows: list[Found]) -> list[str]:
    return [row.reason for row in rows if isinstance(row, Broken)]


def tree(rank: Any, thumbs: Any, quality: Any) -> dict[str, Any]:
    replies = [
        {
            "message_id": f"m{place}",
            "role": "assistant",
            "text": text,
            "rank": own,
            "synthetic": True,
            "emojis": {"+1": thumbs} if place == 0 else {},
            "labels": {"quality": {"value": quality}} if place == 0 else {},
        }
        for place, (text, own) in enumerate((("An oak.", rank(0)), ("A tulip.", rank(1))))
    ]
    return {"prompt": {"message_id": "m", "role": "prompter", "text": ASK, "replies": replies}}


@pytest.mark.parametrize("number", [int, float])
def test_oassts_numbers_are_whole_however_they_are_written(number: Any, tmp_path: Path) -> None:
    rows = read("oasst", [tree(number, number(3), number(1))], tmp_path)
    assert all(isinstance(row, Feedback) for row in rows)
    assert [row.kind for row in rows if isinstance(row, Feedback)] == ["ranking", *["thumbs"] * 3, "rating"]


def test_oassts_numbers_that_are_none_are_named_and_cost_themselves(tmp_path: Path) -> None:
    rows = read("oasst", [tree(lambda place: place + 0.5, 1001, 7)], tmp_path)
    assert reasons(rows) == ["bad_label", "bad_label", "bad_label", "bad_rating"]
    details = " ".join(row.detail for row in rows if isinstance(row, Broken))
    assert "rank is 0.5" in details and "1,001 times +1" in details and "7" in details
    rows = read("oasst", [tree(lambda place: None, -1, None)], tmp_path)
    assert reasons(rows) == ["bad_label"] and "-1 times" in str(rows)


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("jsonl", {"prompt": ASK, "completion": "An oak.", "label": None}),
        ("jsonl", {"prompt": ASK, "completion": "An oak.", "rating": None, "scale": [1, 5]}),
        ("jsonl", {"kind": "thumbs", "label": None}),
        ("trl", {"prompt": ASK, "completion": "An oak.", "label": None}),
        ("openrlhf", {"response": CHAT, "label": None}),
        ("llama-factory", {"instruction": ASK, "output": "An oak.", "kto_tag": None}),
        ("llama-factory", {"instruction": ASK, "output": "An oak.", "label": None}),
    ],
)  # fmt: skip
def test_an_empty_label_makes_no_demonstration(name: str, row: dict[str, Any], tmp_path: Path) -> None:
    assert reasons(read(name, [row], tmp_path)) == ["no_label"]


def test_an_empty_cell_of_a_table_is_such_a_label(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(f"prompt;completion;label\n{ASK};An oak.;\n{ASK};An elm.;False\n")
    empty, down = format_of("jsonl").read(tmp_path / "in.csv")
    assert isinstance(empty, Broken) and empty.reason == "no_label"
    assert isinstance(down, Feedback) and down.label.model_dump()["value"] == "down"


def turn(part: dict[str, Any]) -> dict[str, Any]:
    question = {"role": "user", "content": [{"type": "text"} | part]}
    sides = {side: {"role": "assistant", "content": side} for side in ("chosen", "rejected")}
    return {"messages": [question], **sides}


@pytest.mark.parametrize("name", ["llama-factory", "jsonl"])
def test_texts_of_parts_are_read_and_missing_ones_are_no_empty_ones(name: str, tmp_path: Path) -> None:
    good, other, bad = read(name, [turn({"text": ASK}), turn({"value": ASK}), turn({"txet": ASK})], tmp_path)
    for label in (good, other):
        assert isinstance(label, Feedback) and label.prompt.messages[0].content == ASK
    assert isinstance(bad, Broken) and bad.reason == "bad_prompt"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"kind": "critique", "prompt": [], "responses": ["a"], "outcome": "critique"}, "unknown_format"),
        ({"kind": "correction", "prompt": [], "responses": ["a"]}, "bad_responses"),
    ],
)
def test_a_run_export_without_its_text_is_refused(row: dict[str, Any], reason: str, tmp_path: Path) -> None:
    assert reasons(read("jsonl", [row], tmp_path)) == [reason]


def test_a_foreign_source_is_no_origin(tmp_path: Path) -> None:
    row = {"prompt": ASK, "chosen": "An oak.", "rejected": "A tulip.", "source": "a forum"}
    (label,) = read(
        "jsonl",
        [
            row,
        ],
        tmp_path,
    )
    assert isinstance(label, Feedback) and label.source == "human"
    (label,) = read("jsonl", [row | {"source": "ai"}], tmp_path)
    assert isinstance(label, Feedback) and label.source == "ai"


def test_columns_of_other_names_are_mapped(tmp_path: Path) -> None:
    row = {"q": ASK, "good": "An oak.", "bad": "A tulip."}
    (label,) = read("trl", [row], tmp_path, columns="prompt=q,chosen=good,rejected=bad")
    assert isinstance(label, Feedback) and [one.text for one in label.responses] == ["An oak.", "A tulip."]


def test_whatever_a_row_holds_it_costs_itself_only(tmp_path: Path) -> None:
    deep: Any = []
    for _ in range(400):
        deep = [deep]
    rows = [{"prompt": ASK, "chosen": deep, "rejected": "b"}, {"prompt": ASK, "chosen": "a", "rejected": "b"}]
    bad, good = read("jsonl", rows, tmp_path)
    assert isinstance(bad, Broken) and isinstance(good, Feedback)


@pytest.mark.parametrize(("winner", "kind"), [("tie (bothbad)", "both_bad"), ("both_bad", "both_bad"), ("tie", None)])
def test_an_arenas_tie_says_that_both_are_bad(winner: str, kind: str | None, tmp_path: Path) -> None:
    row = {"prompt": ASK, "response_a": "A tulip.", "response_b": "A rose.", "winner": winner}
    (label,) = read("jsonl", [row], tmp_path)
    assert isinstance(label, Feedback) and isinstance(label.label, ComparisonLabel)
    assert (label.label.choice, label.label.tie_kind) == ("tie", kind)


@pytest.mark.parametrize("said", [5, ["kind"], [{"principle": "kind"}], [{"principle": "kind", "choice": "best"}]])
def test_choices_by_principle_that_are_none_are_refused(said: object, tmp_path: Path) -> None:
    row = {"prompt": ASK, "chosen": "An oak.", "rejected": "A tulip.", "by_principle": said}
    (reason,) = reasons(read("jsonl", [row], tmp_path))
    assert reason in ("bad_by_principle", "bad_row")


THINKS = {"role": "assistant", "content": "An oak.", "reasoning_content": "Which do I know?"}
ASKED, ELM = {"role": "user", "content": ASK}, {"role": "assistant", "content": "An elm."}
THOUGHTFUL: dict[str, Any] = {
    "trl": {"prompt": [ASKED], "chosen": [THINKS], "rejected": [ELM]},
    "openrlhf": {"prompt": [ASKED], "chosen": [THINKS], "rejected": [ELM]},
    "axolotl": {"messages": [ASKED, THINKS]},
    "jsonl": {"messages": [ASKED, THINKS]},
    "llama-factory": {"chosen_messages": [ASKED, THINKS], "rejected_messages": [ASKED, ELM]},
    "nemo-rl": {
        "context": [ASKED],
        "completions": [{"rank": 0, "completion": [THINKS]}, {"rank": 1, "completion": [ELM]}],
    },
}


@pytest.mark.parametrize("name", THOUGHTFUL)
def test_thoughts_that_a_label_has_no_place_for_are_counted(name: str, tmp_path: Path) -> None:
    row = THOUGHTFUL[name]
    plain = json.loads(json.dumps(row).replace("reasoning_content", "date"))
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in (row, plain, row, {"prompt": 3} | row | {"prompt": 3})))
    reading = format_of(name).read(path)
    labels = list(reading)
    assert sum(isinstance(one, Feedback) for one in labels) >= 3
    assert reading.thoughts == sum(isinstance(one, Feedback) for one in labels) - 1, "refused rows are named anyway"


def test_thoughts_that_a_label_keeps_are_not_counted(tmp_path: Path) -> None:
    label = feedback("thumbs", {"value": "up"}, texts=["An oak."])
    kept = label.model_copy(update={"responses": (label.responses[0].model_copy(update={"reasoning": "Hm."}),)})
    (tmp_path / "in.jsonl").write_text(kept.model_dump_json() + "\n")
    reading = format_of("jsonl").read(tmp_path / "in.jsonl")
    [back] = reading
    assert isinstance(back, Feedback) and back.responses[0].reasoning == "Hm." and reading.thoughts == 0
