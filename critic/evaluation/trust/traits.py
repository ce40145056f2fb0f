"""What an answer has more or less of than another: length, and marks of style that judges are known to favour.

Each trait is a number of a text alone, by a rule that anyone can follow. That a judge leans to one says nothing until
it is set beside people's own leaning on the same pairs: see `critic.statistics.judges.leanings`.
"""

import re
from collections.abc import Callable, Mapping

from critic.evaluation.trust.people import LabelledItem
from critic.run.family import families

Trait = Callable[[str], float]

_FORMATTING = re.compile(r"^\s*(?:[-*+]\s|\d+[.)]\s|#{1,6}\s)|\*\*|`", re.MULTILINE)
_AGREEING = re.compile(
    r"\byou(?:'re|\u2019re| are) (?:absolutely |so |completely |quite |totally )?(?:right|correct)\b"
    r"|\bi (?:absolutely |completely |totally |fully |strongly )?agree\b"
    r"|\b(?:great|excellent|wonderful|fantastic|good|brilliant) (?:question|point|idea|observation)\b"
    r"|\bas you (?:rightly |correctly )?(?:say|said|note|noted)\b"
    r"|\byour (?:view|opinion|instinct|reasoning) is (?:right|correct|spot on|sound)\b",
    re.IGNORECASE,
)
_SURE = re.compile(
    r"\b(?:definitely|certainly|undoubtedly|clearly|obviously|without (?:a )?doubt|always|never)\b", re.IGNORECASE
)

LENGTH = "length"
FAMILY = "own family"
TRAITS: Mapping[str, Trait] = {
    LENGTH: lambda text: float(len(text)),
    "formatting": lambda text: float(len(_FORMATTING.findall(text))),
    "agreeing with the user": lambda text: float(len(_AGREEING.findall(text))),
    "sounding sure": lambda text: float(len(_SURE.findall(text))),
    "exclamation marks": lambda text: float(text.count("!")),
}
"""By name, as reports have it."""


def difference(trait: Trait, item: LabelledItem) -> float:
    """How much more of it the first answer has than the second."""
    return trait(item.first.text) - trait(item.second.text)


def own_family(judge: str, item: LabelledItem) -> float:
    """1 where only the first answer is by a model of the judge's family, -1 where only the second is, else 0."""
    own = families(judge)
    first, second = (bool(own & families(response.model)) for response in (item.first, item.second))
    return float(first) - float(second)
