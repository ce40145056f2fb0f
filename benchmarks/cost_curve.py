"""One config at any size, and what it costs: seconds to run it, to go on with it and to export it, memory, bytes.

The scripted engine answers at once, so that what is measured is pipeline, ledger, store and exports: two answers a
prompt, one comparison of them, one principle read in both orders. That is four recorded calls, each on disk before the
run goes on.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.figures import Measurement, peak_memory
from critic.run.execute import Progress
from critic.run.folder.store import RunStore
from critic.run.request import RunRequest
from critic.run.run import Outcome, run, write_results

Tell = Callable[[Progress, int, int | None], None]

CALLS_A_PROMPT = 2 + 2
EXPONENT = 1.05

CONSTITUTION = """
name: one
version: 1.0.0
title: One principle
summary: For a benchmark.
license: Apache-2.0
language: en
principles:
  - {id: kind, title: Kind, statement: The response is kind., critique: Say where it is not kind.,
     revision: Make it kind., compare: Which response is kinder?}
"""


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds to run ``prompts``, to start the finished run again (up to its exports), and to export it.

    ``memory`` is the process's peak in MiB, ``size`` the bytes of ``run.db``.
    """

    prompts: int
    generate: float
    resume: float
    export: float
    memory: float
    size: int


def prepare(folder: Path, prompts: int) -> None:
    """Write what a run of so many prompts reads."""
    (folder / "one.yaml").write_text(CONSTITUTION)
    (folder / "script.yaml").write_text("{}")
    with (folder / "prompts.jsonl").open("w") as file:
        for number in range(prompts):
            file.write(json.dumps({"prompt": f"Question number {number}: what is to be done about it?"}) + "\n")


def start(
    folder: Path, tell: Callable[[Progress, int, int | None], None] = lambda progress, calls, total: None
) -> Outcome:
    """Run what `prepare` wrote, or what is left of it."""
    spec = f"scripted:{folder / 'script.yaml'}"
    request = RunRequest(
        principles=str(folder / "one.yaml"),
        source=str(folder / "prompts.jsonl"),
        judges=(spec,),
        policy=spec,
        modes=("logprob",),
        settings={"samples": 2, "revisions": 0, "strategy": "samples"},
    )
    return asyncio.run(run(request, folder / "out", on_progress=tell))


def costs(folder: Path, prompts: int, generate: float) -> Costs:
    """Measure a finished run, which took ``generate`` seconds: go on with it, and export it."""
    resumed = start(folder)
    if resumed.calls or resumed.progress.skipped != prompts:
        raise AssertionError(f"a finished run went on: {resumed.calls} calls, {resumed.progress}")
    with closing(RunStore.open_existing(folder / "out")) as store:
        if store.calls() != prompts * CALLS_A_PROMPT:
            raise AssertionError(f"{store.calls()} calls were recorded, not {prompts * CALLS_A_PROMPT}")
        began = time.monotonic()
        write_results(store, folder / "out", "jsonl", {})
        export = time.monotonic() - began
    memory = peak_memory() / 2**20
    return Costs(prompts, generate, resumed.seconds, export, memory, (folder / "out" / "run.db").stat().st_size)


def measured(folder: Path, prompts: int) -> Costs:
    """Run so many prompts in ``folder``, in a process of its own."""
    folder.mkdir()
    prepare(folder, prompts)
    command = [sys.executable, "-m", "benchmarks.cost_curve", str(folder), str(prompts)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Costs(**json.loads(done.stdout.splitlines()[-1]))


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """The slope of the least-squares line through the logarithms: 1 where the cost per item stays the same."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def figures(curve: Sequence[Costs]) -> list[Measurement]:
    """Each stage's time by size, and its exponent."""
    sizes = [one.prompts for one in curve]
    exponents = []
    for stage, name in (("generate", "generate and store"), ("resume", "resume"), ("export", "export and statistics")):
        seconds = [float(getattr(one, stage)) for one in curve]
        at_each = ", ".join(f"{s:,.3g} s at {size:,}" for s, size in zip(seconds, sizes, strict=True))
        exponents.append(
            Measurement(f"{name}, fitted exponent", exponent(sizes, seconds), "", EXPONENT, at_each, bound="at most")
        )
    return exponents


def main() -> None:
    """Run in the folder that the command line names, and print the costs."""
    folder, prompts = Path(sys.argv[1]), int(sys.argv[2])
    print(json.dumps(asdict(costs(folder, prompts, start(folder).seconds))))


if __name__ == "__main__":
    main()
