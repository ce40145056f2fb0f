"""Cases with several answers to a prompt: ranked, rated, or only there."""

from typing import Any

from tests.contracts.shapes.rows import ASK, EMU, KIWI, ROBIN, TWO, Case, asked, says, transcript, unlabelled, user

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


def completion(rank: int, text: str) -> dict[str, Any]:
    """One of NeMo RL's."""
    return {"rank": rank, "completion": [says(text)]}


HELPFUL = {"helpfulness": 4, "correctness": 3, "coherence": 4, "complexity": 1, "verbosity": 0}
HELPSTEER = [
    {"prompt": ASK, "response": EMU} | HELPFUL,
    {"prompt": ASK, "response": ROBIN} | dict.fromkeys(HELPFUL, 1),
]

HELPSTEER_LABELS: list[Any] = [("rating", value, (0, 4), EMU, name) for name, value in HELPFUL.items()]
HELPSTEER_LABELS += [("rating", 1, (0, 4), ROBIN, name) for name in HELPFUL]
PRODIGY: dict[str, Any] = {
    "text": ASK,
    "options": [{"id": "a", "text": EMU}, {"id": "b", "text": ROBIN}],
    "accept": ["a"],
    "answer": "accept",
    "_input_hash": 7,
    "_task_hash": -7,
}
COMPLETIONS = [completion(place, text) for place, text in enumerate(ORDERED)]
SEVERAL = [
    unlabelled(
        "many answers", {"prompt": ASK, "response_0": EMU, "response_1": ROBIN, "response_2": KIWI}, judge=[ORDERED]
    ),
    unlabelled(
        "responses",
        {"prompt": ASK, "responses": [EMU, ROBIN]},
        dpo=["unknown_format"],
        reward=["unknown_format"],
        sft=["unknown_format"],
        labels=["unknown_format"],
    ),
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
        "NeMo RL, three completions",
        [{"context": [user()], "completions": COMPLETIONS}],
        generate=[ASK],
        judge=[ORDERED],
        evaluate=[[EMU, ROBIN], [EMU, KIWI], [ROBIN, KIWI]],
        dpo=[("Pair", EMU, ROBIN), ("Pair", EMU, KIWI), ("Pair", ROBIN, KIWI)],
        reward=[("Ranked", (1, 2, 3))],
        sft=["other_kind"],
        labels=[("ranking", (1, 2, 3))],
    ),
    Case(
        "an empty answer among three",
        [{"prompt": ASK, "responses": [EMU, "", KIWI], "ranks": [1, 3, 2]}],
        generate=[ASK],
        judge=[[EMU, "", KIWI]],
        evaluate=["empty_answer"],
        dpo=["empty_answer"],
        reward=["empty_answer"],
        sft=["empty_answer"],
        labels=["empty_answer"],
    ),
    Case(
        "RewardBench 2",
        [{"prompt": ASK, "chosen": [EMU, KIWI], "rejected": [ROBIN], "models": ["m"], "subset": "birds"}],
        generate=[ASK],
        judge=[[EMU, KIWI, ROBIN]],
        evaluate=[[EMU, ROBIN], [KIWI, ROBIN]],
        dpo=[("Pair", EMU, ROBIN), ("Pair", KIWI, ROBIN)],
        reward=[("Ranked", (1, 1, 2))],
        sft=["other_kind"],
        labels=[("ranking", (1, 1, 2))],
    ),
    Case(
        "distilabel",
        [{"instruction": ASK, "generations": [EMU, ROBIN], "generation_models": ["m1", "m2"], "ratings": [5, 1]}],
        generate=[ASK],
        judge=TWO,
        evaluate=TWO,
        dpo=[("Pair", EMU, ROBIN)],
        reward=[("Rated", EMU, 1.0), ("Rated", ROBIN, 0.0)],
        sft=["other_kind"],
        labels=[("rating", 5, (1, 5), EMU, None), ("rating", 1, (1, 5), ROBIN, None)],
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
        "UltraFeedback, an answer without a rating",
        [ULTRA | {"completions": [*ULTRA["completions"], {"model": "m3", "response": KIWI, "overall_score": None}]}],
        generate=[ASK],
        judge=[ORDERED],
        evaluate=[*TWO, "no_label"],
        dpo=[("Pair", EMU, ROBIN), "no_label"],
        reward=[("Rated", EMU, 1.0), ("Rated", ROBIN, 0.0), "no_label"],
        sft=["other_kind"],
        labels=[*ULTRA_LABELS[:2], "no_label", *ULTRA_LABELS[2:]],
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
        labels=HELPSTEER_LABELS,
    ),
    Case(
        "HelpSteer 2, a rating that is null",
        [HELPSTEER[0] | {"helpfulness": None}, HELPSTEER[1]],
        generate=[ASK, ASK],
        judge=TWO,
        evaluate=["no_label"],
        dpo=["no_label"],
        reward=[("Rated", ROBIN, 0.25), "no_label"],
        sft=["no_label", "other_kind"],
        labels=["no_label", *(("rating", 1, (0, 4), ROBIN, name) for name in HELPFUL)],
    ),
    Case(
        "KTO, a good answer and a bad one",
        [{"prompt": ASK, "completion": EMU, "label": True}, {"prompt": ASK, "completion": ROBIN, "label": False}],
        generate=[ASK, ASK],
        judge=TWO,
        evaluate=TWO,
        dpo=[("Pair", EMU, ROBIN)],
        reward=[("Rated", EMU, 1.0), ("Rated", ROBIN, 0.0)],
        sft=["other_kind", "other_kind"],
        labels=[("thumbs", "up", EMU), ("thumbs", "down", ROBIN)],
    ),
    unlabelled("ranks that are null", {"prompt": ASK, "responses": [EMU, ROBIN], "ranks": None}),
    unlabelled(
        "ranks between whole numbers", {"prompt": ASK, "responses": [EMU, ROBIN], "ranks": [0.5, 1]}, "bad_ranks"
    ),
    unlabelled(
        "a generation that is null",
        {"instruction": ASK, "generations": [EMU, None], "ratings": [5, 4]},
        "bad_responses",
        judge=["bad_responses"],
    ),
    Case(
        "Prodigy, a choice",
        [PRODIGY],
        generate=[ASK],
        judge=TWO,
        evaluate=TWO,
        dpo=[("Pair", EMU, ROBIN)],
        reward=[("Ranked", (1, 2))],
        sft=["other_kind"],
        labels=[("ranking", (1, 2))],
    ),
    unlabelled("Prodigy, a choice of none", PRODIGY | {"answer": "reject", "accept": []}),
    unlabelled("LLaMA-Factory's older rankings", {"instruction": ASK, "input": "", "output": [EMU, ROBIN]}),
    Case(
        "ratings by their columns",
        [{"instruction": ASK, "completions": {"response": [EMU, ROBIN], "model": ["a", "b"], "overall_score": [9, 2]}}],
        generate=[ASK],
        judge=TWO,
        evaluate=TWO,
        dpo=[("Pair", EMU, ROBIN)],
        reward=[("Rated", EMU, (9 - 1) / 9), ("Rated", ROBIN, (2 - 1) / 9)],
        sft=["other_kind"],
        labels=[("rating", 9, (1, 10), EMU, None), ("rating", 2, (1, 10), ROBIN, None)],
    ),
    asked("StackExchange", {"qid": 1, "question": ASK, "answers": [{"text": EMU, "pm_score": 3}]}),
    asked("TruthfulQA", {"question": ASK, "best_answer": EMU, "incorrect_answers": [ROBIN]}),
    unlabelled(
        "responses as messages",
        {"prompt": ASK, "responses": [says(EMU), says(ROBIN)]},
        dpo=["unknown_format"],
        reward=["unknown_format"],
        sft=["unknown_format"],
        labels=["unknown_format"],
    ),
    asked("one response", {"prompt": ASK, "responses": [EMU]}, judge=["too_few_responses"]),
    asked(
        "responses that are no list", {"prompt": ASK, "responses": EMU}, judge=["broken_line"], evaluate=["broken_line"]
    ),
    unlabelled("fewer ranks than responses", {"prompt": ASK, "responses": [EMU, ROBIN], "ranks": [1]}, "bad_ranks"),
]
