"""How much a policy repeats itself: among the answers to one prompt, and within one. By words, without a model."""

import re
from itertools import combinations, pairwise

_WORD = re.compile(r"\w+")

LEAST_WORDS = 4  # an answer of fewer has nothing to repeat


def bigrams(text: str) -> list[tuple[str, str]]:
    """Neighbouring words, in lower case."""
    words = _WORD.findall(text.lower())
    return list(pairwise(words))


def among(texts: list[str]) -> float | None:
    """Return how different a prompt's answers are: 1 minus the mean Jaccard overlap of their bigrams, two by two.

    1 where no two share a bigram, 0 where all are the same; None for fewer than two answers.
    """
    if len(texts) < 2:
        return None
    sets = [frozenset(bigrams(text)) or frozenset({(text.strip().lower(), "")}) for text in texts]
    overlaps = [len(a & b) / len(a | b) for a, b in combinations(sets, 2)]
    return 1 - sum(overlaps) / len(overlaps)


def distinct(text: str) -> float | None:
    """Return the share of an answer's bigrams that are different (distinct-2, Li et al. 2016); None for a short one."""
    pairs = bigrams(text)
    return len(set(pairs)) / len(pairs) if len(pairs) >= LEAST_WORDS - 1 else None
