"""Each shape that rows have in this field, read by every command: what it is there, or why it is refused.

A case names a row (or several), and for each command what comes of it: of ``generate`` the prompt, of ``judge`` the
responses, of ``evaluate`` the better and the worse answer, of the trainers their examples, of ``import`` the labels.
A refusal is its reason.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from constitution.errors import InputError
from critic.feedback import ComparisonLabel, DemonstrationLabel, Feedback, RankingLabel, RatingLabel, ThumbsLabel
from critic.files.shapes import SHAPES
from critic.records import Line, Quarantined
from critic.run.inputs import read_labelled, read_pairs, read_prompts
from critic.run.sources import Broken
from service.formats import format_of
from trainers.data import read
from trainers.examples import Demonstration, Example, Pair, Ranked, Rated

ASK = "Which bird can't fly?"
EMU, ROBIN, KIWI = "The emu.", "A robin.", "The kiwi."


def user(text: str = ASK) -> dict[str, Any]:
    return {"role": "user", "content": text}


def says(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def human(text: str = ASK) -> dict[str, Any]:
    return {"from": "human", "value": text}


def gpt(text: str) -> dict[str, Any]:
    return {"from": "gpt", "value": text}


def transcript(*turns: str, end: str = "\n\n") -> str:
    names = ("Human", "Assistant")
    return "".join(f"{end}{names[place % 2]}: {turn}" for place, turn in enumerate(turns))


@dataclass(frozen=True)
class Case:
    """``rows`` of a file, and what each command makes of them; None where it takes none of them."""

    name: str
    rows: list[dict[str, Any]]
    generate: list[str]
    judge: list[Any]
    evaluate: list[Any]
    dpo: list[Any]
    reward: list[Any]
    sft: list[Any]
    labels: list[Any]


TWO = [[EMU, ROBIN]]
COMPARED = [("comparison", "first", EMU, ROBIN)]


def compared(name: str, row: dict[str, Any], **other: Any) -> Case:
    """A row with a better and a worse answer: the emu is right."""
    given: dict[str, Any] = {
        "generate": [ASK],
        "judge": TWO,
        "evaluate": TWO,
        "dpo": [("Pair", EMU, ROBIN)],
        "reward": [("Pair", EMU, ROBIN)],
        "sft": ["other_kind"],
        "labels": COMPARED,
    }
    return Case(name, [row], **given | other)


def unlabelled(name: str, row: dict[str, Any], reason: str = "no_label", **other: Any) -> Case:
    """A row with two answers of which nobody said which is better."""
    refused = [reason]
    given: dict[str, Any] = {"generate": [ASK], "judge": TWO, "evaluate": refused, "dpo": refused, "reward": refused}
    return Case(name, [row], **given | {"sft": refused, "labels": refused} | other)


def shown(name: str, row: dict[str, Any], **other: Any) -> Case:
    """A row with one answer to imitate."""
    given: dict[str, Any] = {
        "generate": [ASK],
        "judge": ["too_few_responses"],
        "evaluate": ["no_label"],
        "dpo": ["other_kind"],
        "reward": ["other_kind"],
        "sft": [("Demonstration", EMU)],
        "labels": [("demonstration", EMU)],
    }
    return Case(name, [row], **given | other)


def thumb(name: str, row: dict[str, Any], **other: Any) -> Case:
    """A row with one answer that people found good."""
    given: dict[str, Any] = {
        "generate": [ASK],
        "judge": ["too_few_responses"],
        "evaluate": ["too_few_responses"],
        "dpo": ["other_kind"],
        "reward": [("Rated", EMU, 1.0)],
        "sft": ["other_kind"],
        "labels": [("thumbs", "up", EMU)],
    }
    return Case(name, [row], **given | other)


SIDES = {"prompt": ASK, "chosen": EMU, "rejected": ROBIN}
AB = {"prompt": ASK, "response_a": EMU, "response_b": ROBIN}
KTO = {"prompt": ASK, "completion": EMU, "label": True}
ULTRA: dict[str, Any] = {
    "source": "own",
    "instruction": ASK,
    "completions": [
        {
            "model": "m1",
            "response": EMU,
            "overall_score": 10.0,
            "annotations": {"honesty": {"Rating": "5"}, "truthfulness": {"Rating": "N/A"}},
        },
        {"model": "m2", "response": ROBIN, "overall_score": "1", "annotations": {"honesty": {"Rating": "2"}}},
    ],
}
ULTRA_LABELS = [
    ("rating", 10, (1, 10), EMU, None),
    ("rating", 1, (1, 10), ROBIN, None),
    ("rating", 5, (1, 5), EMU, "honesty"),
    ("rating", 2, (1, 5), ROBIN, "honesty"),
]
NECTAR = {
    "prompt": transcript(ASK) + "\n\nAssistant: ",
    "answers": [
        {"answer": EMU, "model": "m1", "rank": 1.0},
        {"answer": ROBIN, "model": "m2", "rank": 3.0},
        {"answer": KIWI, "model": "m3", "rank": 1.0},
    ],
}
ORDERED = [EMU, ROBIN, KIWI]
HELPFUL = {"helpfulness": 4, "correctness": 3, "coherence": 4, "complexity": 1, "verbosity": 0}
HELPSTEER = [
    {"prompt": ASK, "response": EMU} | HELPFUL,
    {"prompt": ASK, "response": ROBIN} | dict.fromkeys(HELPFUL, 1),
]

SERVED: dict[str, Any] = {
    "kind": "comparison",
    "prompt": {"messages": [user()], "tags": [], "id": None},
    "responses": [{"text": ROBIN, "model": "m1", "finish": "stop"}, {"text": EMU, "model": "m2", "finish": "stop"}],
    "label": {"choice": "second", "outcome": "preference", "probability": None, "votes": []},
    "source": "human",
    "annotator": "ann",
    "where": "",
}
"""Feedback as `cai feedback export` writes it."""

CASES = [
    compared("TRL, plain", SIDES),
    compared(
        "feedback of the service", SERVED, judge=[[ROBIN, EMU]], sft=["other_feedback"],
        labels=[("comparison", "second", ROBIN, EMU)],
    ),
    compared("TRL, chats", {"prompt": [user()], "chosen": [says(EMU)], "rejected": [says(ROBIN)]}),
    compared("TRL, implicit", {"chosen": [user(), says(EMU)], "rejected": [user(), says(ROBIN)]}),
    compared("TRL, prompt twice", SIDES | {"chosen": [user(), says(EMU)], "rejected": [user(), says(ROBIN)]}),
    compared(
        "UltraFeedback, binarized",
        SIDES
        | {"prompt_id": "a", "chosen": [user(), says(EMU)], "rejected": [user(), says(ROBIN)]}
        | {"messages": [user(), says(EMU)], "score_chosen": 8.0, "score_rejected": 5.0},
    ),
    compared("names in capitals", {"Prompt": ASK, "CHOSEN": EMU, "Rejected": ROBIN}),
    compared("LLaMA-Factory", {"messages": [user()], "chosen": says(EMU), "rejected": says(ROBIN)}),
    compared(
        "contents as parts",
        {
            "messages": [{"role": "user", "content": [{"type": "text", "text": ASK}]}],
            "chosen": {"role": "assistant", "content": [{"type": "text", "text": EMU}]},
            "rejected": {"role": "assistant", "content": [{"type": "text", "value": ROBIN}]},
        },
    ),
    compared("ShareGPT, sides", {"conversations": [human()], "chosen": gpt(EMU), "rejected": gpt(ROBIN)}),
    compared(
        "HH-RLHF",
        {"chosen": transcript(ASK, EMU), "rejected": transcript(ASK, ROBIN)},
    ),
    compared(
        "HH-RLHF, other line ends",
        {"chosen": transcript(ASK, EMU, end="\r\n\r\n"), "rejected": transcript(ASK, ROBIN, end="\r\n\r\n")},
    ),
    compared(
        "HH-RLHF without an empty line first",
        {"chosen": transcript(ASK, EMU).lstrip(), "rejected": transcript(ASK, ROBIN).lstrip()},
    ),
    compared(
        "HH-RLHF, prompt apart",
        {"prompt": transcript(ASK) + "\n\nAssistant:", "chosen": f" {EMU}", "rejected": f" {ROBIN}"},
    ),
    compared("SHP", {"history": ASK, "human_ref_A": EMU, "human_ref_B": ROBIN, "labels": 1, "score_A": 2}),
    compared(
        "SHP, the second",
        {"history": ASK, "human_ref_A": ROBIN, "human_ref_B": EMU, "labels": 0},
        judge=[[ROBIN, EMU]],
    ),
    unlabelled("SHP, no label", {"history": ASK, "human_ref_A": EMU, "human_ref_B": ROBIN, "labels": None}),
    unlabelled("SHP, bad label", {"history": ASK, "human_ref_A": EMU, "human_ref_B": ROBIN, "labels": 7}, "bad_label"),
    unlabelled("response_a and response_b", AB),
    compared("winner", AB | {"winner": "model_a"}),
    compared("winner, flags", AB | {"winner_model_a": 1, "winner_model_b": 0, "winner_tie": 0}),
    compared(
        "winner, neither",
        AB | {"winner": "tie (bothbad)"},
        evaluate=["tie"],
        dpo=[("Pair", EMU, ROBIN)],
        labels=[("comparison", "tie", EMU, ROBIN)],
    ),
    compared(
        "PKU", {"prompt": ASK, "response_0": ROBIN, "response_1": EMU, "better_response_id": 1}, judge=[[ROBIN, EMU]]
    ),
    compared("Alpaca farm", {"instruction": ASK, "input": "", "output_1": EMU, "output_2": ROBIN, "preference": 1}),
    compared("HelpSteer 3", {"prompt": ASK, "response1": EMU, "response2": ROBIN, "overall_preference": -2}),
    unlabelled(
        "many answers", {"prompt": ASK, "response_0": EMU, "response_1": ROBIN, "response_2": KIWI}, judge=[ORDERED]
    ),
    unlabelled("responses", {"prompt": ASK, "responses": [EMU, ROBIN]}, dpo=["unknown_format"],
               reward=["unknown_format"], sft=["unknown_format"], labels=["unknown_format"]),
    Case(
        "responses and ranks",
        [{"prompt": ASK, "responses": ORDERED, "ranks": [1, 2, 1]}],
        generate=[ASK],
        judge=[ORDERED],
        evaluate=[[EMU, ROBIN], [KIWI, ROBIN]],
        dpo=[("Pair", EMU, ROBIN), ("Pair", KIWI, ROBIN)],
        reward=[("Ranked", (1, 2, 1))],
        sft=["other_kind"],
        labels=[("ranking", (1, 2, 1))],
    ),
    Case(
        "Nectar",
        [NECTAR],
        generate=[ASK],
        judge=[ORDERED],
        evaluate=[[EMU, ROBIN], [KIWI, ROBIN]],
        dpo=[("Pair", EMU, ROBIN), ("Pair", KIWI, ROBIN)],
        reward=[("Ranked", (1, 3, 1))],
        sft=["other_kind"],
        labels=[("ranking", (1, 2, 1))],
    ),
    Case(
        "UltraFeedback",
        [ULTRA],
        generate=[ASK],
        judge=TWO,
        evaluate=TWO,
        dpo=[("Pair", EMU, ROBIN)],
        reward=[("Rated", EMU, 1.0), ("Rated", ROBIN, 0.0)],
        sft=["other_kind"],
        labels=ULTRA_LABELS,
    ),
    Case(
        "HelpSteer 2",
        HELPSTEER,
        generate=[ASK, ASK],
        judge=TWO,
        evaluate=TWO,
        dpo=[("Pair", EMU, ROBIN)],
        reward=[("Rated", EMU, 1.0), ("Rated", ROBIN, 0.25)],
        sft=["other_kind", "other_kind"],
        labels=[
            *(("rating", value, (0, 4), EMU, name) for name, value in HELPFUL.items()),
            *(("rating", 1, (0, 4), ROBIN, name) for name in HELPFUL),
        ],
    ),
    thumb("KTO", KTO),
    thumb("KTO, a table of texts", KTO | {"label": "TRUE"}),
    thumb("KTO, chats", {"prompt": [user()], "completion": [says(EMU)], "label": 1}),
    thumb("KTO, null", KTO | {"label": None}, evaluate=["no_label"], dpo=["no_label"], reward=["no_label"],
          sft=["no_label"], labels=["no_label"]),
    thumb("KTO, a whole chat", {"messages": [user(), says(EMU)], "label": True}, evaluate=["no_label"]),
    thumb("a rating", {"prompt": ASK, "completion": EMU, "rating": 19, "scale": [1, 19]},
          labels=[("rating", 19, (1, 19), EMU, None)]),
    thumb("a scale that is a text", {"prompt": ASK, "completion": EMU, "rating": 5, "scale": "19"},
          reward=["bad_rating"], dpo=["bad_rating"], sft=["bad_rating"], labels=["bad_rating"]),
    shown("a demonstration", {"prompt": ASK, "completion": EMU}),
    shown("Alpaca", {"instruction": ASK, "input": "", "output": EMU}),
    shown("question and answer", {"question": ASK, "answer": EMU}),
    shown("prompt and response", {"prompt": ASK, "response": EMU}),
    shown("a chat", {"messages": [user(), says(EMU)]}),
    shown("a chat with its prompt", {"prompt": ASK, "prompt_id": "1", "messages": [user(), says(EMU)]}),
    shown("ShareGPT", {"id": "c", "conversations": [human(), gpt(EMU)]}),
    shown("ShareGPT as text", {"conversations": json.dumps([human(), gpt(EMU)])}),
    shown(
        "LMSYS",
        {"conversation": [user() | {"language": "English"}, says(EMU) | {"toxic": False}], "model": "m"},
    ),
]  # fmt: skip


def texts(
    case: Case, tmp_path: Path, read_lines: Callable[..., Iterator[Line | Quarantined]], **more: Any
) -> list[Any]:
    lines = read_lines(written(case, tmp_path), max_chars=999, **more)
    return [line.reason if isinstance(line, Quarantined) else line for line in lines]


def written(case: Case, tmp_path: Path) -> str:
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in case.rows))
    return str(path)


def answers(line: Any) -> Any:
    return line if isinstance(line, str) else [response.text for response in line.item.responses]


each = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@each
def test_generate_reads_the_prompt(case: Case, tmp_path: Path) -> None:
    found = texts(case, tmp_path, read_prompts, truncate=False)
    assert [line if isinstance(line, str) else line.item.prompt.messages[-1].content for line in found] == case.generate
    assert all(isinstance(line, str) or len(line.item.prompt.messages) == 1 for line in found)


@each
def test_judge_reads_the_responses(case: Case, tmp_path: Path) -> None:
    found = texts(case, tmp_path, read_pairs, truncate=False)
    assert [answers(line) for line in found] == case.judge


@each
def test_evaluate_reads_the_better_and_the_worse(case: Case, tmp_path: Path) -> None:
    assert [answers(line) for line in texts(case, tmp_path, read_labelled)] == case.evaluate


@pytest.mark.parametrize(
    ("method", "wanted"), [("sft", (Demonstration,)), ("dpo", (Pair,)), ("reward", (Pair, Ranked, Rated))]
)
@each
def test_trainers_read_their_examples(case: Case, method: str, wanted: Sequence[type[Example]], tmp_path: Path) -> None:
    anything = json.dumps({"prompt": "Else?", "completion": "yes"} if method == "sft" else SIDES | {"prompt": "Else?"})
    source = Path(written(case, tmp_path))
    source.write_text(source.read_text() + anything + "\n")  # a file of which nothing can be used is an error
    expected = getattr(case, method)
    if any(isinstance(one, tuple) and one[0] != "Pair" and method != "sft" for one in expected):
        source.write_text("\n".join(source.read_text().splitlines()[:-1]))
    found = read(str(source), wanted)
    examples = [said(example) for example in found.examples if example.prompt.messages[-1].content == ASK]
    assert examples + [row.reason for row in found.refused] == expected


def said(example: Example) -> tuple[object, ...]:
    if isinstance(example, Ranked):
        return ("Ranked", example.ranks)
    value = (example.value,) if isinstance(example, Rated) else ()
    return (type(example).__name__, *example.answers, *value)


@each
def test_import_reads_the_labels(case: Case, tmp_path: Path) -> None:
    found = list(format_of("jsonl").read(Path(written(case, tmp_path))))
    assert [row.reason if isinstance(row, Broken) else told(row) for row in found] == case.labels
    assert all(isinstance(row, Broken) or row.prompt.messages[-1].content == ASK for row in found)


def told(feedback: Feedback) -> tuple[object, ...]:
    match feedback.label:
        case ComparisonLabel(choice=choice):
            return ("comparison", choice, *(response.text for response in feedback.responses))
        case RankingLabel(ranks=ranks):
            return ("ranking", ranks)
        case RatingLabel(value=value, scale=scale, response=place):
            ends = (scale.min, scale.max)
            return ("rating", value, ends, feedback.responses[place].text, feedback.principle)
        case ThumbsLabel(value=value):
            return ("thumbs", value, feedback.responses[0].text)
        case DemonstrationLabel(text=text):
            return ("demonstration", text)
    raise AssertionError(feedback.kind)


def test_the_table_has_every_shape() -> None:
    rows = [{name.casefold(): value for name, value in row.items()} for case in CASES for row in case.rows]
    assert not [shape.name for shape in SHAPES if not any(shape.fits(row) for row in rows)]


def test_the_models_of_responses_are_kept(tmp_path: Path) -> None:
    for row in (ULTRA, NECTAR, AB | {"model_a": "m1", "model_b": "m2"}):
        (line,) = texts(Case("", [row], [], [], [], [], [], [], []), tmp_path, read_pairs, truncate=False)
        assert [response.model for response in line.item.responses][:2] == ["m1", "m2"]


@pytest.mark.parametrize("change", [{"overall_score": "good"}, {"annotations": {"honesty": {"Rating": "9"}}}])
def test_a_rating_that_is_none_is_named_where_labels_are_asked_for(change: dict[str, Any], tmp_path: Path) -> None:
    row = ULTRA | {"completions": [ULTRA["completions"][0] | change, ULTRA["completions"][1]]}
    case = Case("", [row], [], [], [], [], [], [], [])
    assert [answers(line) for line in texts(case, tmp_path, read_pairs, truncate=False)] == TWO
    assert texts(case, tmp_path, read_labelled) == ["bad_rating"]


def test_without_an_overall_score_the_mean_of_the_aspects_is_taken(tmp_path: Path) -> None:
    completions = [
        {"response": EMU, "annotations": {"a": {"Rating": "5"}, "b": {"Rating": "4"}}},
        {"response": ROBIN, "annotations": {"a": {"Rating": "3"}, "b": {"Rating": "N/A"}}},
    ]
    found = read(written(Case("", [{"instruction": ASK, "completions": completions}], *[[]] * 7), tmp_path), (Rated,))
    assert [said(example) for example in found.examples] == [("Rated", EMU, 0.875), ("Rated", ROBIN, 0.5)]


@pytest.mark.parametrize(
    ("chosen", "reason"),
    [
        (transcript(ASK, ""), "empty_answer"),
        (transcript(ASK, EMU, "Thanks."), "empty_answer"),
        (transcript("Else?", EMU), "no_shared_prompt"),
    ],
)
def test_a_transcript_without_an_answer_is_refused_alike(chosen: str, reason: str, tmp_path: Path) -> None:
    case = Case("", [{"chosen": chosen, "rejected": transcript(ASK, ROBIN)}], *[[]] * 7)
    assert texts(case, tmp_path, read_pairs, truncate=False) == texts(case, tmp_path, read_labelled) == [reason]
    with pytest.raises(InputError, match="nothing to train on"):
        read(written(case, tmp_path), (Pair,))


def test_two_turns_of_one_side_are_one(tmp_path: Path) -> None:
    sides = {
        "chosen": f"\n\nHuman: Hi.\n\nHuman: {ASK}\n\nAssistant: {EMU}",
        "rejected": f"\n\nHuman: Hi.\n\nHuman: {ASK}\n\nAssistant: {ROBIN}",
    }
    (line,) = texts(Case("", [sides], *[[]] * 7), tmp_path, read_pairs, truncate=False)
    assert [message.content for message in line.item.prompt.messages] == [f"Hi.\n\n{ASK}"]


def test_an_answer_that_is_left_off_is_counted(tmp_path: Path) -> None:
    rows = [{"messages": [user(), says(EMU)]}, {"messages": [user("Else?")]}]
    first, second = texts(Case("", rows, *[[]] * 7), tmp_path, read_prompts, truncate=False)
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
    case = Case("", [{"conversations": turns}], *[[]] * 7)
    assert texts(case, tmp_path, read_prompts, truncate=False) == [reason]


def test_sharegpts_calls_of_tools_are_carried_through(tmp_path: Path) -> None:
    turns = [
        human("What is 2 and 2?"),
        {"from": "function_call", "value": '{"name": "add", "arguments": {"a": 2, "b": 2}}'},
        {"from": "observation", "value": "4"},
        gpt("Four."),
        human("And one more?"),
    ]
    (line,) = texts(Case("", [{"conversations": turns}], *[[]] * 7), tmp_path, read_prompts, truncate=False)
    messages = line.item.prompt.messages
    assert [message.role for message in messages] == ["user", "assistant", "tool", "assistant", "user"]
    assert messages[1].tool_calls[0].function.arguments == '{"a": 2, "b": 2}'


def test_a_system_column_begins_the_chat(tmp_path: Path) -> None:
    row = {"system": "Be brief.", "conversations": [human(), gpt(EMU)]}
    (line,) = texts(Case("", [row], *[[]] * 7), tmp_path, read_prompts, truncate=False)
    assert [message.role for message in line.item.prompt.messages] == ["system", "user"]
