"""A worker, as a program, whose scripted engine kills it for one prompt: ``python poisoned_worker.py SETTINGS``."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from critic.engine import Request
from critic.engines.scripted import ScriptedEngine
from service.jobs.worker.worker import work
from service.settings import Settings

FATAL = "question 5"

answer = ScriptedEngine._answer


def fatal(engine: ScriptedEngine, request: Request) -> str:
    if request.messages[-1].content == FATAL:
        os.kill(os.getpid(), signal.SIGKILL)
    return answer(engine, request)


if __name__ == "__main__":
    ScriptedEngine._answer = fatal  # type: ignore[method-assign, assignment]  # the one method that must be another
    asyncio.run(work(Settings.read(Path(sys.argv[1]))))
