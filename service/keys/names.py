"""Names that people give to people, keys and projects: as they are seen, so that two that look alike are one.

Signs that can't be seen can make a name out of another one, and signs that turn the direction of writing can make it
look like any other. A name is kept without them, wherever it comes from.
"""

import unicodedata
from typing import Annotated

from pydantic import AfterValidator, Field

MOST_CHARACTERS = 200
JOINERS = ("\u200c", "\u200d")  # letters of Persian and Hindi, and many emoji, are other ones without them
UNSEEN = ("Cc", "Cf", "Cs", "Co", "Cn")  # Unicode's categories of controls, formats, halves of pairs and what is none


def seen(name: str) -> str:
    """A name without what nobody sees, each space once, and letters composed."""
    spaced = " ".join(name.split())
    kept = "".join(sign for place, sign in enumerate(spaced) if _is_seen(spaced, place))
    return unicodedata.normalize("NFC", " ".join(kept.split()))


def _is_seen(name: str, place: int) -> bool:
    sign = name[place]
    if sign in JOINERS:  # between signs that they can join
        around = name[place - 1 : place] + name[place + 1 : place + 2]
        return len(around) == 2 and not any(one.isascii() or one in JOINERS for one in around)
    return unicodedata.category(sign) not in UNSEEN


def _must_be_seen(name: str) -> str:
    name = seen(name)
    if not name:
        raise ValueError("a name needs a letter or another sign that can be seen")
    return name


ShownName = Annotated[str, Field(min_length=1, max_length=MOST_CHARACTERS), AfterValidator(_must_be_seen)]
"""A name in a request."""
