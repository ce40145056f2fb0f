"""The commonest reasons of quarantine: many rows, few causes, each told once with a place where to look."""

from dataclasses import dataclass, field

from critic.calls.faults import plain
from critic.records import Quarantined

SHOWN = 3
_DETAIL_CHARACTERS = 200
# Details that differ in their words, and not in their numbers, are told apart; no input has so many causes.
_MOST_CAUSES = 1000


@dataclass(slots=True)
class Cause:
    """A reason that ``rows`` have in common: ``detail`` and ``where`` are the first one's."""

    reason: str
    detail: str
    where: str
    rows: int = 0

    def __str__(self) -> str:
        detail = " ".join(self.detail.split())
        shortened = detail if len(detail) <= _DETAIL_CHARACTERS else detail[:_DETAIL_CHARACTERS] + " ..."
        return f"{self.rows:,} x {self.reason}, first at {self.where}: {shortened}"


@dataclass(slots=True)
class Causes:
    """Counts rows by cause."""

    _found: dict[tuple[str, str], Cause] = field(default_factory=dict)

    def add(self, refused: Quarantined) -> None:
        """Count a row."""
        key = refused.reason, plain(refused.detail)
        if key not in self._found and len(self._found) >= _MOST_CAUSES:
            key = refused.reason, ""
        self._found.setdefault(key, Cause(refused.reason, refused.detail, refused.where)).rows += 1

    def commonest(self) -> tuple[Cause, ...]:
        """Return the `SHOWN` causes of most rows; of equal ones the one that came first."""
        return tuple(sorted(self._found.values(), key=lambda cause: -cause.rows)[:SHOWN])
