"""``cai``, killed from inside at a number of calls: ``python -m tests.e2e.dying_run LOG CALLS ARGUMENTS...``.

From outside, a busy machine would see too late that it is time.
"""

import os
import signal
import sys
import threading
import time
from pathlib import Path

from service.cli import main


def die(log: Path, calls: int) -> None:
    """Kill this process, whatever it is doing, when ``log`` has so many lines."""
    while not log.exists() or log.read_bytes().count(b"\n") < calls:
        time.sleep(0.002)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    _, log, calls, *sys.argv[1:] = sys.argv
    threading.Thread(target=die, args=(Path(log), int(calls)), daemon=True).start()
    main()
