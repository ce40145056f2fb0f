"""``cai`` as a child process of a worker: what it prints is told line by line, and it never outlives the worker.

What it is asked for lies in a file that only the worker's user reads: a command line is seen by everybody on the
machine, and a text on it can be taken for an option. The child holds the reading end of a pipe whose other end only the
worker has. Where the worker is gone, however it went, the pipe ends, and so does the child.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from service.jobs.work.ledger import Moved
from service.jobs.work.work import Failed, Work
from service.outward.public import public

SETTINGS, PRIVATE = "settings.json", 0o600
LINES_KEPT = 20  # of what a failed command printed last
CHARACTERS = 2000  # of one line, at most
ADDRESS = re.compile(r"(?:https?|ray)://[^\s),;]+|\b(?:\d{1,3}\.){3}\d{1,3}\b")
"""Of an engine, a cluster or a node, which only an administrator knows."""


def run(work: Work, name: Sequence[str], settings: Mapping[str, Any], log: Callable[[str], None]) -> int:
    """Run a command of ``cai`` and return its exit code. Raises `Moved` where the job goes meanwhile."""
    process = subprocess.Popen(
        [sys.executable, "-m", "service.cli.child", *name, "--config", str(_written(work.folder, settings))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
        cwd=work.folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path[1:]), "PYTHONUNBUFFERED": "1", "COLUMNS": "120"},
    )
    assert process.stdin and process.stdout
    work.on_stop(process.kill)
    with process.stdin, process.stdout:
        for line in process.stdout:
            log(line.rstrip()[:CHARACTERS])
    code = process.wait()
    if work.moved.is_set():
        raise Moved(work.id)
    return code


def _written(folder: Path, settings: Mapping[str, Any]) -> Path:
    file = folder / SETTINGS
    file.unlink(missing_ok=True)  # of an attempt before
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE), "w", encoding="utf-8") as opened:
        json.dump(settings, opened, allow_nan=False)
    return file


def command(work: Work, name: Sequence[str], settings: Mapping[str, Any], *, fine: Sequence[int] = (0, 3)) -> None:
    """Run the command of that ``name`` with its lines among the job's events, without addresses and folders.

    ``settings`` are what a ``--config`` file of the command has. Raises `Failed` with the last of the lines.
    """
    last: list[str] = []

    def log(line: str) -> None:
        if line:
            shown = line.replace(str(work.parts.settings.data.absolute()) + os.sep, "").replace("\0", "")
            shown = public(ADDRESS.sub("(its address)", shown.replace(str(work.folder) + os.sep, "")))
            last[:] = [*last, shown][-LINES_KEPT:]
            work.store.tell("log", text=shown)

    code = run(work, name, settings, log)
    if code not in fine:
        raise Failed("\n".join(last) or f"the command ended with the exit code {code}")
