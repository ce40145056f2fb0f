"""Annotated pairs, version 2.0: the JSON of Inverse Constitutional AI and Feedback Forensics.

One object: ``metadata``, ``annotators`` by id, and ``comparisons``, each with ``prompt``, ``response_a`` and
``response_b``, and ``annotations`` by annotator: ``pref`` is ``a``, ``b`` or null with a ``no_pref_reason``. As in the
project that made the format (inverse-cai, ``annotated_pairs_format.py``), ``invalid`` is an answer that can't be read
and ``not_applicable`` that no principle applies; ``tie`` and ``unsure`` are ours.

Lost: votes, ``where``, times, flags, how responses ended, the prompt's tags, and a second label of one annotator on one
pair; a prompt without an id gets one. Group, constitution, probability, strength, what kind of tie it is and what was
chosen by each principle are kept beside the format's own keys; earlier turns are kept in a comparison's ``metadata``,
while ``prompt`` shows them as a transcript. Only comparisons can be said.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from base.digest import digest
from critic.feedback import ComparisonLabel, Feedback, Source
from critic.feedback.base import Columns, expect_list, not_given
from critic.feedback.from_file import GIVEN
from critic.files.inputs import RowError
from critic.files.row_messages import prompt_messages
from critic.files.sources import Broken
from service.formats.base import Entry, Format, Found, Reading, Table, broken, read_rows, shown

VERSION = "2.0"
_PREFS = {"first": "a", "second": "b"}
_REASONS = {"tie": "tie", "unsure": "unsure", "unreadable": "invalid", "no_principle": "not_applicable"}
_CHOICES = {pref: choice for choice, pref in _PREFS.items()}
_OUTCOMES = {reason: outcome for outcome, reason in _REASONS.items()}
_ENVELOPE = ("annotator", "group", "constitution", "constitution_hash", "principle")
_BESIDE = ("probability", "strength", "levels", "tie_kind", "by_principle", "deciding")
_SOURCES: dict[str, Source] = {"human": "human", "ai": "ai", "principle": "ai"}


class AnnotatedPairsFormat(Format):
    """See the module's docstring."""

    name: ClassVar[str] = "annotated-pairs"
    title: ClassVar[str] = "Annotated pairs 2.0 (Inverse Constitutional AI)"
    suffixes: ClassVar[tuple[str, ...]] = (".json",)
    reads: ClassVar[tuple[str, ...]] = ("comparison",)
    tables: ClassVar[Mapping[Table, tuple[str, ...]]] = MappingProxyType(
        {"feedback": ("metadata", "annotators", "comparisons")}
    )
    loses: ClassVar[str] = (
        "Votes, places in files, times, flags, how responses ended, the prompt's tags, and a second label of one "
        "annotator on one pair; a prompt without an id gets one. It holds comparisons only."
    )

    def read(self, path: Path, source: Source = "human") -> Reading:
        """Yield a comparison for each annotation."""
        return read_rows(path, source, _from_pairs)

    def save(self, table: Table, entries: Iterable[Entry], path: Path) -> Counter[str]:
        """Write one object with all comparisons; memory grows with them, as in every reader of this format."""
        lost: Counter[str] = Counter()
        annotators: dict[str, Columns] = {}
        pairs: dict[str, Columns] = {}
        for feedback in entries:
            assert isinstance(feedback, Feedback)
            if not isinstance(feedback.label, ComparisonLabel):
                lost[f"skipped_{feedback.kind}"] += 1
                continue
            pair = pairs.setdefault(shown(feedback), _pair(feedback))
            who = _annotator(feedback)
            if who in pair["annotations"]:
                lost["skipped_second_label"] += 1
                continue
            annotators[who] = _described(feedback)
            turned = feedback.in_order_of([pair["response_a"]["text"], pair["response_b"]["text"]])
            pair["annotations"][who] = _annotation(turned)
            _count_lost(feedback, lost)
        about = {"version": VERSION, "description": "Comparisons by people and models"}
        whole = {"metadata": about, "annotators": annotators, "comparisons": list(pairs.values())}
        path.write_text(json.dumps(whole, ensure_ascii=False, indent=1), "utf-8")
        return lost


def _pair(feedback: Feedback) -> Columns:
    messages = [message.model_dump() for message in feedback.prompt.messages]
    transcript = "\n\n".join(f"{message['role']}: {message['content']}" for message in messages)
    metadata = {} if len(messages) == 1 else {"messages": json.dumps(messages, ensure_ascii=False)}
    first, second = feedback.responses
    return {
        "id": feedback.prompt.id or feedback.item[:16],
        "prompt": messages[0]["content"] if len(messages) == 1 else transcript,
        "response_a": {"text": first.text, "model": first.model},
        "response_b": {"text": second.text, "model": second.model},
        "annotations": {},
        "metadata": metadata,
    }


def _annotator(feedback: Feedback) -> str:
    return digest([feedback.source, *(getattr(feedback, name) for name in _ENVELOPE)])[:16]


def _described(feedback: Feedback) -> Columns:
    given = {name: value for name in _ENVELOPE if (value := getattr(feedback, name)) is not None}
    name = feedback.annotator or f"unnamed {feedback.source}"
    group = f", for {feedback.group}" if feedback.group else ""
    return {
        "name": name,
        "description": f"{name}{group}",
        "type": feedback.source,
        "source": feedback.source,
        **given,
    }


def _annotation(feedback: Feedback) -> Columns:
    label = feedback.label
    assert isinstance(label, ComparisonLabel)
    beside = {name: value for name in _BESIDE if not not_given(value := getattr(label, name))}
    if label.outcome == "preference":
        return {"pref": _PREFS[label.choice or ""], **beside}
    return {"pref": None, "no_pref_reason": _REASONS[label.outcome], **beside}


def _count_lost(feedback: Feedback, lost: Counter[str]) -> None:
    label = feedback.label
    lost["votes"] += isinstance(label, ComparisonLabel) and bool(label.votes)
    lost["seconds"] += feedback.seconds is not None
    lost["flag"] += feedback.flag is not None
    lost["where"] += bool(feedback.where)
    lost["tags"] += bool(feedback.prompt.tags)
    lost["finish"] += any(response.finish != "given" for response in feedback.responses)


def _from_pairs(columns: Columns, where: str, source: Source) -> Iterator[Found]:
    about, annotators = columns.get("metadata"), columns.get("annotators")
    if not isinstance(about, dict) or not isinstance(annotators, dict):
        raise RowError("unknown_format", "expected one object with metadata, annotators and comparisons")
    if about.get("version") != VERSION:
        raise RowError("unknown_format", f"version {str(about.get('version'))[:20]!r}; expected {VERSION}")
    for number, comparison in enumerate(expect_list(columns, "comparisons")):
        yield from _annotations(comparison, annotators, f"{where}:comparison {number}", source)


def _annotations(comparison: Any, annotators: Columns, where: str, source: Source) -> Iterator[Found]:
    if not isinstance(comparison, dict) or not isinstance(comparison.get("annotations"), dict):
        yield Broken(where, "unknown_format", "a comparison is an object with annotations")
        return
    for who, annotation in comparison["annotations"].items():
        described = annotators.get(who)
        try:
            yield _comparison(comparison, annotation, described if isinstance(described, dict) else {}, where, source)
        except RowError as error:
            yield broken(where, error)
        except ValueError as error:
            yield broken(where, error)


def _comparison(comparison: Columns, annotation: Any, described: Columns, where: str, source: Source) -> Feedback:
    if not isinstance(annotation, dict):
        raise RowError("unknown_format", "an annotation is an object with pref")
    given = {name: described[name] for name in _ENVELOPE if name in described}
    if "source" not in described:  # not written here
        given = {"annotator": described.get("name") or described.get("description")}
    return Feedback.model_validate(
        {
            "kind": "comparison",
            "prompt": {"messages": _messages(comparison), "id": _text(comparison.get("id"))},
            "responses": [_response(comparison, side) for side in ("response_a", "response_b")],
            "label": _label(annotation),
            "source": _SOURCES.get(str(described.get("type")), source),
            "where": where,
            **given,
        }
    )


def _messages(comparison: Columns) -> object:
    metadata = comparison.get("metadata")
    if isinstance(metadata, dict) and "messages" in metadata:
        return prompt_messages({"messages": metadata["messages"]})
    if comparison.get("prompt") is None:
        raise RowError("no_prompt", "the comparison has no prompt")
    return prompt_messages({"prompt": comparison["prompt"]})


def _response(comparison: Columns, side: str) -> Columns:
    response = comparison.get(side)
    if not isinstance(response, dict):
        raise RowError("bad_responses", f"{side} is not an object with a text")
    return {"text": response.get("text"), "model": response.get("model") or GIVEN}


def _label(annotation: Columns) -> Columns:
    pref, reason = annotation.get("pref"), annotation.get("no_pref_reason")
    label = {name: annotation[name] for name in _BESIDE if name in annotation}
    if pref is None:
        outcome = _OUTCOMES.get(str(reason))
        if outcome is None:
            raise RowError("bad_choice", f"no preference, for the reason {str(reason)[:40]!r}")
        return label | {"choice": "tie" if outcome == "tie" else None, "outcome": outcome}
    if not isinstance(pref, str) or pref not in _CHOICES:
        raise RowError("bad_choice", f"the preference is {str(pref)[:40]!r}; expected a or b")
    return label | {"choice": _CHOICES[pref]}


def _text(value: object) -> str | None:
    return None if value is None else str(value)
