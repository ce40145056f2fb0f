"""What a benchmark returns, and how two things are timed against each other."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Literal, NamedTuple


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measured number, and what it must reach.

    ``target`` is that bound in the same unit (``bound`` says from which side), None for a figure that only informs.
    ``note`` says in a few words what the figure includes, or what its theoretical limit is.
    """

    name: str
    value: float
    unit: str
    target: float | None = None
    note: str = ""
    bound: Literal["at least", "at most"] = "at least"

    @property
    def reached(self) -> bool:
        """Whether the value is on the right side of its target. NaN never is."""
        if self.target is None:
            return True
        return self.value >= self.target if self.bound == "at least" else self.value <= self.target


class Alternated(NamedTuple):
    """Two measurements side by side: their medians, and the median, least and greatest of the paired ratios a/b."""

    a: float
    b: float
    ratio: float
    low: float
    high: float

    @property
    def spread(self) -> str:
        """The ratios' range, for a figure's note."""
        return f"runs {self.low:.2f} to {self.high:.2f}"


def alternate(a: Callable[[], float], b: Callable[[], float], runs: int) -> Alternated:
    """Measure ``a`` and ``b`` in turn, ``runs`` times each, and compare each run with its neighbour.

    Each callable does its work once and returns its figure (a rate, say). The order flips from run to run (ab ba ab),
    so that neither a machine that warms up nor one that slows down favours a side. Warm both up before.
    """
    values_a: list[float] = []
    values_b: list[float] = []
    for run in range(runs):
        sides = [(a, values_a), (b, values_b)]
        for measure, values in sides if run % 2 == 0 else reversed(sides):
            values.append(measure())
    ratios = [x / y for x, y in zip(values_a, values_b, strict=True)]
    return Alternated(median(values_a), median(values_b), median(ratios), min(ratios), max(ratios))


def processor_seconds(process: int) -> float:
    """Return the processor time that a process took so far, in all its threads (Linux). Raises `OSError`."""
    return time.clock_gettime((~process << 3) | 2)  # its clock's number, as clock_getcpuclockid(3) makes it


def peak_memory(process: int | str = "self") -> int:
    """Return the most memory that a process had at a time since it was started, in bytes (Linux).

    Not ``getrusage``, whose maximum begins with that of the process that forked it. 0 of a zombie; raises `OSError`
    where the process is gone.
    """
    status = Path(f"/proc/{process}/status").read_text().splitlines()
    return next((int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM")), 0)
