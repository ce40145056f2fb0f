"""Argilla 2's records, as ``dataset.records.to_json`` exports them: a JSON array of one object a record.

A record has ``fields`` (the prompt, as a text or chat, and the responses), ``responses`` by people and ``suggestions``
by models, each by the name of its question. The export doesn't say what a question asks, so its name must: one of
`QUESTIONS`, with ``_2`` at its end for the second response; ``questions`` maps other names to these. A field is a
response if its name begins with one of `RESPONSES`.

Lost: votes, strengths, spans, how responses ended, tags, ``where``, the names of annotators that are no UUID, a
probability that a person gave, what a scale's ends mean, and that a correction is not better. Left out: labels that
were not read, ratings that are no whole number from 0 to 10 (Argilla takes no others), and a second answer to one
question by one annotator, or by any model.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar
from uuid import NAMESPACE_URL, UUID, uuid5

from pydantic import Field

from constitution.digest import digest
from critic.feedback import (
    ComparisonLabel,
    CorrectionLabel,
    CritiqueLabel,
    DemonstrationLabel,
    Feedback,
    RankingLabel,
    RatingLabel,
    Scale,
    Source,
    ThumbsLabel,
)
from critic.feedback.base import Columns
from critic.feedback.ranking import dense
from critic.run.inputs import RowError, prompt_messages
from service.formats.base import Entry, Format, Found, Table, broken, read_rows, shown
from service.formats.columns import GIVEN

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

RESPONSES = ("response", "completion", "generation", "answer", "output", "chosen", "rejected")
_NAMES = {kind: name for name, kind in QUESTIONS.items()}
_ENVELOPE = ("group", "constitution", "constitution_hash", "principle")
_NOBODY = str(UUID(int=0))


class ArgillaFormat(Format):
    """See the module's docstring. ``scale`` is that of ratings whose record doesn't name it in its metadata."""

    name: ClassVar[str] = "argilla"
    suffixes: ClassVar[tuple[str, ...]] = (".json", ".jsonl")
    reads: ClassVar[tuple[str, ...]] = tuple(QUESTIONS.values())
    writes: ClassVar[tuple[Table, ...]] = ("feedback",)

    questions: dict[str, str] = Field(default_factory=dict)
    scale: Scale = Scale(min=1, max=5)

    def read(self, path: Path, source: Source = "human") -> Iterator[Found]:
        """Yield a feedback for each answer: people's, and then models' suggestions."""
        return read_rows(path, source, self._from_record)

    def write(self, table: Table, entries: Iterable[Entry], path: Path) -> Counter[str]:
        """Write one array with a record an item; memory grows with them, because Argilla reads it as a whole."""
        lost: Counter[str] = Counter()
        records: dict[str, Columns] = {}
        for feedback in entries:
            assert isinstance(feedback, Feedback)
            key = digest([shown(feedback), *(getattr(feedback, name) for name in _ENVELOPE)])
            _add(records.setdefault(key, _record(key, feedback)), feedback, lost)
        path.write_text(json.dumps(list(records.values()), ensure_ascii=False, indent=1), "utf-8")
        return +lost

    def _from_record(self, columns: Columns, where: str, source: Source) -> Iterator[Found]:
        record = _Record(columns)
        for question, answers in _dict(columns, "responses").items():
            for answer in answers if isinstance(answers, list) else [answers]:
                yield self._answer(record, question, answer, where, source)
        for question, suggestion in _dict(columns, "suggestions").items():
            yield self._answer(record, question, suggestion, where, "ai")

    def _answer(self, record: "_Record", question: str, answer: Any, where: str, source: Source) -> Found:
        try:
            if not isinstance(answer, dict):
                raise RowError("unknown_format", f"an answer to {question[:40]!r} is not an object with a value")
            if answer.get("status") in ("draft", "discarded"):
                raise RowError("not_submitted", f"the answer to {question[:40]!r} is {answer['status']}")
            kind, position = self._asked(question)
            label = record.label(kind, position, answer, self.scale)
            user = answer.get("agent") if source == "ai" else answer.get("user_id")
            return Feedback.model_validate(
                {
                    **record.envelope,
                    "kind": kind,
                    "label": label,
                    "source": source,
                    "annotator": None if user in (None, _NOBODY) else str(user),
                    "where": where,
                }
            )
        except RowError as error:
            return broken(where, error)
        except ValueError as error:
            return broken(where, error)

    def _asked(self, question: str) -> tuple[str, int]:
        """Return the kind of a question, and the position of the response that it is about."""
        name, _, number = self.questions.get(question, question).rpartition("_")
        if not number.isdecimal() or len(number) > 3:
            name, number = self.questions.get(question, question), "1"
        if name not in QUESTIONS or int(number) < 1:
            raise RowError(
                "unknown_question",
                f"nothing says what {question[:40]!r} asks; map it in questions to one of {', '.join(QUESTIONS)}",
            )
        return QUESTIONS[name], int(number) - 1


class _Record:
    """A record's prompt, responses and metadata."""

    def __init__(self, columns: Columns) -> None:
        fields, self.metadata = _dict(columns, "fields"), _dict(columns, "metadata")
        given = {name: value for name, value in fields.items() if value is not None}
        self.names = [name for name in given if name.startswith(RESPONSES)]
        messages = prompt_messages({name: value for name, value in given.items() if name not in self.names})
        if messages is None:
            raise RowError("no_prompt", f"no prompt among the fields {', '.join(given)[:200]}")
        self.envelope = {name: self.metadata.get(name) for name in _ENVELOPE} | {
            "prompt": {"messages": messages, "id": self.metadata.get("prompt_id")},
            "responses": [
                {"text": given[name], "model": self.metadata.get(f"{name}_model") or GIVEN} for name in self.names
            ],
        }

    def label(self, kind: str, position: int, answer: Columns, scale: Scale) -> Columns:
        """Return an answer as the label of its kind."""
        value = answer.get("value")
        match kind:
            case "comparison":
                choice = {"1": "first", "2": "second"}.get(self._place(value), value)
                return {"choice": choice, "probability": _probability(choice, answer.get("score"))}
            case "ranking":
                return {"ranks": self._ranks(value)}
            case "rating":
                low, high = (self.metadata.get(f"rating_{end}", getattr(scale, end)) for end in ("min", "max"))
                return {"value": value, "scale": {"min": low, "max": high}, "response": position}
            case "thumbs" | "correction":
                return {"value" if kind == "thumbs" else "text": value, "response": position}
            case _:
                return {"text": value}

    def _place(self, value: object) -> str:
        return str(self.names.index(value) + 1) if value in self.names else ""

    def _ranks(self, value: object) -> tuple[int, ...]:
        """Ranks by response: of a list of options with ``value`` and ``rank``, or of names from best to worst."""
        options = value if isinstance(value, list) else []
        ranks: dict[str, int] = {}
        for place, option in enumerate(options, 1):
            name, rank = (option.get("value"), option.get("rank")) if isinstance(option, dict) else (option, place)
            if name not in self.names or not isinstance(rank, int):
                raise RowError("bad_ranks", f"the ranking names {str(name)[:40]!r}, which is no response of the record")
            ranks[name] = rank
        if len(ranks) < len(self.names) or not ranks:
            raise RowError("bad_ranks", f"the ranking has {len(ranks)} of the {len(self.names)} responses")
        return dense([ranks[name] for name in self.names])


def _dict(columns: Columns, name: str) -> dict[str, Any]:
    value = columns.get(name) or {}
    if not isinstance(value, dict):
        raise RowError("unknown_format", f"{name} is not an object; expected Argilla 2's records")
    return value


def _probability(choice: object, score: object) -> float | None:
    """Return the probability that the first is better, from a suggestion's score of its choice."""
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0.5 < score <= 1:
        return None
    return {"first": float(score), "second": 1 - score}.get(str(choice))


def _record(key: str, feedback: Feedback) -> Columns:
    names = [f"response{i}" for i in range(1, len(feedback.responses) + 1)]
    metadata = {name: value for name in _ENVELOPE if (value := getattr(feedback, name)) is not None}
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


def _add(record: Columns, feedback: Feedback, lost: Counter[str]) -> None:
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
        lost["annotator"] += user not in (feedback.annotator, _NOBODY)
    _count_lost(feedback, lost)


def _question(feedback: Feedback) -> tuple[str, Any]:
    """Return the question's name, and the answer; None where it has no place in Argilla."""
    name = _NAMES[feedback.kind]
    match feedback.label:
        case ComparisonLabel(choice=choice):
            return name, choice
        case RankingLabel(ranks=ranks):
            return name, [{"value": f"response{i}", "rank": rank} for i, rank in enumerate(ranks, 1)]
        case RatingLabel(response=i, value=value) | ThumbsLabel(response=i, value=value):
            return f"{name}_{i + 1}", value
        case CritiqueLabel() as critique:
            return name, critique.text if critique.outcome == "critique" else None
        case CorrectionLabel() as correction:
            return f"{name}_{correction.response + 1}", correction.text
        case DemonstrationLabel() as demonstration:
            return name, demonstration.text


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
        return _NOBODY
    with suppress(ValueError):
        return str(UUID(annotator))
    return str(uuid5(NAMESPACE_URL, annotator))


def _count_lost(feedback: Feedback, lost: Counter[str]) -> None:
    label = feedback.label
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
