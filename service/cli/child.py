"""``python -m service.cli.child ARGUMENTS`` is ``cai ARGUMENTS``, which ends when its standard input does.

A worker that runs it holds the other end: where the worker is gone, however it went, so is the command.
"""

import os
import sys
import threading
from pathlib import Path

from service.cli import main

PRIVATE = 0o077  # what a run leaves in the data folder is as private as the database


def _die_with_parent() -> None:
    source = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)

    def watch() -> None:
        while os.read(source, 4096):
            pass
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="watch the worker").start()


if __name__ == "__main__":
    _die_with_parent()
    os.umask(PRIVATE)
    sys.argv[0] = str(Path(sys.executable).with_name("cai"))
    main()
