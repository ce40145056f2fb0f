"""Processes that have imported what takes long: a fork server imports it once, and each process begins as a fork of it.

Importing PyTorch, transformers and TRL takes five seconds of processor time, more than most tests of a command do
themselves. `run` and `start` are `subprocess.run` and `Popen` for what is Python of this project: the process has a
folder, an environment, arguments and output of its own, it can be killed, and it ends with an exit code. What depends
on how an interpreter starts (console scripts, what is imported when) is tested with `subprocess`.
"""

import contextlib
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from multiprocessing import forkserver, get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path

CAI = "service.cli"
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
SECONDS = 600

_context = get_context("forkserver")
# What these import is what takes long. One that can't be imported there is imported by each process for itself.
_context.set_forkserver_preload(
    [
        "datasets",
        "peft",
        "service.align.chain",
        "service.cli.commands.server.worker",
        "service.cli.opened",
        "service.jobs.worker.worker",
        "service.serving.server",
        "trainers.methods.dpo",
        "trainers.methods.ppo",
        "trainers.methods.reward",
        "trainers.run",
        "tests.frozen",
    ]
)


class Warm:
    """A process of a module, as ``python -m MODULE ARGUMENTS``; its output goes to files."""

    def __init__(
        self, command: Sequence[str], cwd: Path, environment: Mapping[str, str] | None, out: Path, err: Path
    ) -> None:
        given = dict(os.environ if environment is None else environment) | ENVIRONMENT
        self.args = list(command)
        self._process: ForkServerProcess = _context.Process(
            target=_main, args=(self.args, str(cwd), given, str(out), str(err))
        )
        self._process.start()

    @property
    def pid(self) -> int:
        """Its process id, and that of its group."""
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        """How it ended, or None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float = SECONDS) -> int:
        """Wait for its end, and return how it was: less than zero for a signal."""
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


def begin() -> None:
    """Start the fork server, if it does not run yet: all of its forks show the environment that it has now."""
    forkserver.ensure_running()


def forked(command: Sequence[str], log: Path) -> Warm:
    """Start a module in this folder, as `benchmarks.serving.spawned` does."""
    return Warm(command, Path.cwd(), None, log, log)


def run(
    command: Sequence[str],
    cwd: Path,
    environment: Mapping[str, str] | None = None,
    timeout: float = SECONDS,
) -> "subprocess.CompletedProcess[str]":
    """Run a module to its end; ``command`` is its name and its arguments."""
    with tempfile.TemporaryDirectory(prefix="cai-warm-") as name:
        out, err = Path(name) / "out", Path(name) / "err"
        process = Warm(command, cwd, environment, out, err)
        try:
            code = process.wait(timeout)
        finally:
            process.kill()
        return subprocess.CompletedProcess(process.args, code, out.read_text(), err.read_text())


def run_side_by_side(command: Sequence[str], cwd: Path) -> None:
    """Run one module in two processes that compute together, as ``torchrun --nproc-per-node=2`` starts them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    given = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    logs = [cwd / f"rank-{rank}.log" for rank in "01"]
    started = [
        Warm(command, cwd, given | {"RANK": rank, "LOCAL_RANK": rank}, log, log)
        for rank, log in zip("01", logs, strict=True)
    ]
    try:
        codes = [process.wait() for process in started]
    finally:
        for process in started:
            process.kill()
    assert codes == [0, 0], "\n".join(log.read_text()[-3000:] for log in logs)


def _main(command: list[str], cwd: str, environment: dict[str, str], out: str, err: str) -> None:
    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    for name, number in ((out, 1), (err, 2)):
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(file, number)
        os.close(file)
    # A suite that runs in the background ignores Ctrl-C, and so would this process.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115  # for the length of the process
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115  # likewise
    sys.argv = ["cai" if command[0] == CAI else command[0], *command[1:]]
    try:
        runpy.run_module(command[0], run_name="__main__", alter_sys=True)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
