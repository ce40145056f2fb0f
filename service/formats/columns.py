"""Rows in the columns that trainers read (TRL's names), to feedback: the reverse of `Feedback.rows`."""

from collections.abc import Iterator, Mapping
from typing import Any

from critic.feedback import (
    AnyLabel,
    ComparisonLabel,
    DemonstrationLabel,
    Feedback,
    RankingLabel,
    RatingLabel,
    Scale,
    Source,
    ThumbsLabel,
)
from critic.feedback.base import Columns
from critic.feedback.comparison import Choice
from critic.feedback.ranking import dense
from critic.records import Response
from service.formats.base import Found
from trainers.data import parse
from trainers.examples import Demonstration, Example, Pair, Ranked

ORIGIN = ("annotator", "principle", "constitution", "constitution_hash")
GIVEN = "given"
"""The model of a response whose writer the file doesn't name."""


def from_columns(columns: Columns, where: str, source: Source) -> Iterator[Found]:
    """Yield the one feedback that a row holds. Raises `critic.run.inputs.RowError` and `ValueError`."""
    example = parse(columns, where)
    label, responses = _label(example, columns)
    prompt = example.prompt
    if isinstance(identifier := columns.get("prompt_id", columns.get("id")), str | int):
        prompt = prompt.model_copy(update={"id": str(identifier)})
    yield Feedback(
        kind=label.kind,
        prompt=prompt,
        responses=responses,
        label=label,
        group=example.group,
        **origin(columns, where, source),
    )


def origin(columns: Mapping[str, Any], where: str, source: Source) -> dict[str, Any]:
    """Return the envelope's fields that say where a label comes from, in one of two ways: alone or as a list of one."""
    given: dict[str, Any] = {name: _alone(columns, name) for name in ORIGIN}
    return given | {"source": _alone(columns, "source") or source, "where": str(columns.get("where") or where)}


def _alone(columns: Mapping[str, Any], name: str) -> object:
    """Return a column, or the one member of the list that rows of a data set have instead."""
    if (value := columns.get(name)) is None:
        several = columns.get(f"{name}s" if name != "constitution_hash" else "constitution_hashes")
        value = several[0] if isinstance(several, list) and len(several) == 1 else None
    return value


def _label(example: Example, columns: Columns) -> tuple[AnyLabel, tuple[Response, ...]]:
    match example:
        case Pair():
            return _comparison(example), _responses(example, columns, "chosen_model", "rejected_model")
        case Ranked():
            return RankingLabel(ranks=dense(example.ranks)), _responses(example, columns)
        case Demonstration():
            return DemonstrationLabel(text=example.answer), ()
        case _:
            return _rated(example.value, columns), _responses(example, columns, "model")


def _responses(example: Example, columns: Columns, *models: str) -> tuple[Response, ...]:
    named = [columns.get(name) for name in models] or [None] * len(example.answers)
    return tuple(
        Response(text=text, model=model if isinstance(model, str) else GIVEN)
        for text, model in zip(example.answers, named, strict=True)
    )


def _comparison(pair: Pair) -> ComparisonLabel:
    if pair.probability == 0.5:
        return ComparisonLabel(choice="tie", outcome="tie", probability=0.5)
    choice: Choice = "first" if pair.probability > 0.5 else "second"
    return ComparisonLabel(choice=choice, probability=None if pair.probability in (0, 1) else pair.probability)


def _rated(value: float, columns: Columns) -> RatingLabel | ThumbsLabel:
    if "label" in columns:
        return ThumbsLabel(value="up" if value else "down")
    low, high = columns["scale"]
    return RatingLabel(value=columns["rating"], scale=Scale(min=low, max=high))
