"""Rows in the columns that trainers read (TRL's names), to feedback: the reverse of `Feedback.rows`."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
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
from critic.feedback.base import Columns, expect_list
from critic.feedback.from_file import GIVEN, origin
from critic.feedback.kinds.comparison import Choice
from critic.feedback.kinds.ranking import dense
from critic.files.inputs import RowError
from critic.files.row_messages import side
from critic.files.shapes import shaped
from critic.files.shapes.other_names import refuse_score
from critic.records import Response
from service.formats.base import Found, Table, broken
from trainers.batches.data import listed, parse, parse_all
from trainers.batches.examples import Demonstration, Example, Pair, Ranked, Rated

_BOUND = ("sources", "annotators", "principles", "constitutions", "constitution_hashes", "where")
_COMMON = ("prompt", "prompt_id", "tags", "weight", "group", "labels", *_BOUND)
_PRINCIPLES = ("by_principle", "deciding")
OWN_COLUMNS: Mapping[Table, tuple[str, ...]] = MappingProxyType(
    {
        "pairs": (*_COMMON, "chosen", "rejected", "probability", "chosen_model", "rejected_model", *_PRINCIPLES),
        "rankings": (*_COMMON, "responses", "ranks"),
        "ratings": (*_COMMON, "completion", "label", "rating", "scale", "model", "by_principle"),
        "sft": (*_COMMON, "completion"),
        "feedback": tuple(Feedback.model_fields),
    }
)
"""What `Feedback.rows` gives for each table of a data set, and the fields of feedback itself."""


def from_columns(columns: Columns, where: str, source: Source) -> Iterator[Found]:
    """Yield the feedback that a row holds: one label, or one for each rating. Raises `RowError` and `ValueError`.

    The row is read by its shape, as by every command: see `critic.files.shapes`.
    """
    given = shaped(columns, labels=True)
    if given.get("ratings") is not None and given.get("responses") is not None:
        yield from _ratings(given, where, source)
        return
    example = parse(given, where)
    if isinstance(example, Demonstration):
        refuse_score(given)
    label, responses = _label(example, given)
    envelope = _envelope(example, given, where, source)
    if given.get("rated") is not None:
        envelope["principle"] = given["rated"]
    yield Feedback(kind=label.kind, responses=responses, label=label, **envelope)
    yield from _aspects(given, responses, envelope)


def _ratings(given: Columns, where: str, source: Source) -> Iterator[Found]:
    """Yield a rating of each response, or that it has none, and then those of its aspects."""
    examples, lacking = parse_all(given, where, (Rated,))
    low, high = given["scale"]
    texts = expect_list(given, "responses")
    models = given.get("models") or [None] * len(texts)
    answers = [side(text)[1] for text in texts]
    responses = tuple(
        Response(text=text, model=model if isinstance(model, str) else GIVEN)
        for text, model in zip(answers, models, strict=True)
    )
    envelope = _envelope(examples[0], given, where, source)
    for place, rating in enumerate(given["ratings"]):
        if rating is not None:
            label = RatingLabel(value=rating, scale=Scale(min=low, max=high), response=place)
            yield Feedback(kind=label.kind, responses=responses, label=label, **envelope)
    for error in lacking:
        yield broken(where, error)
    yield from _aspects(given, responses, envelope)


def _aspects(given: Columns, responses: tuple[Response, ...], envelope: dict[str, Any]) -> Iterator[Found]:
    for place, quality, value, (low, high) in given.get("aspects") or ():
        label = RatingLabel(value=value, scale=Scale(min=low, max=high), response=place)
        yield Feedback(kind=label.kind, responses=responses, label=label, **envelope | {"principle": quality})


def _envelope(example: Example, columns: Columns, where: str, source: Source) -> dict[str, Any]:
    prompt = example.prompt
    if isinstance(identifier := _identifier(columns), str | int):
        prompt = prompt.model_copy(update={"id": str(identifier)})
    return {"prompt": prompt, "group": example.group, **origin(columns, where, source)}


def _identifier(columns: Columns) -> object:
    return columns["prompt_id"] if columns.get("prompt_id") is not None else columns.get("id")


def _label(example: Example, columns: Columns) -> tuple[AnyLabel, tuple[Response, ...]]:
    match example:
        case Pair():
            return _comparison(example, columns), _responses(example, columns, "chosen_model", "rejected_model")
        case Ranked():
            return RankingLabel(ranks=dense(example.ranks)), _responses(example, columns)
        case Demonstration():
            return DemonstrationLabel(text=example.answer), ()
        case _:
            return _rated(example.value, columns), _responses(example, columns, "model")


def _responses(example: Example, columns: Columns, *models: str) -> tuple[Response, ...]:
    named = [columns.get(name) for name in models] or columns.get("models") or [None] * len(example.answers)
    return tuple(
        Response(text=text, model=model if isinstance(model, str) else GIVEN)
        for text, model in zip(example.answers, named, strict=True)
    )


def _comparison(pair: Pair, columns: Columns) -> ComparisonLabel:
    choice: Choice = "first" if pair.probability > 0.5 else "second"
    sides = {"chosen": "first", "rejected": "second"}
    said = _by_principle(columns, "choice")
    return ComparisonLabel.model_validate(
        {
            "choice": "tie" if pair.probability == 0.5 else choice,
            "probability": None if pair.probability in (0, 1) else pair.probability,
            "tie_kind": columns.get("tie_kind"),
            "by_principle": {name: sides.get(str(side), side) for name, side in said.items()},
            "deciding": listed(columns, "deciding") if columns.get("deciding") is not None else (),
        }
    )


def _by_principle(columns: Columns, name: str) -> dict[str, Any]:
    """Return what a row says by each principle. Raises `RowError`."""
    if columns.get("by_principle") is None:
        return {}
    entries = listed(columns, "by_principle")
    try:
        return {entry["principle"]: entry[name] for entry in entries}
    except (TypeError, KeyError):
        problem = f"by_principle is no list of objects with principle and {name}"
        raise RowError("bad_by_principle", problem) from None


def _rated(value: float, columns: Columns) -> RatingLabel | ThumbsLabel:
    if columns.get("label") is not None:
        return ThumbsLabel(value="up" if value else "down")
    low, high = listed(columns, "scale")
    said = _by_principle(columns, "rating")
    return RatingLabel(value=columns["rating"], scale=Scale(min=low, max=high), by_principle=said)
