"""SHP's rows: ``history`` (a post), two people's answers to it, and ``labels``: 1 where A was preferred, else 0."""

from critic.files.shapes.base import Columns, Shape, has, no_label, preference, whole

_SIDES = ("human_ref_a", "human_ref_b")  # in lower case, as all names are made before rows are read


def _fits(columns: Columns) -> bool:
    return has(columns, *_SIDES)


def _read(columns: Columns, labels: bool) -> Columns:
    asked = {"prompt": columns["history"]} if has(columns, "history") else {}
    sides = (columns[_SIDES[0]], columns[_SIDES[1]])
    given = columns | asked | dict.fromkeys(_SIDES) | {"history": None}
    if not labels:
        return given | {"responses": list(sides)}
    value = columns.get("labels")
    if whole(value) not in (0, 1):
        raise no_label("labels", value, "1 (A is preferred) or 0")
    return given | {"labels": None} | preference(sides, 1 - (whole(value) or 0))


SHP = Shape("SHP", ("history", *_SIDES, "labels"), _fits, _read, frozenset(_SIDES))
