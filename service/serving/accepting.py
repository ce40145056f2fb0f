"""Connections are taken as they come, up to `AT_ONCE` a turn of the event loop, so that the system turns none away.

libuv, on which uvloop stands, accepts one connection a turn. A turn in which labels are stored takes milliseconds, so
clients come faster than they are taken, the system's queue runs over, and whoever meets the full queue comes again
after 1, 3 or 7 seconds (RFC 6298): an honest client as well as the ones that filled it.
"""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable

QUEUE = 4096  # connections that the system keeps for us; it may keep fewer (net.core.somaxconn)
AT_ONCE = 128  # connections that one turn of the event loop accepts
PAUSE_SECONDS = 1.0  # until we look again where there was no descriptor
_SHORT = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

logger = logging.getLogger(__name__)


class Acceptor:
    """Makes a protocol of each connection that comes to ``listener``, until it is closed."""

    def __init__(self, listener: socket.socket, protocol: Callable[[], asyncio.Protocol]) -> None:
        self._listener, self._protocol = listener, protocol
        self._loop = asyncio.get_running_loop()
        self._making: set[asyncio.Task[object]] = set()
        self._later: asyncio.TimerHandle | None = None
        listener.setblocking(False)
        self._begin()

    def close(self) -> None:
        """Take no more connections. Those that were taken go on."""
        self._loop.remove_reader(self._listener)
        if self._later is not None:
            self._later.cancel()

    async def wait_closed(self) -> None:
        """Return when all that was taken has become a connection."""
        if self._making:
            await asyncio.wait(self._making)

    def _begin(self) -> None:
        self._later = None
        self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            try:
                client, _address = self._listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:  # the client has gone again
                continue
            except OSError as error:
                if error.errno not in _SHORT:
                    raise
                logger.warning("no descriptor for a new connection: %s", error)
                self._loop.remove_reader(self._listener)
                self._later = self._loop.call_later(PAUSE_SECONDS, self._begin)
                return
            task = self._loop.create_task(self._made(client))
            self._making.add(task)
            task.add_done_callback(self._making.discard)

    async def _made(self, client: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._protocol, client)
        except OSError:  # the client has gone again
            client.close()
