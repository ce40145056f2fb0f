"""Connections, with an end to everything that a client can leave unfinished: a request's head, an idle connection, and
an answer that nobody reads. Bodies have their own end: see `service.bounds.limits`.

uvicorn waits for all three as long as the client likes, and each takes a descriptor. When those run out nobody is
served. So there are fewer connections than descriptors, and where all are taken, the one that has waited longest for
its client to say something makes room for a new one: whoever sends a request at once is served.
"""

import asyncio
import resource
from dataclasses import dataclass
from typing import Any, ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from base.errors import InputError
from service.serving.accepting import AT_ONCE
from service.settings import Settings

TURNS = 4  # from accepting one to when another that made room for it has given its descriptor back
RESERVE = TURNS * AT_ONCE + 128  # descriptors for those, the database, files and engines
MOST = 10_000  # connections, where the system has no limit
SLOWEST = 1024  # bytes a second that a client must read of a long answer
UNREAD_BYTES = 128 * 2**20  # of all answers together that were sent and not read yet

_LATE = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_FULL = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many connections there may be, and how many seconds each may wait for its client."""

    connections: int
    header_seconds: float
    idle_seconds: float
    stalled_seconds: float


def bounds(settings: Settings) -> Bounds:
    """The bounds that the settings ask for. Raises `InputError` where the process has too few descriptors for them."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Of very few descriptors a third is for clients: a burst may then meet the limit, and is accepted a second later.
    most = MOST if soft == resource.RLIM_INFINITY else max(soft // 3, soft - RESERVE)
    wanted = settings.connections
    if wanted is not None and soft != resource.RLIM_INFINITY and wanted > most:
        raise InputError(
            f"{wanted:,} connections need {wanted + RESERVE:,} descriptors, and this process may open {soft:,}",
            where="connections",
            fix=f"Raise the limit (`ulimit -n {wanted + RESERVE}`), or ask for fewer connections.",
        )
    connections = min(most, MOST) if wanted is None else wanted
    return Bounds(connections, settings.header_seconds, settings.idle_seconds, settings.stalled_seconds)


class Connection(H11Protocol):
    """One client's connection. `bounded` makes the class that a server uses."""

    bounds: ClassVar[Bounds]
    waiting: ClassVar[dict["Connection", None]]
    """Those whose client has to say something, from the one that has waited longest."""
    unread: ClassVar[dict["Connection", None]]
    """Those whose client has to read, likewise."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._head: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None
        self._idle = False
        self._begun = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """A client has connected."""
        super().connection_made(transport)
        self._await_head(self.bounds.header_seconds)
        if len(self.connections) > self.bounds.connections:
            self._make_room()

    def data_received(self, data: bytes) -> None:
        """The client has sent something."""
        if self._idle:
            self._idle = False
            self._await_head(self.bounds.header_seconds)
        self._begun = True
        super().data_received(data)
        self._watch_end()

    def handle_events(self) -> None:
        """Take what has come: a request, perhaps."""
        before = self.cycle
        super().handle_events()
        if self.cycle is not before:
            self._head_came()

    def on_response_complete(self) -> None:
        """An answer was given: the next request is waited for, unless it is there already."""
        self._idle, self._begun = True, False
        self._await_head(self.bounds.idle_seconds)
        super().on_response_complete()
        self._watch_end()

    def pause_writing(self) -> None:
        """There is more of an answer than the client has read."""
        super().pause_writing()
        self.unread[self] = None
        self._watch_writing()
        sizes = {connection: connection.transport.get_write_buffer_size() for connection in self.unread}
        if sum(sizes.values()) > UNREAD_BYTES:
            next(iter(sizes)).transport.abort()

    def resume_writing(self) -> None:
        """The client has read on."""
        super().resume_writing()
        self.unread.pop(self, None)
        if not self.transport.is_closing():
            self._stop_watching()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, whoever ended it."""
        self._head_came()
        self._stop_watching()
        self.unread.pop(self, None)
        super().connection_lost(exc)

    def _await_head(self, seconds: float) -> None:
        self._head_came()
        self.waiting[self] = None
        self._head = self.loop.call_later(seconds, self._end_waiting)

    def _head_came(self) -> None:
        self.waiting.pop(self, None)
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _end_waiting(self) -> None:
        # Before the first byte of a request there is nothing to answer to.
        self._close(_LATE if self._begun and self.conn.our_state is h11.IDLE else b"")

    def _make_room(self) -> None:
        longest = next(iter(self.waiting))
        if longest is self:
            self._close(_FULL)
        else:
            longest._head_came()  # at once: the next that comes in this turn of the loop ends another
            longest.transport.abort()

    def _close(self, last: bytes) -> None:
        self._head_came()
        if not self.transport.is_closing():
            self.transport.write(last)
            self.transport.close()
        self._watch_end()

    def _watch_end(self) -> None:
        """A connection that is closing is open until the client has read what was sent."""
        if self.transport.is_closing():
            self._head_came()
            self._watch_writing()

    def _watch_writing(self) -> None:
        if self._writing is None:
            size = self.transport.get_write_buffer_size()
            self._writing = self.loop.call_later(self.bounds.stalled_seconds, self._look, size)

    def _stop_watching(self) -> None:
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None

    def _look(self, before: int) -> None:
        """End the connection where too little was read since there were ``before`` bytes to read."""
        self._writing = None
        if before - self.transport.get_write_buffer_size() < SLOWEST * self.bounds.stalled_seconds:
            self.transport.abort()
        else:
            self._watch_writing()


def bounded(bounds: Bounds) -> type[Connection]:
    """The class of one server's connections."""

    class Bounded(Connection):
        pass

    Bounded.bounds, Bounded.waiting, Bounded.unread = bounds, {}, {}
    return Bounded
