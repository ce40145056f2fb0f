"""Cases with a prompt and no answer, and rows of which no command can read anything."""

from typing import Any

from tests.contracts.shapes.rows import ASK, EMU, ROBIN, Case, asked, refused, taken_by_none, transcript, user

TREE = {"message_id": "2", "message_tree_id": "1", "lang": "en", "rank": None, "labels": {"name": ["spam"]}}
NO_ANSWER = ["bad_responses"]

STEPS = ["It has wings.", EMU]


def stepwise(name: str, row: Any, generate: list[str]) -> Case:
    """A row whose labels are of the steps of one answer: nothing is judged or learnt of it."""
    return refused(name, row, "step_labels", generate=generate)


PROMPTS = [
    asked("a prompt", {"prompt": ASK}),
    asked("a string", ASK),
    taken_by_none(
        "messages alone", [user()], generate=[ASK], **dict.fromkeys(("dpo", "reward", "sft", "labels"), NO_ANSWER)
    ),
    asked("XSTest", {"id": 1, "prompt": ASK, "type": "figurative", "label": "safe"}),
    asked(
        "verl", {"data_source": "own", "prompt": [user()], "reward_model": {"style": "rule"}, "extra_info": {"i": 0}}
    ),
    stepwise("TRL's stepwise supervision", {"prompt": ASK, "completions": STEPS, "labels": [True, True]}, [ASK]),
    stepwise("PRM800K", {"question": {"problem": ASK}, "label": {"steps": [], "finish_reason": "solution"}}, [ASK]),
    stepwise("ProcessBench", {"problem": ASK, "steps": STEPS, "label": 1}, ["no_prompt"]),
    stepwise(
        "Math-Shepherd",
        {"input": f"{ASK} Step 1: Think. ки Step 2: {EMU} ки", "label": f"{ASK} Step 1: Think. + Step 2: {EMU} -"},
        ["step_labels"],
    ),
    taken_by_none("MT-Bench's questions", {"question_id": 81, "category": "birds", "turns": [ASK, "And which swim?"]}),
    taken_by_none("red-teaming transcripts", {"transcript": transcript(ASK, EMU), "rating": 3}),
    taken_by_none("OpenAI's batches", {"custom_id": "1", "body": {"messages": [user()]}}),
    refused("a rendered chat", {"text": f"<|im_start|>user\n{ASK}<|im_end|>\n"}, "rendered_chat"),
    asked("OASST's messages, one that begins a tree", TREE | {"parent_id": None, "role": "prompter", "text": ASK}),
    refused(
        "OASST's messages, an answer", TREE | {"parent_id": "1", "role": "assistant", "text": EMU}, "within_a_tree"
    ),
    taken_by_none(
        "TL;DR's comparisons",
        {"info": {"post": ASK}, "summaries": [{"text": EMU}, {"text": ROBIN}], "choice": 0},
    ),
    refused(
        "a record of Label Studio",
        {"id": 1, "data": {"prompt": ASK}, "annotations": [{"result": []}]},
        "labels_of_a_tool",
    ),
    refused("a record of Argilla", {"id": "a", "fields": {"prompt": ASK}, "responses": {}}, "labels_of_a_tool"),
    refused("a tree of OASST", {"message_tree_id": "1", "prompt": {"text": ASK, "replies": []}}, "labels_of_a_tool"),
    asked(
        "Prodigy, a text's label",
        {"text": ASK, "label": "SPAM", "answer": "accept", "_input_hash": 1, "_task_hash": 2},
    ),
    taken_by_none("an empty object", {}),
    refused("a number", 5, "broken_line"),
]
