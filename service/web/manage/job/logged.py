"""What a training has logged, for pictures: of a file that grows, only what is new is read, and so many rows are kept.

The page of a job asks every two seconds. Of a long training, reading and drawing all of it took the processor for
longer than that, and the answer had 15 MB.
"""

import json
import os
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

Log = dict[str, Any]

MOST_DRAWN = 1000  # points of a line: a picture is less wide
HELD_OUT = "eval_"
TRAININGS = 16  # whose rows are remembered


def parsed(line: bytes) -> Log | None:
    """Return a line's row; None for what is none."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) and "step" in row else None


class Thinned:
    """Rows in their order, of which every second one is left out as often as there are too many.

    Evaluations are few, and stay; so does the last row.
    """

    def __init__(self) -> None:
        self._kept: list[Log] = []
        self._last: Log | None = None
        self._count, self._every = 0, 1

    def add(self, row: Log) -> None:
        """Take the next row."""
        if self._count % self._every == 0 or _is_evaluation(row):
            self._kept.append(row)
        self._count, self._last = self._count + 1, row
        if len(self._kept) > 2 * MOST_DRAWN:
            self._every *= 2
            thinner = [row for place, row in enumerate(self._kept) if place % 2 == 0 or _is_evaluation(row)]
            self._kept = thinner if len(thinner) <= 2 * MOST_DRAWN else self._kept[::2]

    def rows(self) -> list[Log]:
        """Return what was kept."""
        if self._last is None or (self._kept and self._kept[-1] is self._last):
            return [*self._kept]
        return [*self._kept, self._last]


def _is_evaluation(row: Log) -> bool:
    return any(key.startswith(HELD_OUT) for key in row)


class GrowingLog:
    """A file that lines are added to. One that was replaced, or is shorter than before, is read anew."""

    def __init__(self) -> None:
        self._file: tuple[int, int] | None = None
        self._read = 0  # bytes
        self._rows = Thinned()

    def rows(self, path: Path) -> list[Log]:
        """Return the rows of the file as it is now."""
        with path.open("rb") as file:
            now = os.fstat(file.fileno())
            identity = (now.st_dev, now.st_ino)
            if identity != self._file or now.st_size < self._read:
                self._file, self._read, self._rows = identity, 0, Thinned()
            file.seek(self._read)
            whole, end, _ = file.read(now.st_size - self._read).rpartition(b"\n")
        self._read += len(whole) + len(end)
        for line in whole.split(b"\n"):
            if (row := parsed(line)) is not None:
                self._rows.add(row)
        return self._rows.rows()


class GrowingLogs:
    """The files that were asked for last, by name; threads take their turns."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._logs: OrderedDict[Path, GrowingLog] = OrderedDict()

    def rows(self, path: Path) -> list[Log]:
        """Return the rows of a file as it is now. Raises `OSError`."""
        with self._lock:
            log = self._logs.setdefault(path, GrowingLog())
            self._logs.move_to_end(path)
            while len(self._logs) > TRAININGS:
                self._logs.popitem(last=False)
            return log.rows(path)
