"""What is wrong with a constitution's file, fault by fault, for programs; and as one message, for people."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from base.errors import InputError

MAX_REPORTED = 20


@dataclass(frozen=True, slots=True, order=True)
class FileFault:
    """One fault: the line, the key as ``principles[2].weight`` (empty where the fault is no key's), and the problem."""

    line: int
    key: str
    problem: str

    def __str__(self) -> str:
        return f"{self.key}: {self.problem}" if self.key else self.problem


class FaultyFile(InputError):
    """``file`` has ``faults``, of which the first `MAX_REPORTED` are kept, and ``unnamed`` others counted."""

    def __init__(self, file: Path, faults: Sequence[FileFault], *, unnamed: int = 0, fix: str = "") -> None:
        ordered = sorted(set(faults))
        self.file = file
        self.faults, self.unnamed = ordered[:MAX_REPORTED], unnamed + len(ordered[MAX_REPORTED:])
        first, *others = self.faults
        lines = [str(first), *(f"{file}:{fault.line}: {fault}" for fault in others)]
        if self.unnamed:
            lines.append(f"and {self.unnamed} more")
        super().__init__("\n".join(lines), where=f"{file}:{first.line}", fix=fix)


def faulty(file: Path, line: int, problem: str, *, fix: str = "") -> FaultyFile:
    """Return the error of a file with one fault, which is no key's."""
    return FaultyFile(file, [FileFault(line, "", problem)], fix=fix)
