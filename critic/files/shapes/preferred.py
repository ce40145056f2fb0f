"""Two answers, and a column that says which was preferred: the rows of SHP and of Inverse Constitutional AI (ICAI).

SHP has ``history`` (a post), two people's answers to it, and ``labels``: 1 where A was preferred, else 0. ICAI has
``text_a``, ``text_b`` and ``preferred_text``, which names one of them. What was asked stands in a column of its own, or
in each text: ``Instruction: ...``, an empty line, ``Output: ...``.
"""

import re

from critic.files.shapes.base import PROMPTS, Columns, Shape, has, no_label, preference, whole
from critic.rows import RowError

_SIDES = ("human_ref_a", "human_ref_b")  # in lower case, as all names are made before rows are read
TEXTS = ("text_a", "text_b")
_PREFERRED = "preferred_text"
_ASKED = re.compile(r"\s*Instruction:\s*(.*?)\n\s*\n\s*Output:\s*(.*)", re.DOTALL)


def _is_shp(columns: Columns) -> bool:
    return has(columns, *_SIDES)


def _read_shp(columns: Columns, labels: bool) -> Columns:
    asked = {"prompt": columns["history"]} if has(columns, "history") else {}
    sides = (columns[_SIDES[0]], columns[_SIDES[1]])
    given = columns | asked | dict.fromkeys(_SIDES) | {"history": None}
    if not labels:
        return given | {"responses": list(sides)}
    value = columns.get("labels")
    if whole(value) not in (0, 1):
        raise no_label("labels", value, "1 (A is preferred) or 0")
    return given | {"labels": None} | preference(sides, 1 - (whole(value) or 0))


def _is_icai(columns: Columns) -> bool:
    return has(columns, *TEXTS)


def _read_icai(columns: Columns, labels: bool) -> Columns:
    given = columns | dict.fromkeys(TEXTS)
    sides = (columns[TEXTS[0]], columns[TEXTS[1]])
    if not any(has(columns, name) for name in PROMPTS):
        given["prompt"], sides = _taken_apart(*sides)
    if not labels:
        return given | {"responses": list(sides)}
    value = columns.get(_PREFERRED)
    if value not in TEXTS:
        raise no_label(_PREFERRED, value, " or ".join(TEXTS))
    return given | {_PREFERRED: None} | preference(sides, TEXTS.index(value))


def _taken_apart(one: object, other: object) -> tuple[str, tuple[str, str]]:
    """Return what both texts ask, and their answers. Raises `RowError` where they don't ask the same."""
    apart = [_ASKED.fullmatch(text) if isinstance(text, str) else None for text in (one, other)]
    first, second = apart
    if first is None or second is None:
        said = "no column holds the prompt, and a text is no `Instruction: ...`, an empty line, `Output: ...`"
        raise RowError("no_shared_prompt", said)
    if first[1] != second[1]:
        raise RowError("no_shared_prompt", f"{TEXTS[0]} and {TEXTS[1]} have different instructions")
    return first[1], (first[2], second[2])


SHP = Shape("SHP", ("history", *_SIDES, "labels"), _is_shp, _read_shp, frozenset(_SIDES))
ICAI = Shape("ICAI", (*TEXTS, _PREFERRED), _is_icai, _read_icai, frozenset(TEXTS))
