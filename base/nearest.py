"""Which known name a person may have meant."""

import difflib
from collections.abc import Iterable, Mapping
from types import MappingProxyType

SHOWN = 12  # known names that a message lists where none is near


def meant(name: str, known: Iterable[str], aliases: Mapping[str, str] = MappingProxyType({})) -> str:
    """Say which of the ``known`` names was meant, or what they are, as the fix of an `InputError`.

    ``aliases`` are names that others use for the same thing. They come first: no spelling leads from ``lr`` to
    ``learning_rate``.
    """
    names = list(known)
    near = nearest(name, names, aliases)
    if near is not None:
        return f"did you mean {near!r}?"
    return f"expected {', '.join(names)}" if len(names) <= SHOWN else ""


def perhaps(name: str, known: Iterable[str]) -> str:
    """Return the question whether the nearest of the ``known`` names was meant, with a space after it, or nothing."""
    near = nearest(name, known)
    return f"did you mean {near!r}? " if near is not None else ""


def nearest(name: str, known: Iterable[str], aliases: Mapping[str, str] = MappingProxyType({})) -> str | None:
    """Return the known name that ``name`` is another word for, that it begins, or that is spelt most like it."""
    names = list(known)
    plain = name.strip().lower().lstrip("-").replace("-", "_")
    if aliases.get(plain) in names:
        return aliases[plain]
    spelt = {one.lower().replace("-", "_"): one for one in names}
    begun = [one for one in spelt if one.startswith(plain)] if len(plain) > 2 else []
    if len(begun) == 1:
        return spelt[begun[0]]
    close = difflib.get_close_matches(plain, spelt, 1)
    return spelt[close[0]] if close else None
