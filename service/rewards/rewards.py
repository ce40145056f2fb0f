"""Rewards of finished answers: a reward model's or a rule's, or a judge's under a constitution.

An answer whose reward can't be read has none, and a reason: it is never 0. No answer's reward depends on the others
that it is sent with.
"""

from collections.abc import Sequence

from base.together import together
from constitution import Constitution
from critic.engine import Engine, EngineError, Unavailable
from critic.records import Prompt
from critic.rewarding.grade import Grade, GradeSource
from critic.rewarding.sources import JudgeRewards, check_untagged, rewards_of

# A prompt and what was answered: None where the policy thought and never came to an answer.
Answer = tuple[Prompt, str | None]


async def rewards(source: GradeSource, answers: Sequence[Answer]) -> list[Grade]:
    """A grade for each answer, in order. Raises `EngineError` where not one of them has a reward."""
    by_prompt: dict[str, list[int]] = {}
    by_number: dict[int, Grade] = {}
    texts: dict[int, str] = {}
    for number, (prompt, text) in enumerate(answers):
        if text is None:
            by_number[number] = Grade(None, "it is all thoughts: there is no answer to reward")
        else:
            texts[number] = text
            by_prompt.setdefault(prompt.key, []).append(number)
    errors: list[EngineError] = []

    async def grade(numbers: list[int]) -> None:
        try:
            grades = await source.grades(answers[numbers[0]][0], [texts[number] for number in numbers], "interactive")
        except Unavailable:
            raise  # the same request may be answered later
        except EngineError as error:
            if len(numbers) > 1 and source.alone:  # each alone: only those whose fault it is have no reward
                await together(grade([number]) for number in numbers)
                return
            errors.append(error)
            grades = [Grade(None, str(error))] * len(numbers)
        by_number.update(zip(numbers, grades, strict=True))

    await together(grade(numbers) for numbers in by_prompt.values())
    grades = [by_number[number] for number in range(len(answers))]
    if all(grade.reward is None for grade in grades):
        raise errors[0] if errors else EngineError(grades[0].problem)
    return grades


def source_of(engine: Engine, constitution: Constitution | None, group: str | None) -> GradeSource:
    """What gives ``engine``'s rewards. Raises `InputError` where it needs a constitution, or reads none."""
    source = rewards_of(engine, constitution, group)
    if isinstance(source, JudgeRewards):
        check_untagged(source.principles)  # a request's prompts have none
    return source
