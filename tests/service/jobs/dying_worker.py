"""A worker, as a program, that every export job kills: ``python dying_worker.py SETTINGS``."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from service.jobs import exports
from service.jobs.worker import work
from service.settings import Settings


def fatal(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    exports.format_of = fatal  # type: ignore[assignment]  # what an export does first
    asyncio.run(work(Settings.read(Path(sys.argv[1]))))
