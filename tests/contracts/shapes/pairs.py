"""Cases with two answers to a prompt."""

import json
from typing import Any

from tests.contracts.shapes.rows import (
    ASK,
    EMU,
    ROBIN,
    compared,
    gpt,
    human,
    one_sided,
    refused,
    says,
    transcript,
    unlabelled,
    user,
)

SIDES = {"prompt": ASK, "chosen": EMU, "rejected": ROBIN}
AB = {"prompt": ASK, "response_a": EMU, "response_b": ROBIN}
ICAI = {"text_a": f"Instruction: {ASK}\n\nOutput: {ROBIN}", "text_b": f"Instruction: {ASK}\n\nOutput: {EMU}"}

SERVED = {
    "kind": "comparison",
    "prompt": {"messages": [user()], "tags": [], "id": None},
    "responses": [{"text": ROBIN, "model": "m1", "finish": "stop"}, {"text": EMU, "model": "m2", "finish": "stop"}],
    "label": {"choice": "second", "outcome": "preference", "probability": None, "votes": []},
    "source": "human",
    "annotator": "ann",
    "where": "",
}
"""Feedback as `cai feedback export` writes it."""

EDIT: dict[str, Any] = {
    "domain": "general",
    "context": [user()],
    "original_response": ROBIN,
    "edited_response": EMU,
    "feedback": ["Robins fly."],
    "change_summary": "Another bird.",
}
NEMO: list[dict[str, Any]] = [
    {"rank": 0, "completion": [says(EMU)]},
    {"rank": 1, "completion": [says(ROBIN)]},
]

ONE_SIDE = {command: ["one_side"] for command in ("judge", "evaluate", "dpo", "reward", "sft", "labels")}
PAIRS = [
    compared(
        "HelpSteer2's preferences",
        {"prompt": ASK, "response_1": EMU, "response_2": ROBIN, "preference_strength": -2},
    ),
    compared(
        "OpenAI's preferences",
        {"input": {"messages": [user()]}, "preferred_output": [says(EMU)], "non_preferred_output": [says(ROBIN)]},
    ),
    one_sided(
        "OpenAI's preferences, one side missing",
        {"input": {"messages": [user()]}, "preferred_output": [says(EMU)]},
    ),
    one_sided(
        "OpenAI's preferences, one side null",
        {"input": {"messages": [user()]}, "preferred_output": None, "non_preferred_output": [says(ROBIN)]},
    ),
    compared(
        "a label that says the other is better",
        {"prompt": ASK, "chosen": ROBIN, "rejected": EMU} | {"probability": 0},
        judge=[[ROBIN, EMU]],
        dpo=[("Pair", ROBIN, EMU)],
        reward=[("Pair", ROBIN, EMU)],
        labels=[("comparison", "second", ROBIN, EMU)],
    ),
    compared(
        "HelpSteer 3, as it is published",
        {"context": [user()], "response1": EMU, "response2": ROBIN, "overall_preference": -2},
    ),
    compared("JudgeBench", {"question": ASK, "response_A": EMU, "response_B": ROBIN, "label": "A>B"}),
    compared(
        "an arena's verdict",
        {"question": ASK, "response_A": ROBIN, "response_B": EMU, "label": "[[B>>A]]"},
        judge=[[ROBIN, EMU]],
    ),
    compared(
        "Capybara",
        {
            "conversation": [{"input": ASK, "output": EMU}],
            "chosen": [user(), says(EMU)],
            "rejected": [user(), says(ROBIN)],
        },
    ),
    compared("TRL, plain", SIDES),
    compared(
        "feedback of the service",
        SERVED,
        judge=[[ROBIN, EMU]],
        sft=["other_feedback"],
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
    compared("ICAI", ICAI | {"preferred_text": "text_b"}, judge=[[ROBIN, EMU]]),
    compared("ICAI, prompt apart", {"prompt": ASK, "text_a": EMU, "text_b": ROBIN, "preferred_text": "text_a"}),
    unlabelled("ICAI, bad label", ICAI | {"preferred_text": "b"}, "bad_label", judge=[[ROBIN, EMU]]),
    refused(
        "ICAI, two questions",
        ICAI | {"text_a": f"Instruction: And?\n\nOutput: {ROBIN}", "preferred_text": "text_b"},
        "no_shared_prompt",
    ),
    refused("ICAI, no question", {"text_a": ROBIN, "text_b": EMU, "preferred_text": "text_b"}, "no_shared_prompt"),
    unlabelled("response_a and response_b", AB),
    compared(
        "answers beside who wrote them",
        {"prompt": ASK, "response_a": {"text": EMU, "model": "m1"}, "response_b": {"text": ROBIN, "model": "m2"}}
        | {"winner": "a"},
    ),
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
    compared("Orca's pairs", {"system": "Be brief.", "question": ASK, "chosen": EMU, "rejected": ROBIN}, before=1),
    compared(
        "a system column beside whole chats",
        {"system": "Be brief.", "chosen": [user(), says(EMU)], "rejected": [user(), says(ROBIN)]},
        before=1,
    ),
    compared(
        "a system column beside a chat with its own",
        SIDES | {"system": "Be long.", "prompt": [{"role": "system", "content": "Be brief."}, user()]},
        before=1,
    ),
    compared("LLaMA-Factory, Alpaca's columns", {"instruction": ASK, "input": "", "chosen": EMU, "rejected": ROBIN}),
    compared(
        "LLaMA-Factory, earlier turns",
        {"instruction": ASK, "history": [["Hi.", "Hello."]], "chosen": EMU, "rejected": ROBIN},
        before=2,
    ),
    compared(
        "Tulu",
        {"id": "t1", "prompt": ASK, "chosen": [user(), says(EMU)], "rejected": [user(), says(ROBIN)]}
        | {"chosen_model": "m1", "rejected_model": "m2"},
    ),
    compared("RewardBench", SIDES | {"id": 3, "subset": "birds", "chosen_model": "m1", "rejected_model": "m2"}),
    compared(
        "the arena's chats",
        {"question_id": "q1", "model_a": "m1", "model_b": "m2", "winner": "model_a", "turn": 1}
        | {"conversation_a": [user(), says(EMU)], "conversation_b": [user(), says(ROBIN)]},
    ),
    compared(
        "the arena's lists",
        {"id": 1, "prompt": json.dumps([ASK]), "response_a": json.dumps([EMU]), "response_b": json.dumps([ROBIN])}
        | {"winner_model_a": 1, "winner_model_b": 0, "winner_tie": 0},
    ),
    refused(
        "the arena's lists of two turns",
        {"prompt": json.dumps([ASK, ASK]), "response_a": json.dumps([EMU] * 2), "response_b": json.dumps([ROBIN] * 2)},
        "no_shared_prompt",
    ),
    unlabelled("a verdict that may count from 0 or from 1", AB | {"label": 1}),
    compared(
        "sides of which one is null",
        SIDES | {"rejected": None},
        **ONE_SIDE,
    ),
    compared(
        "sides of which one is missing",
        {"prompt": ASK, "rejected": ROBIN},
        **ONE_SIDE,
    ),
    compared(
        "turns that say more than is read",
        {
            "prompt": [user() | {"date": "2024-05-01", "name": "Kim", "lang": None}],
            "chosen": [says(EMU) | {"id": 7, "refusal": None, "annotations": []}],
            "rejected": [says(ROBIN) | {"reasoning_content": "A robin is small."}],
        },
    ),
    refused(
        "turns with pictures",
        {"prompt": [user() | {"images": ["emu.png"]}], "chosen": EMU, "rejected": ROBIN},
        "not_text",
    ),
    refused("equal sides", SIDES | {"rejected": EMU}, "equal_sides", generate=[ASK], judge=[[EMU, EMU]]),
    # An answer that says nothing is refused by whoever compares it, or learns from it.
    refused("an empty side", SIDES | {"rejected": " "}, "empty_answer", generate=[ASK]),
    refused("an empty chosen side", SIDES | {"chosen": ""}, "empty_answer", generate=[ASK]),
    refused(
        "a side that shows nothing", AB | {"response_b": "\u200b\n", "winner": "a"}, "empty_answer", generate=[ASK]
    ),
    refused(
        "an empty side in chats",
        {"chosen": [user(), says(EMU)], "rejected": [user(), says("")]},
        "empty_answer",
        generate=[ASK],
    ),
    compared(
        "AlpacaEval, a weighted preference",
        {"instruction": ASK, "output_1": ROBIN, "generator_1": "m1", "output_2": EMU, "preference": 1.98},
        judge=[[ROBIN, EMU]],
    ),
    unlabelled(
        "WebGPT", {"question": {"dataset": "own", "full_text": ASK}, "answer_0": EMU, "score_0": 1.0, "answer_1": ROBIN}
    ),
    compared(
        "an input whose instruction is empty", {"instruction": "", "input": ASK, "chosen": EMU, "rejected": ROBIN}
    ),
    compared(
        "NeMo-Aligner",
        {
            "prompt": f"<extra_id_0>System\nBe brief.\n<extra_id_1>User\n{ASK}\n<extra_id_1>Assistant\n",
            "chosen_response": f"{EMU}\n<extra_id_1>",
            "rejected_response": f"{ROBIN}\n<extra_id_1>",
            "chosen_reward": 4,
        },
        before=1,
    ),
    refused(
        "NeMo-Aligner, a speaker that no chat has",
        {"prompt": f"<extra_id_1>Critic\n{ASK}\n<extra_id_1>Assistant\n", "chosen": EMU, "rejected": ROBIN},
        "bad_prompt",
    ),
    compared(
        "torchtune",
        {"chosen_conversations": [user(), says(EMU)], "rejected_conversations": [user(), says(ROBIN)]},
    ),
    compared("two whole chats", {"chosen_messages": [user(), says(EMU)], "rejected_messages": [user(), says(ROBIN)]}),
    compared("OpenRLHF", {"context_messages": [user()], "chosen": [says(EMU)], "rejected": [says(ROBIN)]}),
    one_sided("NeMo-Aligner, one side missing", {"prompt": ASK, "chosen_response": EMU}),
    compared(
        "chats as JSON in texts",
        {"prompt": json.dumps([user()]), "chosen": json.dumps([says(EMU)]), "rejected": json.dumps(says(ROBIN))},
    ),
    compared(
        "chats as Python writes them",
        {"prompt": str([user()]), "chosen": str([says(EMU)]), "rejected": str([says(ROBIN)])},
    ),
    refused(
        "chats as NumPy writes them",
        {"prompt": ASK, "chosen": f"[{user()}\n {says(EMU)}]", "rejected": f"[{user()}\n {says(ROBIN)}]"},
        "bad_chat",
    ),
    refused(
        "Step-DPO",
        SIDES
        | {"initial_reason_steps": "Step 1: Which have wings?", "full_chosen": EMU, "full_rejected": ROBIN}
        | {"answer": "emu"},
        "step_labels",
        generate=[ASK],
    ),
    refused(
        "a rendered prompt",
        SIDES | {"prompt": f"<|im_start|>user\n{ASK}<|im_end|>\n<|im_start|>assistant\n"},
        "rendered_chat",
    ),
    refused(
        "rendered sides",
        {"chosen": f"<|user|>\n{ASK}\n<|assistant|>\n{EMU}", "rejected": f"<|user|>\n{ASK}\n<|assistant|>\n{ROBIN}"},
        "rendered_chat",
    ),
    unlabelled(
        "a preference that may count from 0 or from 1",
        {"prompt": ASK, "response_0": EMU, "response_1": ROBIN, "preference": 1},
        "bad_label",
    ),
    compared("numbers with a decimal comma", SIDES | {"probability": "0,9", "weight": "1,5"}),
    compared("HelpSteer 3, an edit", EDIT),
    one_sided("HelpSteer 3, an edit of nothing", EDIT | {"original_response": None}),
    compared(
        "HelpSteer 3, two edits of one answer",
        {
            "context": [user()],
            "original_response": "A hen.",
            "good_edited_response": EMU,
            "bad_edited_response": ROBIN,
            "feedback": ["Hens fly."],
        },
    ),
    compared("NeMo RL", {"context": [user()], "completions": NEMO}),
    compared("NeMo RL, the better one last", {"context": [user()], "completions": NEMO[::-1]}, judge=[[ROBIN, EMU]]),
    unlabelled(
        "NeMo RL, a rank that is null", {"context": [user()], "completions": [NEMO[0], NEMO[1] | {"rank": None}]}
    ),
    unlabelled(
        "NeMo RL, a rank that is none",
        {"context": [user()], "completions": [NEMO[0], NEMO[1] | {"rank": "best"}]},
        "bad_ranks",
    ),
    refused("a side that is no text", SIDES | {"rejected": True}, "bad_responses", generate=[ASK]),
    refused("sides without a prompt", {"chosen": EMU, "rejected": ROBIN}, "no_prompt"),
    refused("a prompt that is a number", SIDES | {"prompt": 5}, "bad_prompt"),
    refused("a picture beside the texts", SIDES | {"prompt": f"<image>{ASK}", "images": ["a.png"]}, "not_text"),
    refused("an empty prompt", SIDES | {"prompt": "  "}, "empty_prompt"),
    refused("a prompt that is an object", SIDES | {"prompt": {"text": ASK}}, "bad_prompt"),
    refused("a chat that ends with the assistant", SIDES | {"prompt": [user(), says("Hm.")]}, "role_order"),
]
