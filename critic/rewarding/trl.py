"""A judge's, a reward model's or a rule's rewards as a reward function of TRL's GRPOTrainer and RLOOTrainer.

    from critic.rewarding.trl import reward_function

    GRPOTrainer(..., reward_funcs=reward_function("openai:my-judge@http://127.0.0.1:8000/v1", "helpfulness@1.0.0"))

TRL hands over a whole batch, awaits it, and takes None for an answer that has no reward: it is left out there.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal

from base.together import together
from constitution import load
from critic.engine import EngineError
from critic.engines import open_engine, parse_spec
from critic.judging import mode_of, offered
from critic.records import Message, Prompt
from critic.rewarding.comparing import ComparisonRewards
from critic.rewarding.grade import Grade, GradeSource
from critic.rewarding.sources import of_one_group, rewards_of

Turns = str | Sequence[Mapping[str, Any]]
RewardFunction = Callable[..., Awaitable[list[float | None]]]


def reward_function(
    engine: str,
    principles: str | None = None,
    *,
    judge_by: Literal["score", "comparison"] = "score",
    judge_mode: str | None = None,
    opponents: int = 2,
    group: str | None = None,
) -> RewardFunction:
    """Return a function for TRL's ``reward_funcs``.

    ``engine`` is a spec: ``rm:PATH``, ``verify:RULE``, or with ``principles`` (a constitution's name or file) a judge.
    It ``judge_by`` scoring each answer, or by comparing those to one prompt: equal prompts of a batch are one group,
    as TRL makes it. The engine is opened at the first batch. The function raises what stops all: `RunStopped`, and
    `InputError` for what a person has to mend.
    """
    opened: list[GradeSource] = []

    def source() -> GradeSource:
        if not opened:
            parsed = parse_spec(engine)
            judge = open_engine(parsed)
            constitution = load(principles) if principles is not None else None
            if judge_by == "score" or constitution is None:
                opened.append(rewards_of(judge, constitution, group))
            else:
                mode = offered(mode_of(judge_mode, parsed), judge)
                opened.append(ComparisonRewards(judge, mode, of_one_group(constitution, group), opponents))
        return opened[0]

    async def rewards(prompts: Sequence[Turns], completions: Sequence[Turns], **columns: object) -> list[float | None]:
        grades = await grades_of(source(), prompts, completions)
        return [grade.reward for grade in grades]

    rewards.__name__ = f"{parse_spec(engine).kind}_{judge_by}"
    return rewards


async def grades_of(source: GradeSource, prompts: Sequence[Turns], completions: Sequence[Turns]) -> list[Grade]:
    """Return a grade for each completion, in order; where an engine fails, why."""
    asked = [_prompt(prompt) for prompt in prompts]
    groups: dict[str, list[int]] = {}
    for number, prompt in enumerate(asked):
        groups.setdefault(prompt.key, []).append(number)
    by_number: dict[int, Grade] = {}

    async def grade(numbers: Sequence[int]) -> None:
        texts = [_text(completions[number]) for number in numbers]
        try:
            grades = await source.grades(asked[numbers[0]], texts)
        except EngineError as error:
            if len(numbers) > 1 and source.alone:  # only those whose fault it is have no reward
                await together(grade([number]) for number in numbers)
                return
            grades = [Grade(None, str(error))] * len(numbers)
        by_number.update(zip(numbers, grades, strict=True))

    await together(grade(numbers) for numbers in groups.values())
    return [by_number[number] for number in range(len(asked))]


def _prompt(given: Turns) -> Prompt:
    if isinstance(given, str):
        return Prompt(messages=(Message(role="user", content=given),))
    return Prompt(messages=tuple(Message(role=turn["role"], content=str(turn["content"])) for turn in given))


def _text(completion: Turns) -> str:
    """Return an answer's text: of a conversation, what the assistant says in it."""
    if isinstance(completion, str):
        return completion
    return "\n".join(str(turn["content"]) for turn in completion if turn.get("role", "assistant") == "assistant")
