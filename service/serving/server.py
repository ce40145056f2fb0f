"""The server's process: uvicorn with bounds on connections, and a log that can't be filled."""

import asyncio
import socket
import sys
from contextlib import suppress

import uvicorn

from service.app import create_app
from service.bounds.limits import HEAD_BYTES
from service.bounds.quiet import quieten
from service.serving.accepting import Acceptor
from service.serving.connections import bounded, bounds
from service.settings import Settings


class Server(uvicorn.Server):
    """uvicorn's server, whose connections are taken by `Acceptor`."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, then take connections at ``sockets``."""
        await super().startup(sockets=[])
        for listener in sockets or []:
            self.servers.append(Acceptor(listener, self._protocol))  # type: ignore[arg-type]  # only its close() is used

    def _protocol(self) -> asyncio.Protocol:
        made: asyncio.Protocol = self.config.http_protocol_class(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )  # type: ignore[call-arg]  # as uvicorn makes it
        return made


def configured(settings: Settings) -> uvicorn.Config:
    """How uvicorn serves. Raises `InputError` where the process can't have the connections that are asked for."""
    return uvicorn.Config(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        log_level=settings.log_level,
        access_log=False,  # /metrics counts requests, and the audit says who did what
        loop="uvloop",  # the same event loop at less processor time: a sixth of that of a label
        http=bounded(bounds(settings)),
        h11_max_incomplete_event_size=HEAD_BYTES,  # of each half request, of which there may be thousands
        ws="none",  # no route is a web socket: a connection that became one would leave our bounds
        timeout_keep_alive=max(1, round(settings.idle_seconds)),  # beside our own, which comes first
    )


def run(config: uvicorn.Config, settings: Settings, listener: socket.socket) -> None:
    """Serve at ``listener`` until the process is told to end."""
    quieten(settings.log_level)
    server = Server(config)
    with suppress(KeyboardInterrupt, SystemExit):  # how it is told to end at a terminal, and how it ends at a fault
        server.run(sockets=[listener])
    if not server.started:
        sys.exit(1)  # the machine failed: uvicorn's own 3 means something else here
