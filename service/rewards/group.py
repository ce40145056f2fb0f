"""Rewards within a group, in the shape of NeMo Gym's ``genrm_compare``: siblings are compared with each other."""

from statistics import fmean
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from constitution import Principle
from critic.records import Message
from critic.rewarding.comparing import Compared

MOST_SIBLINGS = 64


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
    comparison_results: list[dict[str, float]]
    metrics: dict[str, float]

    @classmethod
    def of(cls, compared: Compared) -> Self:
        """Return the answer for what a group came to."""
        errors = [grade.error for grade in compared.grades if grade.error is not None]
        metrics = {"comparisons": float(compared.asked), "unread": float(compared.asked - len(compared.results))}
        return cls(
            rewards=[grade.reward for grade in compared.grades],
            errors=[grade.error for grade in compared.grades],
            problems=[grade.problem or None for grade in compared.grades],
            comparison_results=[
                {"response_i": first, "response_j": second, "judge_idx": 0, "probability": probability}
                for first, second, probability in compared.results
            ],
            metrics=metrics | ({"mean_error": fmean(errors)} if errors else {}),
        )


def text_of(response: str | dict[str, Any]) -> str:
    """Return the text of a response: what its messages say, without thoughts and tool calls."""
    if isinstance(response, str):
        return response
    items = response.get("output")
    messages = [item for item in items if _is_message(item)] if isinstance(items, list) else []
    texts = []
    for message in messages:
        content = message.get("content")
        parts = [{"text": content}] if isinstance(content, str) else content
        texts += [part["text"] for part in parts or () if isinstance(part, dict) and isinstance(part.get("text"), str)]
    if not texts:
        raise ValueError("there is no output_text in it")
    return "".join(texts)


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


def _is_message(item: object) -> bool:
    return isinstance(item, dict) and item.get("type", "message") == "message"
