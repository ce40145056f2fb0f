"""A worker, as a program, that every export job kills: ``python dying_worker.py SETTINGS``."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any, cast

from service.jobs.kinds import export
from service.jobs.worker.worker import work
from service.settings import Settings


def fatal(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    cast(Any, export).format_of = fatal  # what an export does first
    asyncio.run(work(Settings.read(Path(sys.argv[1]))))
