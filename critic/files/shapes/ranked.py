"""Lists of answers: Nectar's, distilabel's and NeMo RL's.

Nectar's are in ``answers``, each with ``answer``, ``model`` and ``rank`` (1 is best).
distilabel's texts stand in ``generations``, and what its UltraFeedback task says of them in ``ratings`` (1 to 5).
NeMo RL has ``completions``, each a ``completion`` (messages) with its ``rank`` (the lower, the better; from 0 on).
Prodigy has ``options``, of which those that ``accept`` names are the better ones, where the ``answer`` is "accept".
"""

from typing import Any

from critic.files.shapes.base import FIVE, Columns, Shape, has, no_label, number, preference, whole
from critic.rows import RowError


def _fits(columns: Columns) -> bool:
    answers = columns.get("answers")
    listed = (
        isinstance(answers, list)
        and bool(answers)
        and all(isinstance(one, dict) and "answer" in one for one in answers)
    )
    return listed and not has(columns, "responses")


def _read(columns: Columns, labels: bool) -> Columns:
    answers: list[dict[str, Any]] = columns["answers"]
    responses = [one["answer"] for one in answers]
    read = columns | {
        "answers": None,
        "responses": responses,
        "models": [one.get("model") for one in answers],
    }
    return read | {"ranks": [_rank(one) for one in answers]} if labels else read


def _rank(answer: dict[str, Any], best: int = 1) -> int:
    rank = whole(answer.get("rank"))
    if rank is None:
        error = no_label("rank", answer.get("rank"), f"a whole number, {best} for the best")
        raise RowError("no_label" if answer.get("rank") is None else "bad_ranks", error.detail)
    return rank


def _fits_completions(columns: Columns) -> bool:
    completions = columns.get("completions")
    if not isinstance(completions, list) or not completions:
        return False
    return all(isinstance(one, dict) and "completion" in one for one in completions)


def _read_completions(columns: Columns, labels: bool) -> Columns:
    completions: list[dict[str, Any]] = columns["completions"]
    answers = [one["completion"] for one in completions]
    read = columns | {"completions": None}
    if not labels:
        return read | {"responses": answers}
    ranks = [_rank(one, best=0) for one in completions]
    if len(ranks) == 2:  # as nearly all are, and then a pair
        better = None if ranks[0] == ranks[1] else int(ranks[1] < ranks[0])
        return read | preference((answers[0], answers[1]), better)
    return read | {"responses": answers, "ranks": [rank + 1 - min(ranks) for rank in ranks]}


def _fits_generations(columns: Columns) -> bool:
    return isinstance(columns.get("generations"), list) and not any(map(columns.get, ("chosen", "responses")))


def _read_generations(columns: Columns, labels: bool) -> Columns:
    read = columns | {
        "generations": None,
        "responses": columns["generations"],
        "models": columns.get("generation_models"),
    }
    if not labels or "ratings" not in columns:
        return read
    ratings = columns["ratings"]
    if not isinstance(ratings, list) or len(ratings) != len(columns["generations"]):
        raise no_label("ratings", ratings, "a list with a rating of each generation")
    values = [number(rating) for rating in ratings]
    for rating, value in zip(ratings, values, strict=True):
        if rating is not None and (value is None or not 1 <= value <= FIVE[1]):
            raise RowError("bad_rating", f"a rating is {rating!r:.40}; expected 1 to 5")
    return read | {"ratings": values, "scale": list(FIVE)}


_VERDICTS = ("accept", "reject", "ignore")
_HASHES = ("_input_hash", "_task_hash")


def _fits_prodigy(columns: Columns) -> bool:
    return columns.get("answer") in _VERDICTS and any(name in columns for name in _HASHES)


def _read_prodigy(columns: Columns, labels: bool) -> Columns:
    read = {name: value for name, value in columns.items() if name not in ("answer", "label", "options", "accept")}
    options = columns.get("options")
    if not isinstance(options, list) or not all(isinstance(one, dict) and "text" in one for one in options):
        return read
    read |= {"responses": [one["text"] for one in options]}
    accepted = columns.get("accept")
    if not labels:
        return read
    if columns["answer"] != "accept" or not isinstance(accepted, list) or not accepted:
        raise RowError("no_label", f"the answer is {columns['answer']!r}, and accepts none of the options")
    return read | {"ranks": [1 if one.get("id") in accepted else 2 for one in options]}


PRODIGY = Shape("Prodigy", ("options", "accept", *_HASHES), _fits_prodigy, _read_prodigy, frozenset(("answer",)))
GENERATIONS = Shape(
    "distilabel",
    ("generations", "generation_models", "ratings"),
    _fits_generations,
    _read_generations,
    frozenset(("generations",)),
)
COMPLETIONS = Shape(
    "NeMo RL", ("context", "completions"), _fits_completions, _read_completions, frozenset(("completions",))
)
RANKED = Shape("ranked answers", ("prompt", "answers"), _fits, _read, frozenset(("answers",)))
