"""What stands at the top of every page: where its visitor can go."""

from dataclasses import dataclass
from typing import Any

from service.keys.auth import Scope


@dataclass(frozen=True, slots=True)
class MenuEntry:
    """One entry: its address, its text's name, and who sees it (one of ``scopes``, and ``annotator``s alone)."""

    path: str
    text: str
    scopes: tuple[Scope, ...]
    annotators_only: bool = False

    def is_for(self, visit: Any) -> bool:
        """Whether the visitor may go there."""
        return visit.may(*self.scopes) and (visit.caller.annotator is not None or not self.annotators_only)

    def holds(self, path: str) -> bool:
        """Whether an address is in this part of the site."""
        return path == self.path or (path.startswith(f"{self.path.rstrip('/')}/") and self.path != "/")


PLACES = (
    MenuEntry("/label", "nav.label", ("label",), annotators_only=True),
    MenuEntry("/projects", "nav.projects", ("read", "feedback")),
    MenuEntry("/search", "nav.search", ("read", "feedback")),
    MenuEntry("/jobs", "nav.jobs", ("read", "jobs")),
    MenuEntry("/datasets", "nav.datasets", ("read", "feedback")),
    MenuEntry("/certificates", "nav.certificates", ("read", "feedback")),
    MenuEntry("/models", "nav.models", ("read", "jobs")),
    MenuEntry("/constitutions", "nav.constitutions", ("read",)),
    MenuEntry("/people", "nav.people", ("admin",)),
)


def entries(visit: Any, path: str) -> list[tuple[MenuEntry, bool]]:
    """The entries that a visitor sees, each with whether it is where they are."""
    if visit is None:
        return []
    return [(place, place.holds(path)) for place in PLACES if place.is_for(visit)]
