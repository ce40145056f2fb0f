"""UltraFeedback's rows: ``instruction`` and ``completions``, each with its model, score and ratings by aspect.

The score is ``overall_score`` (1 to 10), or the mean of the aspects' ratings (1 to 5) where no completion has one.
Numbers come as texts, too; ``N/A`` is no rating.
"""

from typing import Any

from critic.files.shapes.base import FIVE, Aspect, Columns, Scale, Shape, has, number
from critic.rows import RowError

TEN: Scale = (1.0, 10.0)
_NO_RATING = ("N/A", "")


def _fits(columns: Columns) -> bool:
    completions = columns.get("completions")
    return (
        isinstance(completions, list)
        and bool(completions)
        and all(isinstance(one, dict) and "response" in one for one in completions)
    )


def _read(columns: Columns, labels: bool) -> Columns:
    completions: list[dict[str, Any]] = columns["completions"]
    responses = [one["response"] for one in completions]
    read = columns | {
        "completions": None,
        "responses": responses,
        "models": [one.get("model") for one in completions],
    }
    return read | _labels(completions) if labels else read


def _labels(completions: list[dict[str, Any]]) -> Columns:
    aspects = [aspect for place, one in enumerate(completions) for aspect in _aspects(place, one)]
    scores = [_rating(one.get("overall_score"), "overall_score", TEN) for one in completions]
    if any(score is not None for score in scores):
        return {"ratings": scores, "scale": list(TEN), "aspects": aspects}
    means = []
    for place in range(len(completions)):
        means.append(_mean([value for at, _, value, _ in aspects if at == place]))
    if all(mean is None for mean in means):
        raise RowError("no_label", "no completion has an overall_score, nor a rating in annotations")
    return {"ratings": means, "scale": list(FIVE), "aspects": aspects}


def _aspects(place: int, completion: dict[str, Any]) -> list[Aspect]:
    annotations = completion.get("annotations") or {}
    if not isinstance(annotations, dict):
        raise RowError("bad_rating", "annotations is not an object of ratings by aspect")
    aspects: list[Aspect] = []
    for name, said in annotations.items():
        value = _rating(said.get("Rating"), name, FIVE) if isinstance(said, dict) else None
        if value is not None:
            aspects.append((place, name, value, FIVE))
    return aspects


def _rating(value: object, name: str, scale: Scale) -> float | None:
    if value is None or (isinstance(value, str) and value.strip() in _NO_RATING):
        return None
    rating = number(value)
    if rating is None or not scale[0] <= rating <= scale[1]:
        raise RowError("bad_rating", f"{name} is {value!r:.40}; expected {scale[0]:g} to {scale[1]:g}, or N/A")
    return rating


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _unused(columns: Columns) -> bool:
    return has(columns, "responses")


ULTRAFEEDBACK = Shape(
    "UltraFeedback",
    ("instruction", "completions"),
    lambda row: _fits(row) and not _unused(row),
    _read,
    frozenset(("completions",)),
)
