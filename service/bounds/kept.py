"""What was computed, kept while what it was computed of stays as it is."""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")

KEPT = 20  # values, those that were asked for last

State = tuple[int, ...]
"""What changes with everything that a value depends on."""


@dataclass(slots=True)
class Kept(Generic[T]):
    """Values by name, each with the state that it is of."""

    _values: OrderedDict[str, tuple[State, T]] = field(default_factory=OrderedDict)

    def get(self, name: str, state: State) -> T | None:
        """The value of this name, where it is of this state."""
        kept = self._values.get(name)
        if kept is None or kept[0] != state:
            return None
        self._values.move_to_end(name)
        return kept[1]

    def put(self, name: str, state: State, value: T) -> None:
        """Keep a value, and let go of the one that nobody has asked for for longest."""
        self._values[name] = state, value
        self._values.move_to_end(name)
        while len(self._values) > KEPT:
            self._values.popitem(last=False)
