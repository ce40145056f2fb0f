"""Cases with one answer to a prompt."""

import json

from tests.contracts.shapes.rows import ASK, EMU, Case, gpt, human, says, shown, thumb, user

KTO = {"prompt": ASK, "completion": EMU, "label": True}

NOT_LEARNT = {name: ["not_to_learn"] for name in ("evaluate", "dpo", "reward", "sft", "labels")}

SINGLE = [
    thumb("KTO", KTO),
    thumb("KTO, a table of texts", KTO | {"label": "TRUE"}),
    thumb("KTO, chats", {"prompt": [user()], "completion": [says(EMU)], "label": 1}),
    thumb(
        "KTO, null",
        KTO | {"label": None},
        evaluate=["no_label"],
        dpo=["no_label"],
        reward=["no_label"],
        sft=["no_label"],
        labels=["no_label"],
    ),
    thumb("KTO, a whole chat as completion", {"completion": [user(), says(EMU)], "label": True}),
    thumb("KTO, a whole chat", {"messages": [user(), says(EMU)], "label": True}, evaluate=["no_label"]),
    thumb(
        "a rating",
        {"prompt": ASK, "completion": EMU, "rating": 19, "scale": [1, 19]},
        labels=[("rating", 19, (1, 19), EMU, None)],
    ),
    thumb(
        "a scale that is a text",
        {"prompt": ASK, "completion": EMU, "rating": 5, "scale": "19"},
        reward=["bad_rating"],
        dpo=["bad_rating"],
        sft=["bad_rating"],
        labels=["bad_rating"],
    ),
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
    thumb("LLaMA-Factory's KTO", {"instruction": ASK, "input": "", "output": EMU, "kto_tag": True}),
    shown("Guanaco", {"text": f"### Human: {ASK}### Assistant: {EMU}"}),
    thumb(
        "HelpSteer 3, a principle that is fulfilled",
        {"context": [user()], "response": EMU, "principle": "Be brief.", "fulfilment": "Yes"},
    ),
    thumb("BeaverTails", {"prompt": ASK, "response": EMU, "category": {"insult": False}, "is_safe": True}),
    thumb(
        "BeaverTails, an answer that isn't safe",
        {"prompt": ASK, "response": EMU, "category": {"insult": True}, "is_safe": False},
        reward=[("Rated", EMU, 0.0)],
        labels=[("thumbs", "down", EMU)],
    ),
    thumb("OpenRLHF's KTO, a score that is true", {"instruction": ASK, "response": EMU, "score": True}),
    thumb(
        "OpenRLHF's KTO, a score that is false",
        {"prompt": ASK, "response": EMU, "score": False},
        reward=[("Rated", EMU, 0.0)],
        labels=[("thumbs", "down", EMU)],
    ),
    shown(
        "an answer with a score that is a number",
        {"instruction": ASK, "output": EMU, "score": 1},
        labels=["no_label"],
    ),
    shown("an answer with a score that is null", {"prompt": ASK, "response": EMU, "score": None}, labels=["no_label"]),
    shown("a chat with a score", {"messages": [user(), says(EMU)], "score": 4.5}, labels=["no_label"]),
    thumb(
        "BeaverTails, null",
        {"prompt": ASK, "response": EMU, "is_safe": None},
        evaluate=["no_label"],
        dpo=["no_label"],
        reward=["no_label"],
        sft=["no_label"],
        labels=["no_label"],
    ),
    thumb(
        "LLaMA-Factory's KTO, null",
        {"instruction": ASK, "output": EMU, "kto_tag": None},
        evaluate=["no_label"],
        dpo=["no_label"],
        reward=["no_label"],
        sft=["no_label"],
        labels=["no_label"],
    ),
    thumb(
        "LLaMA-Factory's KTO, a bad answer in a chat",
        {"messages": [user(), says(EMU)], "kto_tag": False},
        evaluate=["no_label"],
        reward=[("Rated", EMU, 0.0)],
        labels=[("thumbs", "down", EMU)],
    ),
    shown("OpenOrca", {"id": "1", "system_prompt": "Be brief.", "question": ASK, "response": EMU}, before=1),
    shown(
        "LLaMA-Factory, a demonstration",
        {"instruction": ASK, "output": EMU, "system": "Be brief.", "history": [["Hi.", "Hello."]]},
        before=3,
    ),
    shown("ShareGPT with a system column", {"system": "Be brief.", "conversations": [human(), gpt(EMU)]}, before=1),
    shown(
        "OpenAI's fine-tuning", {"messages": [{"role": "system", "content": "Be brief."}, user(), says(EMU)]}, before=1
    ),
    shown(
        "Anthropic's messages, in blocks",
        {
            "system": [{"type": "text", "text": "Be brief."}],
            "messages": [
                user() | {"content": [{"type": "text", "text": ASK}]},
                says("") | {"content": [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": EMU}]},
            ],
        },
        before=1,
    ),
    shown(
        "WildChat",
        {
            "conversation_hash": "x",
            "model": "m",
            "conversation": [user() | {"turn_identifier": 1}, says(EMU) | {"turn_identifier": 1}],
        },
    ),
    shown("a chat by its columns", {"messages": {"role": ["user", "assistant"], "content": [ASK, EMU]}}),
    shown("a chat as JSON in a text", {"messages": json.dumps([user(), says(EMU)])}),
    shown(
        "Cohere",
        {
            "messages": [
                {"role": "System", "content": "Be brief."},
                {"role": "User", "content": ASK},
                {"role": "Chatbot", "content": EMU},
            ]
        },
        before=1,
    ),
    shown(
        "Bedrock's conversations",
        {
            "system": [{"text": "Be brief."}],
            "messages": [user() | {"content": [{"text": ASK}]}, says("") | {"content": [{"text": EMU}]}],
        },
        before=1,
    ),
    shown(
        "HelpSteer 2, several turns",
        {"prompt": f"Hi.\n<extra_id_1>Assistant\nHello.\n<extra_id_1>User\n{ASK}", "response": EMU},
        before=2,
    ),
    shown(
        "OpenAI's fine-tuning, an answer that is not learnt",
        {"messages": [user(), says(EMU) | {"weight": 0}]},
        **NOT_LEARNT,
    ),
    shown(
        "Axolotl, an answer that is not learnt",
        {"conversations": [human(), gpt(EMU) | {"train": False}]},
        **NOT_LEARNT,
    ),
    shown("OpenAI's fine-tuning, an answer that is learnt", {"messages": [user(), says(EMU) | {"weight": 1}]}),
    shown("rounds of input and output", {"conversation": [{"input": ASK, "output": EMU}]}),
    shown("names in capitals, one answer", {"PROMPT": ASK, "Completion": EMU}),
    Case(
        "Dolly",
        [{"instruction": "Name it.", "context": ASK, "response": EMU, "category": "qa"}],
        generate=[f"Name it.\n\n{ASK}"],
        judge=["too_few_responses"],
        evaluate=["no_label"],
        dpo=["other_kind"],
        reward=["other_kind"],
        sft=[("Demonstration", EMU)],
        labels=[("demonstration", EMU)],
    ),
]
