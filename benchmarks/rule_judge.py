"""A judge that is a program: it is sure where a prompt asks for what can be checked, and has even odds elsewhere.

LLMBar's constructed pairs (Zeng et al. 2023) ask for sums in a base, for words in places, for characters that must not
stand there. Whichever answer alone does as it is asked is better; where both do, or none, nothing is known.
"""

import re
from collections.abc import Callable, Mapping

SURE = 0.99
Check = Callable[[re.Match[str], str], bool]

_SUM = re.compile(r"base-(\d+) .*? what is (\d+)\+(\d+)\?", re.DOTALL)
_ASKED = re.compile(r"always generate a response (.*)")
_QUOTED = re.compile(r"'([^']*)'")
_ENDS = re.compile(r"[.!?]+(?:\s|$)")


def probability(prompt: str, first: str, second: str) -> float:
    """Return how surely the first answer is better."""
    kept = [keeps(prompt, answer) for answer in (first, second)]
    if kept[0] == kept[1]:
        return 0.5
    return SURE if kept[0] else 1 - SURE


def keeps(prompt: str, answer: str) -> bool | None:
    """Return whether an answer is what the prompt asks for; None where no rule reads the prompt."""
    if (asked := _SUM.search(prompt)) is not None:
        base = int(asked[1])
        total = int(asked[2], base) + int(asked[3], base)
        boxed = re.findall(r"boxed\{(\w+)\}", answer)
        return bool(boxed) and boxed[-1] == _written(total, base)
    if (asked := _ASKED.search(prompt)) is None:
        return None
    for pattern, check in _CHECKS.items():
        if (match := re.match(pattern, asked[1])) is not None:
            return check(match, answer)
    return None


def _written(number: int, base: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, base)
        digits = str(digit) + digits
    return digits or "0"


def _words(answer: str) -> list[str]:
    return [word.lower().strip(".,;:!?\"'()") for word in answer.split()]


def _in_places(match: re.Match[str], answer: str) -> bool:
    places, wanted = re.findall(r"(\d+)(?:st|nd|rd|th)", match[0]), _QUOTED.findall(match[0])
    words = _words(answer)
    return all(
        int(place) <= len(words) and words[int(place) - 1] == word.lower()
        for place, word in zip(places, wanted, strict=True)
    )


_CHECKS: Mapping[str, Check] = {
    r"containing the character '(.)' or not": lambda match, answer: True,
    r"not containing the character '(.)'": lambda match, answer: match[1] not in answer.lower(),
    r"containing the character '(.)'": lambda match, answer: match[1] in answer.lower(),
    r"not containing the word '(\w+)'": lambda match, answer: match[1].lower() not in _words(answer),
    r"containing the word '(\w+)'": lambda match, answer: match[1].lower() in _words(answer),
    r"with exactly (\d+) words": lambda match, answer: len(answer.split()) == int(match[1]),
    r"with exactly (\d+) sentences?": lambda match, answer: len(_ENDS.findall(answer)) == int(match[1]),
    r"with the last word to be '(\w+)'": lambda match, answer: _words(answer)[-1:] == [match[1].lower()],
    r"with the \d+\w\w.* words to be .*": _in_places,
}
