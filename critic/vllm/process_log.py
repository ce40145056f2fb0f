"""What the processes that a library starts write on standard output and error: kept, instead of on the terminal."""

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

# An exception's text, or vLLM's word for a process that was killed (by a system without memory, say).
_ERROR = re.compile(rb"\b[\w.]*(?:Error|Exception): (.+)|(Worker proc .+ died unexpectedly.+)")


class ProcessLog:
    """A file without a name, until `close`. Where ``is_shown``, everything goes to the terminal instead."""

    def __init__(self, *, is_shown: bool = False) -> None:
        self.is_shown = is_shown
        self._file = None if is_shown else tempfile.TemporaryFile()  # noqa: SIM115  # open while the processes live

    @contextmanager
    def taking(self) -> Iterator[None]:
        """Within the block standard output and error of this process are the file; processes begun in it keep that."""
        if self._file is None:
            yield
            return
        saved = [os.dup(number) for number in (1, 2)]
        _flush()
        try:
            for number in (1, 2):
                os.dup2(self._file.fileno(), number)
            yield
        finally:
            _flush()
            for number, before in zip((1, 2), saved, strict=True):
                os.dup2(before, number)
                os.close(before)

    def close(self) -> None:
        """Delete the file."""
        if self._file is not None:
            self._file.close()

    def reason(self) -> str:
        """Return what the first error in the file says: those after it are mostly its consequences. "" if none."""
        if self._file is None or self._file.closed:
            return ""
        size = os.fstat(self._file.fileno()).st_size
        match = _ERROR.search(os.pread(self._file.fileno(), size, 0))
        return (match[1] or match[2]).decode(errors="replace").strip() if match else ""


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
