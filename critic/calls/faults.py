"""Whose fault a failure is: the request's, or the engine's.

One failure can't tell. A server that refuses a parameter answers every request with 400, and one bad request gets the
same. So failures are counted that are alike, one after another with none done in between: where there are enough of
them, the engine is at fault, and the run stops with its words. What a request's own content caused (it was too long,
a filter held it back) counts for nothing.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from critic.engine import EngineDown, EngineError, RunStopped, Signature

T = TypeVar("T")

# So many equal failures say it of an engine that has done nothing yet since it was opened...
NONE_DONE = 8
# ... and so many of one that has: rows that no model can answer may stand side by side.
SOME_DONE = 32
# The server has read the request and refuses it. Where it answered others, it is the request.
_OF_REQUEST = (400, 413, 422)

_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`")
_NUMBERED = re.compile(r"\S*\d\S*")
_PLAIN_CHARACTERS = 200


def plain(message: str) -> str:
    """Return a sentence without what differs from request to request: what it quotes, numbers, and ids."""
    shortened = _NUMBERED.sub("#", _QUOTED.sub("''", message))
    return " ".join(shortened.split())[:_PLAIN_CHARACTERS]


def signature_of(error: EngineError) -> Signature | None:
    """Return what makes ``error`` equal to others; None where the request's content is its cause."""
    if error.concerns == "request":
        return None
    return error.signature or Signature(plain(str(error)), kind=type(error).__name__)


class Streak:
    """Counts equal failures with none done in between. For one event loop, and for one kind of work: a run's rows, say.

    Before work is begun, `clear` is waited for: while there is a suspicion nothing new is begun, and what is under way
    decides it. So a good answer that takes longer than a bad one's refusal is never overtaken by it.
    """

    def __init__(self) -> None:
        self.verdict: str | None = None
        self._done_ever = False
        self._counts: Counter[Signature] = Counter()
        self._suspected: tuple[Signature, str] | None = None
        self._under_way = 0
        self._changed = asyncio.Event()

    async def clear(self) -> None:
        """Wait until nothing speaks against beginning more. Raises `EngineDown` where the engine failed, or is gone."""
        while self.verdict is None and self._suspected is not None:
            self._changed.clear()
            await self._changed.wait()
        if self.verdict is not None:
            raise EngineDown(self.verdict)

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Do one piece of work. What it raises is counted and passed on."""
        self._under_way += 1
        try:
            yield
        except EngineError as error:
            self._under_way -= 1
            self._failed(error)
            raise
        except RunStopped as reason:  # what has not begun yet need not find out by itself
            self._under_way -= 1
            self.verdict = self.verdict or str(reason)
            raise
        except BaseException:  # it says nothing of the engine: a bad answer, or this work was stopped
            self._under_way -= 1
            raise
        else:
            self._under_way -= 1
            self.done()
        finally:
            self._decide()

    async def do(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do one piece of work when nothing speaks against it. Raises what it raises, and `EngineDown` as `clear`."""
        await self.clear()
        with self.attempt():
            return await work()

    def done(self) -> None:
        """Count a piece of work that was done, and whose failure would have said nothing."""
        self._done_ever = True
        self._counts.clear()
        self._suspected = None

    @property
    def is_doubtful(self) -> bool:
        """Whether the failures since the last success may still turn out to be the engine's."""
        return bool(self._counts)

    def _failed(self, error: EngineError) -> None:
        signature = signature_of(error)
        if signature is None:
            return
        self._counts[signature] += 1
        enough = SOME_DONE if self._done_ever else NONE_DONE
        if self._done_ever and signature.status in _OF_REQUEST:
            return
        if self._suspected is None and self._counts[signature] >= enough:
            self._suspected = signature, str(error)

    def _decide(self) -> None:
        if self._suspected is not None and not self._under_way:
            signature, words = self._suspected
            times = self._counts[signature]
            after = "and none was answered in between" if self._done_ever else "and none was answered"
            self.verdict = f"{times} times in a row the engine failed in the same way, {after}: {words}"
        self._changed.set()
