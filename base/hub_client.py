"""The Hugging Face hub's own client, held to a patience: it waits neither in silence nor without end.

The library tries again by itself. But some of its requests have no time limit at all (making a repository, sending a
file), and it waits for as long as a busy hub asks it to, an hour if need be. Here each request ends where nothing comes
for a while, a wait is said after `SILENT_SECONDS`, and what fails for longer than `PATIENCE` isn't tried any more.
"""

import email.utils
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from base.backoff import SILENT_SECONDS, Clock

log = logging.getLogger("cai.hub")

READING_SECONDS = 10.0  # without a byte, of what is asked for: the library's own limit, where it has one
SENDING_SECONDS = 45.0  # the same after something was sent: a hub takes its time to store many large files
PATIENCE = 30.0  # seconds for which a request fails, before it isn't tried any more
LONGEST_WAIT = 30.0  # seconds, of those that a busy hub may ask for
_BUSY = 429
_PASSES = frozenset((408, _BUSY, 500, 502, 503, 504))
_LIMITS = ("connect", "read", "write", "pool")


class HubSilent(Exception):
    """The hub doesn't answer, or not now. It is of no type that the library takes for a reason to try again."""


class _Patience:
    """Looks at each request and each answer of a client."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()  # files are sent by several threads
        self._asked: dict[tuple[str, str], threading.Timer] = {}
        self._failing: dict[tuple[str, str], float] = {}

    def asks(self, request: Any) -> None:
        """Limit a request. Raises `HubSilent` where the same one has failed for long enough."""
        key = (request.method, str(request.url))
        place = f"{request.method} {request.url.copy_with(query=None)}"
        with self._lock:
            before = self._asked.pop(key, None)
            if before is not None:  # there was no answer
                before.cancel()
                self._failing.setdefault(key, self._clock())
            since = self._failing.get(key)
            if since is not None and self._clock() - since >= PATIENCE:
                del self._failing[key]
                raise HubSilent(f"no answer to {place}, asked again for {PATIENCE:.0f} s")
            said = threading.Timer(SILENT_SECONDS, log.warning, ("waiting for the hub: %s", place))
            said.daemon = True
            said.start()
            self._asked[key] = said
        longest = READING_SECONDS if request.method in ("GET", "HEAD") else SENDING_SECONDS
        limits = request.extensions.get("timeout") or {}
        request.extensions["timeout"] = {name: min(limits.get(name) or longest, longest) for name in _LIMITS}

    def answers(self, response: Any) -> None:
        """Note an answer. Raises `HubSilent` for one that asks to come back in a long time."""
        key = (response.request.method, str(response.request.url))
        passes = response.status_code in _PASSES
        with self._lock:
            if (said := self._asked.pop(key, None)) is not None:
                said.cancel()
            if passes:
                self._failing.setdefault(key, self._clock())
            else:
                self._failing.pop(key, None)
        wait = _asked_wait(response.headers) if passes else 0.0
        if wait > LONGEST_WAIT:
            raise HubSilent(f"it answers {response.status_code}, and asks to come back in {wait:.0f} s")

    def leave(self) -> None:
        """Nothing is waited for any more, also where a request ended without an answer."""
        with self._lock:
            for said in self._asked.values():
                said.cancel()
            self._asked.clear()
            self._failing.clear()


def _asked_wait(headers: Any) -> float:
    """Return for how many seconds a busy hub asks to wait: in ``Retry-After``, or as it limits rates."""
    from huggingface_hub import utils

    limit: Any = utils.parse_ratelimit_headers(headers)  # type: ignore[attr-defined]  # loaded when it is asked for
    seconds = 0.0 if limit is None or limit.remaining else float(limit.reset_in_seconds)
    after = str(headers.get("retry-after", "")).strip()
    if after.isdecimal():
        return max(seconds, float(after))
    try:
        date = email.utils.parsedate_to_datetime(after)
    except ValueError:
        return seconds
    return max(seconds, date.timestamp() - time.time())


_patience = _Patience()
_installing = threading.Lock()
_installed = False


@contextmanager
def patient() -> Iterator[None]:
    """Ask the hub in the block: what is waited for is said, and waits end. What is read on later is held to it, too."""
    _install()
    try:
        yield
    finally:
        _patience.leave()


def _install() -> None:
    """Have the library's client asked by `_Patience`, for the whole process."""
    global _installed
    with _installing:
        if _installed:
            return
        import httpx2
        from huggingface_hub import get_session, set_client_factory
        from huggingface_hub.utils import logging as its_log

        its_own = list(get_session().event_hooks["request"])

        def made() -> httpx2.Client:
            """Make a client as the library does, with our hooks after its own."""
            hooks: dict[str, list[Callable[..., Any]]] = {
                "request": [*its_own, _patience.asks],
                "response": [_patience.answers],
            }
            return httpx2.Client(event_hooks=hooks, follow_redirects=True, timeout=None)

        set_client_factory(made)
        its_log.set_verbosity_error()  # type: ignore[no-untyped-call]  # what it says of each try is said here once
        _installed = True
