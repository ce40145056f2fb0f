"""A judge's, a reward model's or a rule's rewards as a reward function of TRL's GRPOTrainer and RLOOTrainer.

    from critic.rewarding.trl import reward_function

    GRPOTrainer(..., reward_funcs=reward_function("openai:my-judge@http://127.0.0.1:8000/v1", "helpfulness@1.0.0"))

TRL hands over a whole batch, awaits it, and takes None for an answer that has no reward: it is left out there. Beside
other reward functions it adds up those that there are, as if the missing one were 0.

A judge reads what a policy says, and not what it thought or which tools it called.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

from base.errors import InputError
from base.together import together
from constitution import load
from critic.chats import reasoning
from critic.engine import EngineError
from critic.engines import open_engine, parse_spec
from critic.files.turns import plain_turns
from critic.judging import mode_of, offered
from critic.messages import join_parts
from critic.records import Message, Prompt
from critic.rewarding.comparing import ComparisonRewards
from critic.rewarding.grade import Grade, GradeSource
from critic.rewarding.sources import of_one_group, rewards_of
from critic.rows import RowError

Turns = str | Sequence[Mapping[str, Any]]
RewardFunction = Callable[..., Awaitable[list[float | None]]]
NO_ANSWER = "it holds no answer: thoughts alone, or calls of tools"


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
    asked = [_prompt(prompt, f"prompts[{number}]") for number, prompt in enumerate(prompts)]
    by_number: dict[int, Grade] = {}
    texts: dict[int, str] = {}
    groups: dict[str, list[int]] = {}
    for number, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
        text = _text(completion, prompt)
        if isinstance(text, Grade):
            by_number[number] = text
        else:
            texts[number] = text
            groups.setdefault(asked[number].key, []).append(number)

    async def grade(numbers: Sequence[int]) -> None:
        try:
            grades = await source.grades(asked[numbers[0]], [texts[number] for number in numbers])
        except EngineError as error:
            if len(numbers) > 1 and source.alone:  # only those whose fault it is have no reward
                await together(grade([number]) for number in numbers)
                return
            grades = [Grade(None, str(error))] * len(numbers)
        by_number.update(zip(numbers, grades, strict=True))

    await together(grade(numbers) for numbers in groups.values())
    return [by_number[number] for number in range(len(asked))]


def _prompt(given: Turns, where: str) -> Prompt:
    """Return a prompt. Raises `InputError` for one that is no chat of texts."""
    turns = [{"role": "user", "content": given}] if isinstance(given, str) else given
    try:
        return Prompt(messages=tuple(map(Message.model_validate, plain_turns(turns))))
    except (RowError, ValueError) as error:
        problem = " ".join(str(error).split())
        raise InputError(f"this prompt can't be read: {problem}", where=where, fix="give a text, or turns") from error


def _text(completion: Turns, prompt: Turns) -> str | Grade:
    """Return what the assistant says in an answer, or why it says nothing that can be read."""
    try:
        parts = [completion] if isinstance(completion, str) else list(_said(completion))
    except (RowError, ValueError) as error:
        return Grade(None, " ".join(str(error).split()))
    opened = isinstance(prompt, str) and reasoning.opens(prompt)
    answers = []
    for part in parts:
        answer, thoughts = reasoning.split(part, opened=opened)
        if thoughts is None or answer.strip():
            answers.append(answer)
    return "\n".join(answers) if answers else Grade(None, NO_ANSWER)


def _said(turns: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the assistant's texts. Raises `RowError` or `ValueError` for contents that are no texts."""
    for turn in plain_turns(turns):
        if turn.get("role", "assistant") == "assistant" and turn.get("content") is not None:
            yield str(join_parts(turn["content"]))
