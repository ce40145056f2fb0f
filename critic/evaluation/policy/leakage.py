"""One family in three seats: it wrote the data, judged it, and is what is trained. Then nobody else has looked.

Models prefer their own family's answers (Panickssery et al. 2024), so a judge of the family that it labels, or that it
measures, flatters it; where the same family also generated the data, no figure is anybody else's opinion.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

GENERATOR, JUDGE, POLICY, MEASURED_BY = "generator", "judge", "policy", "judge of this report"


@dataclass(frozen=True, slots=True)
class FamilySeat:
    """A model in a role, and the families that its name tells; none where it hides them."""

    role: str
    name: str
    families: frozenset[str]


def leaks(seats: Iterable[FamilySeat]) -> list[str]:
    """Return a sentence for each family that sits where it must not."""
    by_family: dict[str, dict[str, list[str]]] = {}
    for seat in seats:
        for family in seat.families:
            by_family.setdefault(family, {}).setdefault(seat.role, []).append(seat.name)
    return [sentence for family, roles in sorted(by_family.items()) for sentence in _sentences(family, roles)]


def _sentences(family: str, roles: Mapping[str, list[str]]) -> Iterable[str]:
    if {GENERATOR, JUDGE, POLICY} <= roles.keys():
        yield (
            f"The family {family} is generator, judge and policy at once ({_named(roles)}): it learns what it thinks "
            "of its own answers."
        )
    if {MEASURED_BY, POLICY} <= roles.keys():
        yield (
            f"The judge of this report is of the policy's family {family} ({_named(roles)}): it favours answers of its "
            "own kind. Add one of another family."
        )


def _named(roles: Mapping[str, list[str]]) -> str:
    return "; ".join(f"{role}: {', '.join(dict.fromkeys(names))}" for role, names in roles.items())
