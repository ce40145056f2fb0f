"""Argilla 2's records, as ``dataset.records.to_json`` exports them: a JSON array of one object a record.

A record has ``fields`` (the prompt, as a text or chat, and the responses), ``responses`` by people and ``suggestions``
by models, each by the name of its question. The export doesn't say what a question asks, so its name must: one of
`service.formats.parts.argilla_record.QUESTIONS`, with ``_2`` at its end for the second response; ``questions`` maps
other names to these. A field is a response if its name begins with one of `RESPONSES`.

Lost: votes, strengths, spans, how responses ended, tags, ``where``, the names of annotators that are no UUID, a
probability that a person gave, what a scale's ends mean, and that a correction is not better. Left out: labels that
were not read, ratings that are no whole number from 0 to 10 (Argilla takes no others), and a second answer to one
question by one annotator, or by any model.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from pydantic import Field

from base.digest import digest
from critic.feedback import Feedback, Scale, Source
from critic.feedback.base import Columns
from critic.feedback.from_file import GIVEN
from critic.feedback.kinds.ranking import dense
from critic.files.inputs import RowError
from critic.files.row_messages import prompt_messages
from service.formats.base import Entry, Format, Found, Reading, Table, broken, read_rows, shown
from service.formats.parts.argilla_record import ENVELOPE, NOBODY, QUESTIONS, add, new_record

RESPONSES = ("response", "completion", "generation", "answer", "output", "chosen", "rejected")


class ArgillaFormat(Format):
    """See the module's docstring. ``scale`` is that of ratings whose record doesn't name it in its metadata."""

    name: ClassVar[str] = "argilla"
    title: ClassVar[str] = "Argilla 2's records"
    suffixes: ClassVar[tuple[str, ...]] = (".json", ".jsonl")
    reads: ClassVar[tuple[str, ...]] = tuple(QUESTIONS.values())
    tables: ClassVar[Mapping[Table, tuple[str, ...]]] = MappingProxyType(
        {"feedback": ("id", "fields", "metadata", "suggestions", "responses", "vectors")}
    )
    loses: ClassVar[str] = (
        "Votes, strengths, spans, times, flags, choices under each principle, the kind of a tie, how responses ended, "
        "tags, places in files, names of annotators that aren't UUIDs, a probability that a person gave, what the ends "
        "of a scale mean, and that a correction is not better. Left out are labels that could not be read, rankings of "
        "only some responses, ratings other than whole numbers from 0 to 10, and a second answer to one question by "
        "the same annotator, or by any model."
    )

    questions: dict[str, str] = Field(default_factory=dict)
    scale: Scale = Scale(min=1, max=5)

    def usage(self, table: Table, file: Path) -> str:
        """See the base class."""
        return f'dataset.records.from_json("{file}"), into a data set with the fields and questions that it names'

    def read(self, path: Path, source: Source = "human") -> Reading:
        """Yield a feedback for each answer: people's, and then models' suggestions."""
        return read_rows(path, source, self._from_record)

    def save(self, table: Table, entries: Iterable[Entry], path: Path) -> Counter[str]:
        """Write one array with a record an item; memory grows with them, because Argilla reads it as a whole."""
        lost: Counter[str] = Counter()
        records: dict[str, Columns] = {}
        for feedback in entries:
            assert isinstance(feedback, Feedback)
            key = digest([shown(feedback), *(getattr(feedback, name) for name in ENVELOPE)])
            add(records.setdefault(key, new_record(key, feedback)), feedback, lost)
        path.write_text(json.dumps(list(records.values()), ensure_ascii=False, indent=1), "utf-8")
        return lost

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
                    "annotator": None if user in (None, NOBODY) else str(user),
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
        responses = [{"text": given[name], "model": self.metadata.get(f"{name}_model") or GIVEN} for name in self.names]
        self.envelope = {name: self.metadata.get(name) for name in ENVELOPE} | {
            "prompt": {"messages": messages, "id": self.metadata.get("prompt_id")},
            "responses": responses,
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
