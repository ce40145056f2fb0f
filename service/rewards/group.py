"""Rewards within a group, in the shape of NeMo Gym's ``genrm_compare``: siblings are compared with each other."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from constitution import Principle
from critic.records import Message, Prompt
from critic.rewarding.comparing import Compared, ComparisonRewards
from critic.rewarding.grade import Grade
from service.rewards.chat_text import answer_of

MOST_SIBLINGS = 64
NO_ANSWER = "it holds no answer: there is no output_text in it"


class GroupRequest(BaseModel):
    """Answers to one conversation, as objects of OpenAI's Responses API, or as texts.

    ``principle`` is what they are compared by, where the address names no constitution.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "conversation_history": [{"role": "user", "content": "Name a river."}],
                    "response_objs": [
                        {"output": [{"type": "message", "content": [{"type": "output_text", "text": "The Po."}]}]},
                        "I don't know any.",
                    ],
                    "principle": "Answer the question.",
                }
            ]
        },
    )

    conversation_history: list[Message] = Field(min_length=1, max_length=1024)
    response_objs: list[str | dict[str, Any]] = Field(min_length=1, max_length=MOST_SIBLINGS)
    principle: str | None = Field(default=None, min_length=1, max_length=8000)


class GroupAnswer(BaseModel):
    """A reward for each answer, in order: its strength among its siblings in log-odds, with mean 0.

    null where none can be read, and then ``problems`` says why: there is no neutral number. ``errors`` are standard
    errors. ``comparison_results`` has the probability that ``response_i`` is better than ``response_j``.
    """

    rewards: list[float | None]
    errors: list[float | None]
    problems: list[str | None]
    comparison_results: list[dict[str, int | float]]
    metrics: dict[str, float]

    @classmethod
    def of(cls, compared: Compared) -> Self:
        """Return the answer for what a group came to."""
        errors = [grade.error for grade in compared.grades if grade.error is not None]
        metrics = {"comparisons": float(compared.asked), "unread": float(compared.asked - len(compared.results))}
        rewards = [grade.reward for grade in compared.grades]
        problems = [grade.problem or None for grade in compared.grades]
        comparison_results: list[dict[str, int | float]] = [
            {"response_i": first, "response_j": second, "judge_idx": 0, "probability": probability}
            for first, second, probability in compared.results
        ]
        return cls(
            rewards=rewards,
            errors=[grade.error for grade in compared.grades],
            problems=problems,
            comparison_results=comparison_results,
            metrics=metrics | ({"mean_error": fmean(errors)} if errors else {}),
        )


async def compared(source: ComparisonRewards, prompt: Prompt, texts: Sequence[str | None]) -> Compared:
    """Compare those ``texts`` that there are. A response that came to none has no reward, and costs the others none."""
    places = [number for number, text in enumerate(texts) if text is not None]
    among_read = await source.compared(prompt, [text for text in texts if text is not None], "interactive")
    grades = [Grade(None, NO_ANSWER)] * len(texts)
    for place, grade in zip(places, among_read.grades, strict=True):
        grades[place] = grade
    results = [(places[first], places[second], probability) for first, second, probability in among_read.results]
    return Compared(grades, results, among_read.asked)


def text_of(response: str | dict[str, Any]) -> str | None:
    """Return the text of a response: what its messages say, without thoughts and tool calls.

    None for one that came to no answer: its thoughts took all tokens, say. Raises `ValueError` for what is no response.
    """
    if isinstance(response, str):
        return answer_of(response)
    items = response.get("output")
    if not isinstance(items, list):
        raise ValueError("it has no list of output items")
    messages = [item for item in items if _is_message(item)]
    texts = []
    for message in messages:
        content = message.get("content")
        if isinstance(content, str):
            texts.append(content)
        elif isinstance(content, list):
            texts += [part["text"] for part in content if _has_text(part)]
    return answer_of("".join(texts)) if texts else None


def principle_of(text: str) -> Principle:
    """Return a principle that says ``text``, for a request without a constitution."""
    return Principle(
        id="given",
        title="Given with the request",
        statement=text,
        critique=f"Say where the response falls short of this: {text}",
        revision=f"Rewrite the response so that it does this: {text}",
        compare=f"Which response does this better? {text}",
    )


def _has_text(part: object) -> bool:
    return isinstance(part, dict) and isinstance(part.get("text"), str)


def _is_message(item: object) -> bool:
    return isinstance(item, dict) and item.get("type", "message") == "message"
