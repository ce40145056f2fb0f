"""Jobs of the kinds generate and judge on a Ray cluster: ``cai generate --on`` in a child process.

The job's folder lies in the data folder, by the job's id, and keeps its rows as Parquet shards: they are not in the
database. The next worker, or the next attempt, goes on from those. A worker that is no node of the cluster needs a data
folder that the cluster's head has at the same path.
"""

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, cast

from base.errors import InputError
from critic.run.config import RunSettings
from critic.run.folder.shards import RUN_FILE, ShardStore
from critic.run.folder.store import lock_directory
from critic.run.request import RunRequest
from critic.run.retest import SHARE
from critic.run.run import fingerprint
from service.jobs.inputs.artifacts import input_of, of_job
from service.jobs.kinds import feedback
from service.jobs.kinds.commands import principles_file, run_folder
from service.jobs.kinds.rows import run_request
from service.jobs.requests import GenerateRequest, JudgeRequest
from service.jobs.work.child import command
from service.jobs.work.ledger import Moved
from service.jobs.work.work import Work
from service.store.disk.synced import make_folder

TELL_SECONDS = 2.0
JUDGING = ("tie_band", "aggregation", "seed")  # settings of both commands
SAMPLING = ("samples", "revisions", "strategy", "max_tokens", "temperature", "judge_max_tokens", "judge_temperature")


def run(work: Work) -> dict[str, Any]:
    """Do a generate or judge job that names a cluster."""
    folder = run_folder(work)
    total = work.step("cluster", lambda: _run(work, folder))["total"]
    found = work.step("results", lambda: _results(work, folder, total))
    for file in _exports(folder):  # they are among the artifacts
        file.unlink()
    return found


def arguments(
    request: RunRequest,
    principles: Path,
    out: Path,
    format: str,
    on: str,
    with_reasoning: bool = False,
    retest: float = SHARE,
) -> list[str]:
    """The command line of ``cai`` that does ``request``; ``principles`` is the file of its constitution."""
    settings = RunSettings.read(request.settings)
    source = "prompts" if request.kind == "generate" else "pairs"
    options = [("principles", principles), (source, request.source), ("out", out), ("on", on), ("format", format)]
    options += [("retest", retest)]
    options += [("judge", judge) for judge in request.judges] + [("mode", mode) for mode in request.modes]
    options += [("judge-principles", settings.judge_principles or "all"), ("max-chars", request.max_chars)]
    if request.policy is not None:
        options += [("policy", request.policy), *((name, getattr(settings, name)) for name in SAMPLING)]
    options += [(name, getattr(settings, name)) for name in JUDGING]
    options += [("limit", request.limit)] if request.limit is not None else []
    flags = {"--ranking": settings.ranking, "--truncate": request.truncate, "--with-reasoning": with_reasoning}
    given = [f"--{name.replace('_', '-')}={value}" for name, value in options]
    return [request.kind, *given, *(flag for flag, wanted in flags.items() if wanted)]


def _run(work: Work, folder: Path) -> dict[str, Any]:
    asked = cast(GenerateRequest | JudgeRequest, work.request)
    artifacts = work.parts.artifacts
    [given] = artifacts.listing(input_of(work.id))
    source = artifacts.root / input_of(work.id) / given.name
    constitution = work.call(work.parts.constitutions.get(asked.constitution))
    request = run_request(work, asked, str(source), constitution)
    on = work.parts.settings.clusters[asked.cluster or ""]
    principles = Path(principles_file(work, asked.constitution))
    _, total = fingerprint(request)
    _wait_for(work, folder)
    with _told(work, folder, total):
        command(work, arguments(request, principles, folder, asked.format, on, asked.with_reasoning, asked.retest))
    return {"total": total}


def _wait_for(work: Work, folder: Path) -> None:
    """Wait until the command of a worker that lost this job has let go of its folder."""
    make_folder(folder)
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
    return {
        "rows": sum(about.rows for about in finished),
        "quarantined": sum(about.quarantined for about in finished),
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
