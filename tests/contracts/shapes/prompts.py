"""Cases with a prompt and no answer, and rows of which no command can read anything."""

from tests.contracts.shapes.rows import ASK, EMU, ROBIN, asked, refused, taken_by_none, transcript, user

TREE = {"message_id": "2", "message_tree_id": "1", "lang": "en", "rank": None, "labels": {"name": ["spam"]}}
NO_ANSWER = ["bad_responses"]

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
    asked("TRL's stepwise supervision", {"prompt": ASK, "completions": ["It has wings.", EMU], "labels": [True, True]}),
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
    taken_by_none("an empty object", {}),
    refused("a number", 5, "broken_line"),
]
