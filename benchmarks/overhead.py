"""What pipeline, ledger, store and exports cost by themselves, by size: a scripted engine that answers at once.

Each size runs once, in a process of its own; see `benchmarks.cost_curve` for what is run.
"""

import tempfile
from pathlib import Path

from benchmarks import cost_curve
from benchmarks.cost_curve import CALLS_A_PROMPT
from benchmarks.figures import Measurement

TITLE = "Overhead of pipeline and store"
SIZES = (1_000, 10_000, 100_000)


def measure() -> list[Measurement]:
    """Run every size, the smallest first."""
    with tempfile.TemporaryDirectory() as name:
        curve = [cost_curve.measured(Path(name) / str(size), size) for size in SIZES]
    small, large = curve[-2], curve[-1]
    whole = large.generate + large.export
    return [
        Measurement(
            f"recorded calls per second, {large.prompts:,} prompts",
            large.prompts * CALLS_A_PROMPT / whole,
            "/s",
            1200,
            f"{whole:.0f} s with exports and report; each call is synced to disk before its caller goes on",
        ),
        *cost_curve.figures(curve),
        Measurement("peak memory", large.memory, "MiB", None, f"{small.memory:.0f} MiB at {small.prompts:,} prompts"),
        Measurement(
            f"peak memory at {large.prompts:,} prompts over that at {small.prompts:,}",
            large.memory / small.memory,
            "times",
            1.2,
            "page caches of 32 MiB fill up; rows in flight are 64 at any size",
            bound="at most",
        ),
        Measurement(
            "run.db", large.size / large.prompts, "bytes a label", None, "with the calls and the row behind it"
        ),
    ]
