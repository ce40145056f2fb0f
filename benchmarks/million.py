"""A million prompts on one machine: generated, killed at 90 %, gone on with, exported and loaded.

The run is `benchmarks.cost_curve`'s, whose smaller sizes are measured first. SIGKILL ends it where 90 % of the rows are
stored; the same command then goes on to the end, and `datasets` reads its pairs, from disk and as a stream. The time
from end to end is that of these four, with the imports; memory is the largest of any process.

``python -m benchmarks.million [--prompts N] [--out FOLDER]``
"""

import argparse
import inspect
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import cost_curve, run
from benchmarks.cost_curve import CALLS_A_PROMPT, Costs
from benchmarks.figures import Measurement, peak_memory
from critic.run.execute import Progress

TITLE = "A million prompts"
SMALLER = (1_000, 10_000, 100_000)
KILLED_AT = 0.9
A_GB = 10**9 / 2**20  # MiB
LOG_EVERY = 10.0  # seconds


class Child:
    """A process that does one part. ``seconds`` since it began and ``memory``, its peak in MiB, are as last told."""

    def __init__(self, part: str, folder: Path) -> None:
        self.began, self.seconds, self.memory = time.monotonic(), 0.0, 0.0
        command = [sys.executable, "-m", "benchmarks.million", "--part", part, "--out", str(folder)]
        environment = os.environ | {"HF_HOME": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)

    def told(self) -> Iterator[dict[str, Any]]:
        """Yield what it prints, a line each, until it ends. Raises where it ends with an error that is no kill."""
        assert self.process.stdout is not None
        logged = 0.0
        with self.process:
            for line in self.process.stdout:
                self.seconds, self.memory = time.monotonic() - self.began, max(self.memory, self._peak())
                if self.seconds > logged + LOG_EVERY:
                    logged = self.seconds
                    say(f"{self.seconds:8.1f} s  {self.memory:5.0f} MiB  {line.strip()}")
                yield json.loads(line)
        self.seconds = time.monotonic() - self.began
        if self.process.returncode > 0:
            raise AssertionError(f"it ended with exit code {self.process.returncode}")

    def _peak(self) -> float:
        """The process's peak so far; 0 where it has ended already."""
        try:
            return peak_memory(self.process.pid) / 2**20
        except OSError:
            return 0.0


def measure(prompts: int, folder: Path) -> list[Measurement]:
    """See the module's docstring. ``folder`` keeps all files."""
    curve = [cost_curve.measured(folder / str(size), size) for size in SMALLER if size < prompts]
    say(f"smaller sizes: {[asdict(one) for one in curve]}")
    whole = folder / str(prompts)
    whole.mkdir()
    cost_curve.prepare(whole, prompts)
    killed, rows = start_and_kill(whole, prompts)
    resumed, first_call, generated = start_again(whole)
    loading = Child("load", whole)
    loaded = list(loading.told())[-1]
    say(f"loaded after {loading.seconds:.1f} s: {loaded}")
    [costs] = Child("costs", whole).told()
    curve.append(Costs(**costs | {"generate": killed.seconds + generated}))
    say(f"costs: {asdict(curve[-1])}")
    seconds = killed.seconds + resumed.seconds + loading.seconds
    memory = {"first start": killed.memory, "second start": resumed.memory, "loading": loading.memory}
    memory |= {"resume and export": curve[-1].memory}
    stages = f"{killed.seconds:,.0f} s, {resumed.seconds:,.0f} s after the kill, {loading.seconds:,.0f} s to load"
    return [
        Measurement("prompts per second, end to end", prompts / seconds, "/s", 300, f"{prompts:,} prompts: {stages}"),
        Measurement("recorded calls per second, end to end", CALLS_A_PROMPT * prompts / seconds, "/s", 1200),
        Measurement("first new call after the kill", first_call, "s", 20, f"killed at {rows:,} rows", bound="at most"),
        Measurement("peak memory", max(memory.values()), "MiB", A_GB, noted(memory), bound="at most"),
        Measurement("run.db", curve[-1].size / prompts, "bytes a label", None, "with the calls and the row behind it"),
        Measurement("pairs loaded", loaded["normal"], "", None, "as many as were exported, from disk and as a stream"),
        *cost_curve.figures(curve),
    ]


def noted(memory: dict[str, float]) -> str:
    """The peak of each process."""
    return ", ".join(f"{name} {peak:,.0f}" for name, peak in memory.items())


def start_and_kill(folder: Path, prompts: int) -> tuple[Child, int]:
    """Run until 90 % of the rows are stored, and kill the process. Return how many there were."""
    child, rows = Child("start", folder), 0
    for told in child.told():
        rows = told["rows"]
        if rows >= KILLED_AT * prompts:
            child.process.kill()
    if child.process.returncode == 0:
        raise AssertionError("the run ended before it was killed")
    say(f"killed at {rows:,} rows after {child.seconds:,.1f} s")
    return child, rows


def start_again(folder: Path) -> tuple[Child, float, float]:
    """Go on to the end. Return also the seconds from the process's start to its first new call, and to its exports."""
    child, first_call, generated = Child("start", folder), 0.0, 0.0
    for told in child.told():
        generated = child.seconds
        if told["calls"] and not first_call:
            first_call = child.seconds
            say(f"first new call after {first_call:.2f} s")
    if not first_call:
        raise AssertionError("every call was made before the kill")
    say(f"done after {child.seconds:,.1f} s")
    return child, first_call, generated


def say(text: str) -> None:
    """Print a line of the log."""
    print(text, flush=True)


def start(folder: Path) -> None:
    """Part: run, or go on, and tell a few times a second where it stands."""

    def tell(progress: Progress, calls: int, total: int | None) -> None:
        say(json.dumps({"skipped": progress.skipped, "rows": progress.rows, "calls": calls}))

    cost_curve.start(folder, tell)


def load(folder: Path) -> None:
    """Part: read the pairs with `datasets`, and check that none is missing."""
    from datasets import load_dataset

    normal = load_dataset(str(folder / "out"), "pairs", split="train").num_rows
    say(json.dumps({"normal": normal}))
    stream = load_dataset(str(folder / "out"), "pairs", split="train", streaming=True)
    streaming = 0
    for streaming, _ in enumerate(stream, 1):
        if streaming % 10_000 == 0:
            say(json.dumps({"normal": normal, "streaming": streaming}))
    with (folder / "out" / "pairs.jsonl").open("rb") as file:
        exported = sum(1 for _ in file)
    if not exported == normal == streaming:
        raise AssertionError(f"{exported} pairs were exported, {normal} loaded, {streaming} streamed")
    say(json.dumps({"normal": normal, "streaming": streaming}))


def again(folder: Path) -> None:
    """Part: what going on with the finished run and its exports cost."""
    with (folder / "prompts.jsonl").open("rb") as file:
        prompts = sum(1 for _ in file)
    say(json.dumps(asdict(cost_curve.costs(folder, prompts, 0.0))))


PARTS = {"start": start, "load": load, "costs": again}


def main() -> None:
    """Measure, and write the section of ``RESULTS.md``; or do one part, in a child process."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.million", description=TITLE)
    parser.add_argument("--prompts", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--out", type=Path, help="an empty folder that keeps all files; a temporary one by default")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        PARTS[options.part](options.out)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.out or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        figures = measure(options.prompts, folder)
    about = (inspect.getdoc(sys.modules[__name__]) or "").split("\n\n")[0].replace("\n", " ")
    section = run.render(TITLE, about, figures)
    say(section)
    if options.prompts == 1_000_000:
        run.write_section("million", section)


if __name__ == "__main__":
    main()
