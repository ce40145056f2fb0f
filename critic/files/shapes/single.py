"""One answer a row, under its other names: ``response``, ``output`` or ``answer``; with HelpSteer's attributes, 0 to 4.

Rows of one prompt that follow each other are several answers to it (`together`).
"""

from collections.abc import Sequence
from typing import Any

from critic.files.shapes.base import PROMPTS, Aspect, Columns, Scale, Shape, are_texts, has, number, truth
from critic.rows import RowError

NAMES = ("response", "output", "answer")
ATTRIBUTES = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
WHOLE = "helpfulness"  # the attribute that says how good an answer is as a whole
SCALE: Scale = (0.0, 4.0)
_OTHERS = ("completion", "responses", "chosen", "rejected")


def _fits(columns: Columns) -> bool:
    if any(has(columns, name) for name in _OTHERS) or _name(columns) is None:
        return False
    # A whole chat may stand alone, under the name of its last turn.
    return any(has(columns, name) for name in PROMPTS) or isinstance(columns[_name(columns) or ""], list)


def _name(columns: Columns) -> str | None:
    return next((name for name in NAMES if isinstance(columns.get(name), str | list)), None)


def _read(columns: Columns, labels: bool) -> Columns:
    name = _name(columns) or ""
    if are_texts(columns[name]):
        return _several(columns, name, labels)
    read = columns | {name: None, "completion": columns[name]}
    if name == "output" and not has(columns, "prompt") and has(columns, "input") and not has(columns, "instruction"):
        read = {other: value for other, value in read.items() if other not in ("messages", "question", "text")}
    rated = [attribute for attribute in ATTRIBUTES if attribute in columns]
    if not labels or WHOLE not in rated or "rating" in columns:
        return read
    values = {attribute: _attribute(columns, attribute) for attribute in rated}
    aspects = [(0, a, v, SCALE) for a, v in values.items() if v is not None and a != WHOLE]
    return read | {"rating": values[WHOLE], "scale": list(SCALE), "rated": WHOLE, "aspects": aspects}


def _several(columns: Columns, name: str, labels: bool) -> Columns:
    """Return a row whose answer is a list of texts: several, of which none is said to be the better one."""
    texts = columns[name]
    if labels:
        raise RowError("no_label", f"{name} is a list of {len(texts)} texts, and nothing says which is better")
    return columns | {name: None, "responses": texts}


def _attribute(columns: Columns, name: str) -> float | None:
    value = columns[name]
    rating = number(value)
    if value is not None and (rating is None or not SCALE[0] <= rating <= SCALE[1]):
        raise RowError("bad_rating", f"{name} is {value!r:.40}; expected 0 to 4")
    return rating


def is_single(columns: Columns) -> bool:
    """Whether a row in this project's columns is one answer to a prompt."""
    return has(columns, "completion") and isinstance(_asked(columns), str | list)


def _asked(columns: Columns) -> object:
    return next((columns[name] for name in PROMPTS if has(columns, name)), None)


def same_prompt(one: Columns, other: Columns, labels: bool) -> bool:
    """Whether two such rows ask the same. Labels on different scales say nothing of each other."""
    return all(one.get(name) == other.get(name) for name in (*PROMPTS, *(("scale",) if labels else ())))


def together(rows: Sequence[Columns]) -> Columns:
    """Return several rows of one prompt as one, with all answers and what each was rated."""
    first = {name: value for name, value in rows[0].items() if name not in ("completion", "rating", "aspects", "label")}
    responses = [row["completion"] for row in rows]
    columns: dict[str, Any] = {
        "responses": responses,
        "models": [_model(row) for row in rows],
    }
    ratings = [_value(row) for row in rows]
    scale = next((row["scale"] for row in rows if row.get("scale") is not None), [0, 1])
    # A label that is there and empty stays there, to be named.
    labelled = any("rating" in row or "label" in row for row in rows)
    labels = {"ratings": ratings, "scale": scale} if labelled else {}
    aspects: list[Aspect] = [
        (place, name, value, on) for place, row in enumerate(rows) for _, name, value, on in row.get("aspects") or ()
    ]
    return first | columns | labels | ({"aspects": aspects} if aspects else {})


def _model(row: Columns) -> str | None:
    return row["model"] if isinstance(row.get("model"), str) else None


def _value(row: Columns) -> Any:
    value = row["rating"] if row.get("rating") is not None else row.get("label")
    if isinstance(value, bool):
        return int(value)
    return truth(value) if isinstance(value, str) else value


SINGLE = Shape("one answer", (*NAMES, *ATTRIBUTES, "model"), _fits, _read, frozenset(NAMES))
