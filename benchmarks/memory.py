"""Memory of training: what `cai train --dry-run` says beside what a run takes, for the embedded model on a CPU.

Each run is a process of its own, of two steps: the second has the optimiser's state. The figure is the most memory
that the process held at a time, less what it held before the run, with all modules imported and the plan computed.
Rows are as long as ``max_length`` lets them be, as the plan takes them to be. With full weights, GRPO steps by plain
gradient descent, so that it needs no more than the other runs.

One constant of the plan was measured: what libraries and kernels take. So that the plan isn't only held to the runs
that the constant came from, it is also fitted on half of them (with full weights, and then with adapters) and the plan
held to the other half.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.figures import Measurement, peak_memory
from trainers.planning.memory import OVERHEAD

TITLE = "Memory of training, planned and measured"
LENGTH, ANSWER, BATCH = 256, 64, 1  # tokens of a chat, tokens of an answer that is written, examples
METHODS = ("sft", "dpo", "reward", "grpo")
LORA = {"r": 16, "target_modules": "all-linear"}
WITHIN = 0.15
# What is freed goes back to the system, so that the peak is of what is needed, not of what the allocator keeps.
RETURNING = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}
ROOT = Path(__file__).parents[1]


def measure() -> list[Measurement]:
    """See the module's docstring."""
    runs = {(method, adapters): run(method, adapters) for method in METHODS for adapters in (False, True)}
    figures = [figure for (method, adapters), plan in runs.items() for figure in compare(method, adapters, plan)]
    for adapters in (False, True):
        fitted_on = [plan for (_, lora), plan in runs.items() if lora == adapters]
        others = [plan for (_, lora), plan in runs.items() if lora != adapters]
        name = "LoRA" if adapters else "full"
        worst, constant = held_out_error(fitted_on, others)
        note = f"the constant is then {constant / 1e6:,.0f} MB; the worst of {len(others)} other runs"
        figures.append(Measurement(f"fitted on {name}: off", 100 * worst, "%", 100 * WITHIN, note, "at most"))
    return figures


def held_out_error(fitted_on: Sequence[dict[str, Any]], others: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """Fit the plan's constant on some runs; return how far it is then off at worst on ``others``, and the constant."""
    constant = median(run["measured"] - (run["planned"] - OVERHEAD) for run in fitted_on)
    errors = (abs((run["planned"] - OVERHEAD + constant) / run["measured"] - 1) for run in others)
    return max(errors), constant


def run(method: str, adapters: bool) -> dict[str, Any]:
    """Measure one run in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.memory", method, "lora" if adapters else "full"]
    environment = os.environ | RETURNING
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def compare(method: str, adapters: bool, plan: dict[str, Any]) -> list[Measurement]:
    """Say what a run took, and how far the plan was off."""
    name, off = f"{method}, {'LoRA' if adapters else 'full'}", abs(plan["planned"] / plan["measured"] - 1)
    note = f"planned {plan['planned'] / 1e9:.2f} GB, while {plan['fullest']}"
    return [
        Measurement(f"{name}: peak", plan["measured"] / 1e9, "GB", note=note),
        Measurement(f"{name}: plan beside measurement", 100 * off, "%", 100 * WITHIN, "off", "at most"),
    ]


def settings(method: str, adapters: bool, folder: Path, length: int = LENGTH) -> dict[str, Any]:
    """Return the settings of a run, and write its data into ``folder``."""
    rows = folder / "rows.jsonl"
    chosen: dict[str, Any] = {
        "output_dir": str(folder / "out"),
        "data": [str(rows)],
        "max_length": length,
        "max_steps": 2,
        "per_device_train_batch_size": BATCH,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
    }
    if adapters:
        chosen |= {"lora": LORA}
    if method == "grpo":
        write(rows, [{"prompt": words(length - ANSWER - 40, number)} for number in range(4)])
        chosen |= {"reward": "verify:max-words=10", "rule": "grpo", "prompts_per_step": 2, "samples_per_prompt": 4}
        chosen |= {"max_new_tokens": ANSWER, "rollout_batch": 8, "temperature": 5.0, "alarm_kl": None}
        return chosen | ({} if adapters else {"optim": "sgd"})
    sides = ("completion",) if method == "sft" else ("chosen", "rejected")

    def answer(number: int) -> dict[str, str]:
        return {side: words(length - 60, 10 * number + i) for i, side in enumerate(sides)}

    answers = [answer(number) for number in range(4)]
    write(rows, [{"prompt": f"Count {number}."} | answer for number, answer in enumerate(answers)])
    return chosen


def words(tokens: int, number: int) -> str:
    """Return a text of about so many tokens, each word one."""
    return " ".join([["time", "water", "people", "way"][(number + i) % 4] for i in range(tokens)])


def write(file: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows as JSON lines."""
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def child(method: str, adapters: bool) -> dict[str, Any]:
    """Plan a run, take it, and return both figures in bytes."""
    from transformers.utils import logging

    from trainers.method import load
    from trainers.planning.dry_run import case_of
    from trainers.planning.settings import this_machine
    from trainers.run import train

    logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        kind = load(method)
        config = kind.config(**settings(method, adapters, Path(folder)))
        plan = case_of(config, kind.plan, kind.work(config, 1), this_machine(config)).plan
        Path("/proc/self/clear_refs").write_text("5")  # the peak is from here on
        before = peak_memory()
        train(config)
        return {"planned": plan.peak, "measured": peak_memory() - before, "fullest": plan.fullest}


if __name__ == "__main__":
    print(json.dumps(child(sys.argv[1], sys.argv[2] == "lora")))
