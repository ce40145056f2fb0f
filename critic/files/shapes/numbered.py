"""Answers in columns of their own: ``response_a`` and ``response_b``, ``output_1``, ``response_0`` to ``response_N``.

Which of two is better may stand beside them: as ``better_response_id`` (0 or 1), ``preference`` (1, 2, 1.5 for
neither, or between them as AlpacaEval's weighted judges say how probable the second is), ``overall_preference`` or
``preference_strength`` (below 0: the first), ``winner`` (a or b, also as model_a; tie), or a column for each outcome
(``winner_model_a``, ``winner_model_b``, ``winner_tie``), or as a ``label`` such as ``A>B``.
"""

import re
from functools import lru_cache
from typing import Any

from critic.files.shapes.base import Columns, Shape, has, no_label, number, preference, whole
from critic.rows import RowError

_NAMES = ("response", "output", "answer", "completion", "generation", "conversation")
_NAME = re.compile(rf"({'|'.join(_NAMES)})_?(\d{{1,3}}|[a-z])")
_TIES = ("tie", "equal", "same", "both", "bothbad", "none", "c")
_FLAGS = ("winner_model_a", "winner_model_b", "winner_tie")
_SIGNS = re.compile(r"\s*\[*A\s*(>+|<+|=+)\s*B\]*\s*|\s*\[*B\s*(>+|<+|=+)\s*A\]*\s*")
LABELS = ("better_response_id", "preference", "overall_preference", "preference_strength", "winner", *_FLAGS)


@lru_cache(maxsize=1000)
def _numbered(names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Return (column, number) of the answers among ``names``, in their order; nothing where there are not two."""
    by_base: dict[str, dict[str, str]] = {}
    for name in names:
        if match := _NAME.fullmatch(name):
            by_base.setdefault(match[1], {})[match[2]] = name
    for numbers in by_base.values():
        digits = {int(key): (name, key) for key, name in numbers.items() if key.isdecimal()}
        letters = {ord(key) - ord("a"): (name, key) for key, name in numbers.items() if key.isalpha()}
        for places in (digits, letters):
            first = min(places, default=0)
            if len(places) > 1 and first < 2 and sorted(places) == list(range(first, first + len(places))):
                return tuple(places[place] for place in sorted(places))
    return ()


def _fits(columns: Columns) -> bool:
    taken = has(columns, "responses") or has(columns, "chosen", "rejected")
    return not taken and bool(_numbered(tuple(columns)))


def _read(columns: Columns, labels: bool) -> Columns:
    there = [(name, key) for name, key in _numbered(tuple(columns)) if has(columns, name)]
    answers = [_text(columns[name]) for name, _ in there]
    models = [_model(columns, name, key) for name, key in there]
    read = columns | dict.fromkeys(name for name, _ in there) | {"responses": answers, "models": models}
    if not labels:
        return read
    if len(answers) != 2:
        raise RowError("no_label", f"nothing says which is better, and {len(answers)} of two answers are there")
    better = preference((answers[0], answers[1]), _better(columns, there[0][1]))
    return read | dict.fromkeys(("responses", "models", *LABELS)) | better | _chance(columns) | _tie_kind(columns)


def _text(answer: Any) -> Any:
    """Return an answer; of an object that holds its text beside who wrote it, the text."""
    return answer["text"] if _is_object(answer) else answer


def _is_object(answer: Any) -> bool:
    return isinstance(answer, dict) and isinstance(answer.get("text"), str) and "role" not in answer


def _model(columns: Columns, name: str, key: str) -> Any:
    return columns[name].get("model") if _is_object(columns[name]) else columns.get(f"model_{key}")


def _better(columns: Columns, first: str) -> int | None:
    """Return which of two answers is better, None for a tie; ``first`` is the first one's number. Raises `RowError`."""
    name = next((name for name in LABELS if name in columns), None)
    if name is None and isinstance(columns.get("label"), str) and (sign := _SIGNS.fullmatch(columns["label"])):
        return _by_sign(sign)
    if name is None:
        raise RowError("no_label", _NO_LABEL)
    if name in _FLAGS:
        return _flagged(columns)
    value = columns[name]
    if name == "preference" and value is not None and first == "0":
        raise RowError("bad_label", f"preference is {value!r:.40}, {_FROM_ZERO}")
    match name:
        case "better_response_id" if whole(value) in (0, 1):
            return whole(value)
        case "preference" if whole(value) in (1, 2):
            return (whole(value) or 0) - 1
        case "preference" if 1 < (between := number(value) or 0) < 2:
            return None if between == 1.5 else int(between > 1.5)
        case "overall_preference" | "preference_strength" if (strength := number(value)) is not None:
            return None if strength == 0 else int(strength > 0)
        case "winner" if isinstance(value, str):
            return _named(value)
    raise no_label(name, value, _EXPECTED.get(name, "which of the two answers is better"))


_EXPECTED = {
    "better_response_id": "0 for the first answer, or 1",
    "preference": "1 for the first answer, 2, or between them; a and b are read with --column winner=preference",
    "overall_preference": "a number, below 0 where the first answer is better",
    "preference_strength": "a number, below 0 where the first answer is better",
    "winner": "a, b or tie",
}


def _by_sign(sign: re.Match[str]) -> int | None:
    """Return which is better by a label such as ``A>B`` or ``B>>A``."""
    said = sign[1] or sign[2]
    if said[0] == "=":
        return None
    return int((said[0] == ">") != bool(sign[1]))


_NO_LABEL = (
    f"nothing says which answer is better; expected one of {', '.join(LABELS[:5])}. A column of another name: --column "
    "preference=NAME where it holds 1 and 2, better_response_id=NAME for 0 and 1, winner=NAME for a, b and tie"
)


_FROM_ZERO = (
    "and the answers are numbered from 0: it may count from 0 or from 1. Where it counts from 0, as they do, say "
    "--column better_response_id=preference"
)


def _flagged(columns: Columns) -> int | None:
    said = [place for place, name in enumerate(_FLAGS) if whole(columns.get(name)) == 1 or columns.get(name) is True]
    if len(said) != 1:
        raise RowError("no_label", f"{len(said)} of {', '.join(_FLAGS)} are 1; expected one")
    return said[0] if said[0] < 2 else None


def _chance(columns: Columns) -> Columns:
    """Return the probability of the better answer, where a ``preference`` between 1 and 2 says so."""
    between = number(columns.get("preference"))
    if between is None or not 1 < between < 2 or "better_response_id" in columns:
        return {}
    return {"probability": 0.5 + abs(between - 1.5)}


def _tie_kind(columns: Columns) -> Columns:
    """Return the column that says of a tie that both are bad, where ``winner`` says so: ``tie (bothbad)``."""
    winner = columns.get("winner")
    both_bad = isinstance(winner, str) and _word(winner).endswith("bothbad")
    return {"tie_kind": "both_bad"} if both_bad else {}


def _word(value: str) -> str:
    return re.sub(r"[^a-z0-9]", "", value.casefold().removeprefix("model").removeprefix("response"))


def _named(value: str) -> int | None:
    word = _word(value)
    if word.startswith(_TIES[0]) or word in _TIES:
        return None
    if word not in ("a", "b"):
        raise no_label("winner", value, "a, b or tie")
    return int(word == "b")


def are_numbered(names: tuple[str, ...]) -> bool:
    """Whether some of these columns are answers, numbered."""
    return bool(_numbered(names))


def reads(name: str) -> bool:
    """Whether a column may be one of the answers, or the model of one."""
    return bool(_NAME.fullmatch(name)) or bool(re.fullmatch(r"model_(\d{1,3}|[a-z])", name))


# Two answers that follow each other, from 0, 1, a or b on: one of them is 1 or b.
_KEYS = frozenset(f"{name}{line}{end}" for name in _NAMES for line in ("", "_") for end in ("1", "01", "001", "b"))

NUMBERED = Shape("numbered answers", LABELS, _fits, _read, _KEYS)
