"""What pipeline, ledger and exports cost by themselves: `cai generate` with a scripted engine that answers at once.

Each prompt has two samples, a critique and a revision of each, and two principles read in both orders: ten recorded
calls, each on disk before the run goes on. Time is that of the whole command, exports and report included; memory is
the process's peak.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.figures import Figure

TITLE = "Overhead of pipeline and store"
SMALL, LARGE = 10_000, 100_000
CALLS_A_PROMPT = 2 + 2 * 2 + 2 * 2
RUNS = 3

CONSTITUTION = """
name: two
version: 1.0.0
title: Two principles
summary: For a benchmark.
license: Apache-2.0
language: en
principles:
  - {id: kind, title: Kind, statement: The response is kind., critique: Say where it is not kind.,
     revision: Make it kind., compare: Which response is kinder?}
  - {id: short, title: Short, statement: The response is short., critique: Say where it is long.,
     revision: Make it short., compare: Which response is shorter?}
"""


def measure() -> list[Figure]:
    """Run the small size three times and the large one once, each in a process of its own."""
    small = [_run_in_child(SMALL) for _ in range(RUNS)]
    large = _run_in_child(LARGE)
    rate = median(SMALL * CALLS_A_PROMPT / seconds for seconds, _ in small)
    memory = median(peak for _, peak in small)
    at_large = LARGE * CALLS_A_PROMPT / large[0]
    limit = "each call is one SQLite row of about 110 bytes, synced in groups"
    return [
        Figure(f"recorded calls per second, {SMALL:,} prompts", rate, "/s", 1000, limit),
        Figure(f"recorded calls per second, {LARGE:,} prompts", at_large, "/s", 1000, f"{large[0]:.0f} s in all"),
        Figure(f"peak memory, {SMALL:,} prompts", memory, "MiB", None, "most of it is imported libraries"),
        Figure(
            f"peak memory at {LARGE:,} prompts over that at {SMALL:,}",
            large[1] / memory,
            "times",
            1.2,
            f"{large[1]:.0f} MiB; rows in flight are 64 at any size",
            bound="at most",
        ),
    ]


def _run_in_child(prompts: int) -> tuple[float, float]:
    command = [sys.executable, "-c", f"from benchmarks.overhead import child; child({prompts})"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds, peak = json.loads(done.stdout.splitlines()[-1])
    return seconds, peak


def child(prompts: int) -> None:
    """Run once, and print the seconds and the peak memory in MiB."""
    import asyncio

    from critic.run.run import RunRequest, run

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "two.yaml").write_text(CONSTITUTION)
        (folder / "script.yaml").write_text("{}")
        with (folder / "prompts.txt").open("w") as file:
            file.writelines(f"Question number {i}: what is to be done about it?\n" for i in range(prompts))
        spec = f"scripted:{folder / 'script.yaml'}"
        request = RunRequest(str(folder / "two.yaml"), str(folder / "prompts.txt"), (spec,), spec)
        began = time.monotonic()
        outcome = asyncio.run(run(request, folder / "out"))
        seconds = time.monotonic() - began
    if outcome.calls != prompts * CALLS_A_PROMPT:
        raise AssertionError(f"{outcome.calls} calls were recorded, not {prompts * CALLS_A_PROMPT}")
    print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
