"""What one of two answers has and the other has not, without a model: the candidates by which pairs are explained."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

MOST_WORDS = 400  # that differ in most pairs: more tests would only make each of them weaker
LEAST_PAIRS = 6  # in which a word differs: five right of five are chance once in sixteen times
# Words that any text has: they tell how long it is, not what it is about.
_FUNCTION_WORDS = (
    "about after all also although and any are because been before being both but can could did does each even "
    "ever every for from had has have her here hers him his how into its just like made make many may might "
    "more most much must not now off only other our out over own same she should since some such than that the "
    "their them then there these they thi this those through too under until upon very was well were what when "
    "where which while who whom whose why will with within without would yet you your"
)
_FUNCTION = frozenset(_FUNCTION_WORDS.split())
_WORD = re.compile(r"[^\W\d_]{3,}")
_ENDINGS = re.compile(r"(?<=..)(?:'s|es|s|ing|ed|ly)$")

Trait = Callable[[str], float]


def _count(pattern: str) -> Trait:
    regex = re.compile(pattern, re.I | re.M)
    return lambda text: float(len(regex.findall(text)))


TRAITS: Mapping[str, tuple[str, Trait]] = {
    "is longer": ("is shorter", lambda text: float(len(text))),
    "has more paragraphs": ("has fewer paragraphs", _count(r"\n\s*\n")),
    "has more list items": ("has fewer list items", _count(r"^\s*(?:[-*•]|\d+[.)])\s")),
    "has more headings": ("has fewer headings", _count(r"^#{1,6}\s")),
    "has more bold text": ("has less bold text", _count(r"\*\*[^*\n]+\*\*")),
    "has more code": ("has less code", _count(r"```|`[^`\n]+`")),
    "has more digits": ("has fewer digits", _count(r"\d")),
    "asks more questions": ("asks fewer questions", _count(r"\?")),
    "exclaims more": ("exclaims less", _count(r"!")),
    "says I more often": ("says I less often", _count(r"\bI\b")),
    "addresses the reader more often": ("addresses the reader less often", _count(r"\byou(?:r|rs)?\b")),
    "hedges more": (
        "hedges less",
        _count(r"\b(?:may|might|could|perhaps|possibly|likely|seems?|generally|often|usually|probably)\b"),
    ),
    "warns more": (
        "warns less",
        _count(r"\b(?:caution|careful|warning|risks?|danger\w*|important to|consult|professional|safe\w*)\b"),
    ),
    "apologizes more": ("apologizes less", _count(r"\b(?:sorry|apolog\w+|unfortunately)\b")),
}
"""What is said where the chosen answers have more of it, where they have less, and how it is counted."""

_MENTIONS, _LACKS = "mentions", "does not mention"


def said(name: str, more: bool) -> str:
    """Put what `candidates` named into words, as something that the chosen answers do."""
    if more:
        return name
    return TRAITS[name][0] if name in TRAITS else name.replace(_MENTIONS, _LACKS, 1)


def words(text: str) -> set[str]:
    """The words of a text, in lower case without common endings, and without those that any text has."""
    return {_ENDINGS.sub("", word) for word in _WORD.findall(text.lower()) if word not in _FUNCTION}


def candidates(chosen: Sequence[str], rejected: Sequence[str]) -> tuple[list[str], NDArray[np.int8]]:
    """Return names, and (pairs, names): 1 where the chosen answer has more of it, -1 where the rejected one, else 0."""
    names = list(TRAITS)
    columns = []
    for _, trait in TRAITS.values():
        columns.append(_sign(list(map(trait, chosen)), list(map(trait, rejected))))
    sides = [(words(one), words(other)) for one, other in zip(chosen, rejected, strict=True)]
    for word in _telling(sides):
        names.append(f'{_MENTIONS} "{word}"')
        columns.append(np.array([(word in one) - (word in other) for one, other in sides], np.int8))
    return names, np.stack(columns, axis=1)


def _telling(sides: Iterable[tuple[set[str], set[str]]]) -> list[str]:
    counts = Counter(word for one, other in sides for word in one ^ other)
    telling = [(word, count) for word, count in counts.items() if count >= LEAST_PAIRS]
    ranked = sorted(telling, key=lambda item: (-item[1], item[0]))
    return [word for word, _ in ranked[:MOST_WORDS]]


def _sign(one: Sequence[float], other: Sequence[float]) -> NDArray[np.int8]:
    return np.asarray(np.sign(np.subtract(one, other)), np.int8)
