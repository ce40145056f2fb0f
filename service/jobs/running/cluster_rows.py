"""A run as a job on a Ray cluster: ``cai generate --on`` or ``cai judge --on`` in a child process.

The job's folder lies in the data folder, by the job's id, and keeps its rows as Parquet shards: they are not in the
database. The next worker, or the next attempt, goes on from those. A worker that is no node of the cluster needs a data
folder that the cluster's head has at the same path.
"""

import json
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from base.backoff import told
from base.errors import InputError
from base.option import as_file
from critic.run.folder.shards import RUN_FILE, ShardStore
from critic.run.folder.store import lock_directory
from critic.run.request import RunRequest
from critic.run.run import sha256_and_rows
from critic.settings.run import GenerateSettings, JudgeSettings, RunLimits, RunSettings
from service.jobs.inputs.artifacts import input_of, of_job
from service.jobs.requests import Judging
from service.jobs.running import feedback
from service.jobs.running.commands import principles_file, run_folder
from service.jobs.running.rows import run_request
from service.jobs.work.child import command
from service.jobs.work.ledger import Moved
from service.jobs.work.work import Work
from service.store.disk.synced import make_folder

TELL_SECONDS = 2.0

log = logging.getLogger("cai.jobs")


def run(work: Work, asked: Judging) -> dict[str, Any]:
    """Do a job that names a cluster."""
    folder = run_folder(work)
    total = work.step("cluster", lambda: _run(work, asked, folder))["total"]
    results = work.step("results", lambda: _results(work, folder, total))
    for file in _exports(folder):  # they are among the artifacts
        file.unlink()
    return results


def settings_of(
    request: RunRequest, principles: Path, out: Path, on: str, limits: RunLimits
) -> GenerateSettings | JudgeSettings:
    """What ``cai`` is asked for that does ``request``; ``principles`` is the file of its constitution."""
    settings = RunSettings.read(request.settings)
    given: dict[str, Any] = {name: getattr(limits, name) for name in RunLimits.model_fields}
    given |= {"principles": str(principles), "out": out, "on": on}
    given |= {"judge": request.judges, "mode": request.modes, "column": request.columns}
    if request.policy is None:
        own = settings.model_dump(include=set(JudgeSettings.model_fields))
        return JudgeSettings(pairs=request.source, **given, **own)
    return GenerateSettings(prompts=request.source, policy=request.policy, **given, **settings.model_dump())


def _run(work: Work, asked: Judging, folder: Path) -> dict[str, Any]:
    artifacts = work.parts.artifacts
    [given] = artifacts.listing(input_of(work.id))
    source = artifacts.root / input_of(work.id) / given.name
    constitution = work.call(work.parts.constitutions.get(asked.constitution))
    request = run_request(work, asked, str(source), constitution)
    on = work.parts.settings.clusters[asked.cluster or ""]
    principles = Path(principles_file(work, asked.constitution))
    _, total = sha256_and_rows(request)
    _wait_for(work, folder)
    with _told(work, folder, total):
        command(work, [request.kind], as_file(settings_of(request, principles, folder, on, asked)))
    return {"total": total}


def _wait_for(work: Work, folder: Path) -> None:
    """Wait until the command of a worker that lost this job has let go of its folder."""
    make_folder(folder)
    with told(log, f"the command of another worker still has the folder of job {work.id}"):
        while True:
            with suppress(InputError):
                os.close(lock_directory(folder))
                return
            if work.moved.wait(0.5):
                raise Moved(work.id)


def _results(work: Work, folder: Path, total: int | None) -> dict[str, Any]:
    """Put the run's files where they stay, and its labels among the feedback."""
    for file in _exports(folder):
        work.parts.artifacts.put(file, of_job(work.id), file.name)
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    with closing(ShardStore(folder)) as store:
        standing = _standing(store, total) | {"pairs": manifest["counts"]["pairs"]}
        work.store.set(progress=standing)
        kept = feedback.keep(work.store, store, work.parts.settings.texts)
    files = {table: {"name": file.pop("file"), **file} for table, file in manifest["exports"].items()}
    return {**standing, "files": files, "warnings": manifest["warnings"], "feedback": kept}


def _exports(folder: Path) -> list[Path]:
    """The files of a run's folder that are its results."""
    files = [path for path in sorted(folder.iterdir()) if path.is_file()]
    return [path for path in files if path.name != RUN_FILE and not path.name.startswith(".")]


def _standing(store: ShardStore, total: int | None) -> dict[str, Any]:
    """Where the job stands, by its finished shards."""
    finished = store.finished().values()
    rows = sum(about.rows for about in finished)
    quarantined = sum(about.quarantined for about in finished)
    return {
        "rows": rows,
        "quarantined": quarantined,
        "pairs": 0,
        "calls": sum(about.calls for about in finished),
        "cost": 0.0,
        "total": total,
        "seconds_left": None,
    }


@contextmanager
def _told(work: Work, folder: Path, total: int | None) -> Iterator[None]:
    """Tell the job's progress now and then."""
    end = threading.Event()

    def tell() -> None:
        wait = TELL_SECONDS
        with suppress(Moved):  # whoever has the job now tells it
            while not end.wait(wait):
                began = time.monotonic()
                if (folder / RUN_FILE).is_file():
                    with closing(ShardStore(folder)) as store:
                        work.store.set(progress=_standing(store, total))
                wait = max(TELL_SECONDS, 10 * (time.monotonic() - began))  # a look reads of every shard

    thread = threading.Thread(target=tell, name=f"progress of job {work.id[:8]}")
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
