"""What was dropped, and why, in words: the slugs of `critic.records.Drop` are for programs."""

from collections.abc import Iterator, Mapping

MEANING = {
    "tie": "no side is better by more than the tie band",
    "equal_sides": "both answers are the same text",
    "unreadable": "the judge's answer could not be read",
    "no_principle": "no principle applies to the prompt",
    "empty_response": "the answer is empty",
    "no_answer": "the model thought, and answered nothing",
    "nothing_to_revise": "the judge found nothing to revise",
    "unchanged": "the revision is the answer as it was",
    "intransitive": "the best and the worst don't agree with their own comparison",
    "disconnected": "too few comparisons could be read to rank all answers",
    "truncated": "the prompt was cut at --max-chars",
    "given_answer": "the chat ended with an answer, which nobody asked for",
    "thoughts": "the input says what a model thought first, which is left out",
}


def dropped(drops: Mapping[tuple[str, str], int]) -> Iterator[tuple[str, str, str, int]]:
    """Yield what was dropped, the reason as files have it and in words, and how often; the commonest first."""
    for (what, reason), count in sorted(drops.items(), key=lambda drop: (-drop[1], drop[0])):
        yield what, reason, MEANING[reason], count
