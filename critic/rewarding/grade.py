"""What a reward is: a number, or the reason why there is none. It is never 0 for want of one."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from critic.engine import Lane
from critic.records import Prompt


@dataclass(frozen=True, slots=True)
class Grade:
    """An answer's reward, or why it has none; with the standard error, where its source knows one.

    ``parts`` are the rewards that it is the weighted sum of, where there are several.
    """

    reward: float | None
    problem: str = ""
    error: float | None = None
    parts: tuple[float, ...] = ()

    @classmethod
    def of(cls, value: object, error: float | None = None) -> "Grade":
        """Take ``value`` for a reward if it is a finite number."""
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return cls(float(value), error=error)
        return cls(None, f"the reward is {value!r}, which is no number")


class GradeSource(Protocol):
    """Gives rewards to answers to one prompt.

    ``alone`` says that an answer's reward does not depend on its siblings: then it can be asked for by itself.
    """

    alone: ClassVar[bool]

    async def grades(self, prompt: Prompt, texts: Sequence[str], lane: Lane = "batch") -> list[Grade]:
        """Return a grade for each of ``texts``. Raises `EngineError` where none can be read."""
        ...
