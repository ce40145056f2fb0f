"""A vLLM server with the embedded model: started, asked for its counters, and timed with nothing to wait for."""

import asyncio
import contextlib
import os
import random
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from openai import AsyncOpenAI

from benchmarks.prefix_tree import text
from critic.local import embedded, processor
from critic.local.loading import default_device, default_dtype

PYTHON = Path(__file__).parents[2] / ".venv-vllm" / "bin" / "python"
MODEL = "embedded"
STARTING_SECONDS = 300


@dataclass(frozen=True, slots=True)
class ServerPace:
    """Tokens a second: of long prompts, and of answers written at the same time."""

    prompt: float
    written: float


@contextlib.contextmanager
def started(folder: Path, at_once: int) -> Iterator[str]:
    """Start a server in a process group of its own, its log in ``folder``; yield its base URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    dtype = str(default_dtype(default_device())).removeprefix("torch.")
    command = [str(PYTHON), "-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--model", str(embedded.fetch()), "--served-model-name", MODEL, "--dtype", dtype, "--enforce-eager"]
    command += ["--max-model-len", "2048", "--max-num-seqs", str(at_once), "--block-size", "32"]
    command += ["--no-enable-chunked-prefill", "--max-num-batched-tokens", "4096"]
    quiet = {"VLLM_CPU_KVCACHE_SPACE": "4", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
    # It leaves one core to its front end otherwise: of two cores, half of what prompts need.
    quiet |= {"VLLM_CPU_NUM_OF_RESERVED_CPU": "0", "VLLM_CPU_OMP_THREADS_BIND": ",".join(map(str, processor.cpus()))}
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=os.environ | quiet, stdout=log, stderr=log, start_new_session=True
        )
    try:
        wait(f"http://127.0.0.1:{port}/health", process, folder / "server.log")
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        stop(process)


def stop(process: "subprocess.Popen[bytes]") -> None:
    """End the server and all processes that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait(health: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait until the server is ready."""
    until = time.monotonic() + STARTING_SECONDS
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            urllib.request.urlopen(health, timeout=5).close()
            return
        time.sleep(0.5)
    raise SystemExit(f"the vLLM server did not start; its log ends:\n{log.read_text(errors='replace')[-3000:]}")


def counters(url: str) -> dict[str, float]:
    """What the server has counted so far: tokens of prompts, of those found in its cache, and written."""
    with urllib.request.urlopen(url.removesuffix("/v1") + "/metrics", timeout=60) as answer:
        lines = answer.read().decode().splitlines()
    names = ("prompt_tokens", "prefix_cache_hits", "generation_tokens")
    counted = {}
    for name in names:
        counted[name] = sum(float(line.split()[-1]) for line in lines if line.startswith(f"vllm:{name}_total"))
    return counted


def spent(before: dict[str, float], after: dict[str, float]) -> tuple[int, int]:
    """Prompt tokens that were computed, and tokens written, between two counts."""
    prompt, cached, written = (int(after[name] - before[name]) for name in before)
    return prompt - cached, written


def pace(url: str, at_once: int, tokens: int) -> ServerPace:
    """Ask for one token after long prompts, and for ``tokens`` after short ones; once before, to warm up."""

    async def ask(words: int, wanted: int) -> tuple[int, int, float]:
        rng = random.Random(f"{words} words")
        before, began = counters(url), time.perf_counter()
        async with AsyncOpenAI(base_url=url, api_key="none", timeout=600) as client:
            chats = [
                client.chat.completions.create(
                    model=MODEL,
                    messages=[{"role": "user", "content": text(rng, words)}],
                    max_tokens=wanted,
                    extra_body={"ignore_eos": True},
                )
                for _ in range(at_once)
            ]
            await asyncio.gather(*chats)
        seconds = time.perf_counter() - began
        return *spent(before, counters(url)), seconds

    asyncio.run(ask(10, 2))
    read, _, reading = asyncio.run(ask(300, 1))
    prompts, written, writing = asyncio.run(ask(11, tokens))
    prompt = read / reading
    return ServerPace(prompt, written / (writing - prompts / prompt))
