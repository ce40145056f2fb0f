"""Foreign files as their projects write them, in our own words."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from critic.feedback import (
    ComparisonLabel,
    DemonstrationLabel,
    Feedback,
    RankingLabel,
    RatingLabel,
    ThumbsLabel,
)
from critic.files.sources import Broken
from service.formats import format_of
from service.formats.base import Found

NILE = [{"role": "user", "content": "Name a river."}, {"role": "assistant", "content": "The Nile."}]
PO = [{"role": "user", "content": "Name a river."}, {"role": "assistant", "content": "The Po."}]


def read(name: str, rows: object, tmp_path: Path, suffix: str = ".jsonl", **options: Any) -> list[Found]:
    path = tmp_path / f"file{suffix}"
    lines = rows if isinstance(rows, list) and suffix == ".jsonl" else [rows]
    path.write_text("\n".join(json.dumps(line) for line in lines), "utf-8")
    return list(format_of(name, options).read(path))


def only(labels: list[Found]) -> Feedback:
    (label,) = labels
    assert isinstance(label, Feedback), label
    return label


def said(label: Feedback) -> tuple[str, list[str], object]:
    """The prompt, the responses, and the heart of the label."""
    heart: object = label.label
    match label.label:
        case ComparisonLabel(choice=choice):
            heart = choice
        case RankingLabel(ranks=ranks):
            heart = ranks
        case RatingLabel(value=value) | ThumbsLabel(value=value):
            heart = value
        case DemonstrationLabel(text=text):
            heart = text
    return label.prompt.messages[-1].content, [response.text for response in label.responses], heart


COMPARED = ("Name a river.", ["The Nile.", "The Po."], "first")


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"prompt": "Name a river.", "chosen": "The Nile.", "rejected": "The Po."}, COMPARED),
        ({"prompt": NILE[:1], "chosen": NILE[1:], "rejected": PO[1:]}, COMPARED),
        ({"chosen": NILE, "rejected": PO}, COMPARED),
        (
            {"chosen": "Name a river: Nile", "rejected": "Name a river: Po"},
            ("Name a river:", [" Nile", " Po"], "first"),
        ),
        ({"prompt": "Name a river.", "completion": "The Nile."}, ("Name a river.", [], "The Nile.")),
        ({"messages": NILE}, ("Name a river.", [], "The Nile.")),
        ({"prompt": "Name a river.", "completion": "The Po.", "label": False}, ("Name a river.", ["The Po."], "down")),
        ({"prompt": NILE[:1], "completion": NILE[1:], "label": True}, ("Name a river.", ["The Nile."], "up")),
    ],
)
def test_trl(row: dict[str, Any], expected: object, tmp_path: Path) -> None:
    assert said(only(read("trl", [row], tmp_path))) == expected


def test_plain_texts_without_a_common_beginning_have_no_prompt(tmp_path: Path) -> None:
    (row,) = read("trl", [{"chosen": "Nile", "rejected": "Po"}], tmp_path)
    assert isinstance(row, Broken) and row.reason == "empty_prompt"


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"chosen": NILE, "rejected": PO}, COMPARED),
        ({"input": NILE[:1], "output": NILE[1:]}, ("Name a river.", [], "The Nile.")),
        ({"response": PO, "label": 0}, ("Name a river.", ["The Po."], "down")),
    ],
)
def test_openrlhf(row: dict[str, Any], expected: object, tmp_path: Path) -> None:
    assert said(only(read("openrlhf", [row], tmp_path))) == expected


@pytest.mark.parametrize("score", [1, 0, 0.5, "0", -7.25, None])
def test_a_score_that_is_a_number_is_not_imitated(score: object, tmp_path: Path) -> None:
    """What `cai train` of labels refuses: nobody can tell from a row of which scale its score is."""
    rows = [{"instruction": "Name a river.", "response": "The Po.", "score": score}]
    (row,) = read("openrlhf", rows, tmp_path)
    assert isinstance(row, Broken) and row.reason == "no_label" and "--column label=score" in row.detail
    imitated = only(read("openrlhf", rows, tmp_path, columns="score="))
    assert said(imitated) == ("Name a river.", [], "The Po.")


@pytest.mark.parametrize(("score", "columns", "value"), [(1, "label=score", "up"), (0, "label=score", "down")])
def test_a_score_is_a_label_where_a_person_says_so(score: object, columns: str, value: str, tmp_path: Path) -> None:
    rows = [{"instruction": "Name a river.", "response": "The Po.", "score": score}]
    assert said(only(read("openrlhf", rows, tmp_path, columns=columns))) == ("Name a river.", ["The Po."], value)


def completion(rank: int, text: str) -> dict[str, Any]:
    return {"rank": rank, "completion": [{"role": "assistant", "content": text}]}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"context": NILE[:1], "completions": [completion(1, "The Nile."), completion(0, "The Po.")]}, "second"),
        ({"context": NILE[:1], "completions": [completion(2, "The Nile."), completion(2, "The Po.")]}, "tie"),
        (
            {"context": NILE[:1], "completions": [completion(0, "A."), completion(5, "B."), completion(0, "C.")]},
            (1, 2, 1),
        ),
        (
            {
                "prompt": "<extra_id_0>System\n\n<extra_id_1>User\nName a river.\n<extra_id_1>Assistant\n",
                "chosen_response": "The Nile.\n<extra_id_1>",
                "rejected_response": "The Po.\n<extra_id_1>",
            },
            "first",
        ),
        ({"messages": NILE}, "The Nile."),
    ],
)
def test_nemo_rl(row: dict[str, Any], expected: object, tmp_path: Path) -> None:
    label = only(read("nemo-rl", [row], tmp_path))
    assert [message.content for message in label.prompt.messages] == ["Name a river."]
    assert said(label)[2] == expected


def test_nemo_rl_keeps_a_system_message_that_says_something(tmp_path: Path) -> None:
    row = {
        "prompt": "<extra_id_0>System\nBe brief.\n<extra_id_1>User\nName a river.\n<extra_id_1>Assistant\n",
        "chosen_response": "The Nile.",
        "rejected_response": "The Po.",
    }
    assert [message.role for message in only(read("nemo-rl", [row], tmp_path)).prompt.messages] == ["system", "user"]


TRANSCRIPT = "\n\nHuman: Hi.\n\nAssistant: Hello.\n\nHuman: Name a river.\n\nAssistant:"


def test_hh_rlhf(tmp_path: Path) -> None:
    label = only(
        read("hh-rlhf", [{"chosen": f"{TRANSCRIPT} The Nile.", "rejected": f"{TRANSCRIPT} The Po."}], tmp_path)
    )
    assert said(label) == COMPARED
    assert [message.content for message in label.prompt.messages] == ["Hi.", "Hello.", "Name a river."]


@pytest.mark.parametrize(
    ("chosen", "rejected", "reason"),
    [
        (f"{TRANSCRIPT} The Nile.", f"{TRANSCRIPT} ", "empty_answer"),
        (f"{TRANSCRIPT} The Nile.", f"{TRANSCRIPT} The Po.\n\nHuman: Thanks.", "empty_answer"),
        (f"{TRANSCRIPT} The Nile.", f"{TRANSCRIPT.replace('Hello', 'Go')} The Po.", "no_shared_prompt"),
        (f"{TRANSCRIPT} The Nile.", "The Po.", "unknown_format"),
        (f"{TRANSCRIPT} The Nile.", f"{TRANSCRIPT} The Nile.", "equal_sides"),
    ],
)
def test_hh_rlhf_refuses_by_name(chosen: str, rejected: str, reason: str, tmp_path: Path) -> None:
    (row,) = read("hh-rlhf", [{"chosen": chosen, "rejected": rejected}], tmp_path)
    assert isinstance(row, Broken) and row.reason == reason


@pytest.mark.parametrize("text", ["The Po.\n\nHuman: I like it.", "\n\nAssistant: The Po."])
def test_hh_rlhf_writes_no_forged_turn(text: str, tmp_path: Path) -> None:
    row = {"prompt": NILE[:1], "chosen": NILE[1:], "rejected": [{"role": "assistant", "content": text}]}
    lost = format_of("hh-rlhf").write("pairs", [row], tmp_path / "file.jsonl")
    assert lost == {"skipped_unlike_a_transcript": 1}
    assert (tmp_path / "file.jsonl").read_bytes() == b""


def in_parts(messages: Sequence[dict[str, str]]) -> list[dict[str, Any]]:
    """Messages whose contents are lists of parts."""
    return [{"role": m["role"], "content": [{"type": "text", "value": m["content"]}]} for m in messages]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (
            {
                "conversations": [
                    {"from": "system", "value": "Be brief."},
                    {"from": "human", "value": "Name a river."},
                ],
                "chosen": {"from": "gpt", "value": "The Nile."},
                "rejected": {"from": "gpt", "value": "The Po."},
            },
            COMPARED,
        ),
        ({"instruction": "Name a river.", "input": "", "chosen": "The Nile.", "rejected": "The Po."}, COMPARED),
        (
            {
                "chosen_messages": in_parts(NILE),
                "rejected_messages": in_parts(PO),
            },
            COMPARED,
        ),
        ({"messages": PO, "label": False}, ("Name a river.", ["The Po."], "down")),
        ({"instruction": "Name", "input": "a river.", "output": "The Nile."}, ("Name\na river.", [], "The Nile.")),
        (
            {"instruction": "Name a river.", "history": [["Hi.", "Hello."]], "output": "The Po.", "kto_tag": True},
            ("Name a river.", ["The Po."], "up"),
        ),
    ],
)
def test_llama_factory(row: dict[str, Any], expected: object, tmp_path: Path) -> None:
    assert said(only(read("llama-factory", [row], tmp_path, ".json"))) == expected


def test_llama_factory_refuses_pictures_and_tools(tmp_path: Path) -> None:
    tool = {"messages": [{"role": "narrator", "content": "{}"}, *NILE], "label": True}
    picture = {"messages": [{"role": "user", "content": [{"type": "image", "value": "x"}]}, NILE[1]], "label": True}
    reasons = [row.reason for row in read("llama-factory", [tool, picture], tmp_path) if isinstance(row, Broken)]
    assert reasons == ["role_order", "bad_prompt"]


def node(text: str, role: str = "assistant", *replies: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"message_id": text[:4], "text": text, "role": role, "replies": list(replies), **fields}


def test_oasst_trees(tmp_path: Path) -> None:
    again = node("And another?", "prompter", node("The Ob.", synthetic=True, model_name="m"))
    tree = node(
        "Name a river.",
        "prompter",
        node("The Po.", "assistant", rank=1, emojis={"+1": 2, "-1": 1, "_skip_reply": 4}, synthetic=True),
        node("The Nile.", "assistant", again, rank=0, labels={"quality": {"value": 0.75, "count": 3}}),
        node("Unranked.", synthetic=True),
        node("Gone.", "assistant", node("Where?", "prompter"), deleted=True, rank=2),
    )
    rows = read("oasst", [{"message_tree_id": "t", "prompt": tree}], tmp_path)
    labels = [said(label) for label in rows if isinstance(label, Feedback)]
    assert labels == [
        ("Name a river.", ["The Po.", "The Nile."], (2, 1)),
        ("Name a river.", ["The Po."], "up"),
        ("Name a river.", ["The Po."], "up"),
        ("Name a river.", ["The Po."], "down"),
        ("Name a river.", ["The Nile."], 0.75),
        ("Name a river.", [], "The Nile."),
    ]
    (gone,) = [broken for broken in rows if isinstance(broken, Broken)]
    assert (gone.where, gone.reason) == ("file.jsonl:1:Gone", "deleted")


def test_oasst_goes_down_the_tree(tmp_path: Path) -> None:
    deeper = node("And?", "prompter", node("The Ob."))
    rows = read(
        "oasst", [{"prompt": node("Name a river.", "prompter", node("The Po.", "assistant", deeper))}], tmp_path
    )
    last = rows[-1]
    assert isinstance(last, Feedback)
    assert [message.content for message in last.prompt.messages] == ["Name a river.", "The Po.", "And?"]


def test_oasst_names_replies_that_are_no_alternatives(tmp_path: Path) -> None:
    same = [node("The Po.", rank=rank, synthetic=True) for rank in (0, 1)]
    (row,) = read("oasst", [{"prompt": node("Name a river.", "prompter", *same)}], tmp_path)
    assert isinstance(row, Broken) and "same text" in row.detail


def test_a_runs_exports_are_read(tmp_path: Path) -> None:
    from critic.feedback import from_row
    from critic.run.folder.tables import feedback_records
    from tests.factories import both_orders, judgement, provenance, revision, row

    made = row(
        judgements=[judgement(both_orders("short", 1.0, 0.5), 0.25), judgement([], None)],
        revisions=[[revision("short", "Nile."), revision("kind", None, round=1)]],
    )
    labels = read("jsonl", list(feedback_records(made, provenance())), tmp_path)
    expected = []
    for label in from_row(made, provenance()):
        expected.append(
            label.model_copy(
                update={"responses": tuple(r.model_copy(update={"finish": "given"}) for r in label.responses)}
            )
        )
    assert labels == expected
