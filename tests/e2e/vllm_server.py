"""A vLLM server with one model on the loopback, in a process group of its own."""

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MODEL = "org/embedded"
KEY = "sk-only-for-this-test"
STARTING_SECONDS = 600


@contextmanager
def served(python: Path, model: Path, log: Path, name: str = MODEL, context: int = 2048) -> Iterator[str]:
    """Start the server of ``model`` under a ``name`` and yield its URL; it ends with the block in any case."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(python), "-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--model", str(model), "--served-model-name", name, "--api-key", KEY, "--dtype", "float32"]
    command += ["--enforce-eager", "--max-model-len", str(context), "--max-num-seqs", "16", "--block-size", "32"]
    # vLLM on CPUs can't compute a prompt that has a seed in several pieces: the server dies of it.
    command += ["--no-enable-chunked-prefill", "--max-num-batched-tokens", str(2 * context)]
    quiet = {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
    with log.open("wb") as file:
        server = subprocess.Popen(
            command,
            cwd=log.parent,  # away from this project's folder, whose packages it must not import
            env=os.environ | quiet,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait(f"http://127.0.0.1:{port}/health", server, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        _stop(server)


def _wait(health: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait until the server is ready; fail with the end of its log where it never is."""
    until = time.monotonic() + STARTING_SECONDS
    while time.monotonic() < until and server.poll() is None:
        with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            urllib.request.urlopen(health, timeout=5).close()
            return
        time.sleep(0.5)
    pytest.fail(f"the vLLM server did not start; its log ends:\n{log.read_text(errors='replace')[-3000:]}")


def _stop(server: "subprocess.Popen[bytes]") -> None:
    """End the server and all processes that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(120)
        os.killpg(server.pid, signal.SIGKILL)
    server.wait(120)
