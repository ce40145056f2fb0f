"""One record of Argilla 2, and how labels are put into it. `service.formats.labelling.argilla` says what is lost."""

from collections import Counter
from contextlib import suppress
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from critic.feedback import (
    ComparisonLabel,
    CorrectionLabel,
    CritiqueLabel,
    DemonstrationLabel,
    Feedback,
    RankingLabel,
    RatingLabel,
    ThumbsLabel,
)
from critic.feedback.base import Columns
from service.formats.base import count_beside

QUESTIONS = {
    "preference": "comparison",
    "ranking": "ranking",
    "rating": "rating",
    "thumbs": "thumbs",
    "critique": "critique",
    "demonstration": "demonstration",
    "correction": "correction",
}
"""A question's name, and the kind of feedback that its answers are."""

ENVELOPE = ("group", "constitution", "constitution_hash", "principle")
"""What all labels of one record share; it is in the record's metadata."""

NOBODY = str(UUID(int=0))
_QUESTION_OF = {kind: name for name, kind in QUESTIONS.items()}


def new_record(key: str, feedback: Feedback) -> Columns:
    """Return a record of what ``feedback`` is about, without any answer yet."""
    names = [f"response{i}" for i in range(1, len(feedback.responses) + 1)]
    metadata = {name: value for name in ENVELOPE if (value := getattr(feedback, name)) is not None}
    if feedback.prompt.id is not None:
        metadata["prompt_id"] = feedback.prompt.id
    metadata |= {f"{name}_model": response.model for name, response in zip(names, feedback.responses, strict=True)}
    texts = {name: response.text for name, response in zip(names, feedback.responses, strict=True)}
    return {
        "id": key[:32],
        "fields": {"prompt": [message.model_dump() for message in feedback.prompt.messages], **texts},
        "metadata": metadata,
        "suggestions": {},
        "responses": {},
        "vectors": {},
        "_server_id": None,
    }


def add(record: Columns, feedback: Feedback, lost: Counter[str]) -> None:
    """Put one label into its record, or count why it has no place there."""
    texts = [text for name, text in record["fields"].items() if name != "prompt"]
    question, value = _question(feedback.in_order_of(texts))
    if isinstance(feedback.label, RatingLabel):
        value = _whole(feedback.label, record["metadata"])
    if value is None:
        lost[f"skipped_{feedback.kind}"] += 1
        return
    if feedback.source == "ai":
        if question in record["suggestions"]:
            lost["skipped_second_suggestion"] += 1
            return
        score = _score(feedback)
        record["suggestions"][question] = {"value": value, "score": score, "agent": feedback.annotator}
    else:
        user = _user(feedback.annotator)
        answers = record["responses"].setdefault(question, [])
        if any(answer["user_id"] == user for answer in answers):
            lost["skipped_second_answer"] += 1
            return
        answers.append({"value": value, "user_id": user})
        lost["annotator"] += user not in (feedback.annotator, NOBODY)
    _count_lost(feedback, lost)


def _question(feedback: Feedback) -> tuple[str, Any]:
    """Return the question's name, and the answer; None where it has no place in Argilla."""
    name = _QUESTION_OF.get(feedback.kind, "")
    match feedback.label:
        case ComparisonLabel(choice=choice):
            return name, choice
        case RankingLabel(ranks=ranks) if None not in ranks:
            return name, [{"value": f"response{i}", "rank": rank} for i, rank in enumerate(ranks, 1)]
        case RatingLabel(response=i, value=value) | ThumbsLabel(response=i, value=value):
            return f"{name}_{i + 1}", value
        case CritiqueLabel() as critique:
            return name, critique.text if critique.outcome == "critique" else None
        case CorrectionLabel() as correction:
            return f"{name}_{correction.response + 1}", correction.text
        case DemonstrationLabel() as demonstration:
            return name, demonstration.text
        case _:
            return name, None


def _whole(label: RatingLabel, metadata: Columns) -> int | None:
    """Return a rating as Argilla takes it, and note its scale; None where it takes no such rating."""
    noted = {"rating_min": label.scale.min, "rating_max": label.scale.max}
    other_scale = any(metadata.get(name, value) != value for name, value in noted.items())
    if other_scale or not label.value.is_integer() or not 0 <= label.value <= 10:
        return None
    metadata |= noted
    return int(label.value)


def _score(feedback: Feedback) -> float | None:
    label = feedback.label
    if not isinstance(label, ComparisonLabel) or label.probability is None or label.choice == "tie":
        return None
    return max(label.probability, 1 - label.probability)


def _user(annotator: str | None) -> str:
    if annotator is None:
        return NOBODY
    with suppress(ValueError):
        return str(UUID(annotator))
    return str(uuid5(NAMESPACE_URL, annotator))


def _count_lost(feedback: Feedback, lost: Counter[str]) -> None:
    label = feedback.label
    count_beside(feedback, lost)
    lost["where"] += bool(feedback.where)
    lost["tags"] += bool(feedback.prompt.tags)
    lost["finish"] += any(response.finish != "given" for response in feedback.responses)
    match label:
        case ComparisonLabel():
            lost["votes"] += bool(label.votes)
            lost["strength"] += label.strength is not None
            lost["probability"] += label.probability is not None and (
                feedback.source == "human" or label.choice == "tie"
            )
        case RankingLabel():
            lost["strengths"] += label.strengths is not None
        case RatingLabel():
            lost["scale"] += bool(label.scale.min_means or label.scale.max_means)
        case CritiqueLabel():
            lost["spans"] += bool(label.spans)
        case CorrectionLabel():
            lost["better"] += not label.better
        case _:
            pass
