"""Print what labels take on GPUs: time, tokens, money, rows, bytes, files, and what bounds a run.

    python -m benchmarks.simulate [--price DOLLARS] [--write]

``--price`` is a GPU-hour's; ``--write`` puts the tables into docs/CAPACITY.md. Where there are two figures, the first
is for GPUs that are used well, the second for GPUs that are not (`benchmarks.capacity`).
"""

import argparse
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from benchmarks.capacity import (
    EXPORT,
    H100,
    READ,
    RECORD,
    SHARD_ROWS,
    STORE,
    Setup,
    Workload,
    bottleneck,
    engine_run,
    floor,
    seconds,
    setups,
)
from benchmarks.run import replace_section, rounded

LABELS, GPUS = (10**6, 10**8, 10**10), (1, 8, 64, 1024)
PRICE = 3.0
LONG = 10**9  # prompts of a run whose beginning and end don't count
CAPACITY = Path(__file__).parents[1] / "docs" / "CAPACITY.md"
# Bytes a prompt of the default workload, from RESULTS.md, "Storage".
BYTES = {"run.db": 20_347, "PostgreSQL": 27_263, "shards": 1_761, "exports": 2_664}


def tables(price: float = PRICE) -> str:
    """All tables, as Markdown."""
    workload = Workload()
    parts = [
        ("One GPU at work", one_gpu(workload)),
        ("A label is a judgement: one pair of answers, compared", times(workload, workload.judgements, price)),
        ("A label is a vote: one principle, read in one order", times(workload, workload.votes, price)),
        ("What a run leaves, where a label is a judgement", leavings(workload)),
        ("What is one process for all GPUs", shared(workload)),
    ]
    return "\n\n".join(f"**{title}**\n\n{table}" for title, table in parts)


def one_gpu(workload: Workload) -> str:
    """Rates of one engine process in the middle of a run, and the floor."""
    pair = setups(workload, 1)
    ran = [engine_run(setup, workload, LONG) for setup in pair]
    seconds = [middle(setup, workload) for setup in pair]

    def rate(of: float) -> list[float]:
        return [of / taken for taken in seconds]

    rows = [
        ("prompts a second", rate(1)),
        ("judgements a second", rate(workload.judgements)),
        ("votes a second", rate(workload.votes)),
        ("recorded calls a second", rate(workload.records)),
        ("tokens read a second, shared beginnings once", rate(workload.computed)),
        ("tokens written a second", rate(workload.written)),
        ("answers in a step, on average", [r.written / r.steps for r in ran]),
        ("GPU seconds a prompt", seconds),
        ("the floor: all tokens at peak arithmetic, seconds a prompt", [floor(workload, H100)] * 2),
    ]
    return table(("", "used well", "used badly"), [(name, *map(rounded, values)) for name, values in rows])


def middle(setup: Setup, workload: Workload) -> float:
    """Seconds a prompt of one engine process, far from beginning and end."""
    return engine_run(setup, workload, LONG).seconds / LONG


def times(workload: Workload, labels_a_prompt: int, price: float) -> str:
    """Time, GPU-hours and money for each scale and number of GPUs."""
    rows = []
    for labels in LABELS:
        prompts = math.ceil(labels / labels_a_prompt)
        for gpus in GPUS:
            pair = setups(workload, gpus)
            took = [seconds(setup, workload, prompts) for setup in pair]
            hours = [gpus * t / 3600 for t in took]
            bounds = dict.fromkeys(bottleneck(setup, workload, prompts) for setup in pair)
            money = between([price * h for h in hours], dollars)
            rows.append(
                (f"{labels:.0e}", str(gpus), between(took, duration), between(hours, short), money, " or ".join(bounds))
            )
    return table(("labels", "GPUs", "time", "GPU-hours", f"at ${price:.2f}", "bound by"), rows)


def leavings(workload: Workload) -> str:
    """Tokens, rows, bytes and files of a run."""
    rows = []
    for labels in LABELS:
        prompts = math.ceil(labels / workload.judgements)
        tokens = (workload.read, workload.computed, workload.written)
        sizes = [size(prompts * held) for held in BYTES.values()]
        counts = [short(prompts * each) for each in (*tokens, workload.records, workload.rows)]
        rows.append((f"{labels:.0e}", *counts, short(math.ceil(prompts / SHARD_ROWS)), *sizes))
    head = ("labels", "tokens of all chats", "tokens computed", "written", "recorded calls", "rows in PostgreSQL")
    return table((*head, "shards' files", *BYTES), rows)


def shared(workload: Workload) -> str:
    """How many prompts a second one process can serve, and for how many GPUs that is enough."""
    rates = [1 / middle(setup, workload) for setup in setups(workload, 1)]
    parts = (
        ("run.db of a run without Ray: calls recorded", 1 / RECORD / workload.records),
        ("the reader of a run on Ray", 1 / READ),
        ("the driver: shards stored", SHARD_ROWS / STORE),
        ("the results at the end", 1 / EXPORT),
    )
    rows = []
    for name, most in parts:
        rows.append((name, short(most), between([most / rate for rate in rates], short)))
    return table(("one process", "prompts a second", "as fast as so many GPUs"), rows)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown, all columns but the first to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def between(values: Sequence[float], shown: Callable[[float], str]) -> str:
    """Two figures, or one where both look the same."""
    return " to ".join(dict.fromkeys(map(shown, values)))


def duration(seconds: float) -> str:
    """``90 min``, ``3.2 h``, ``14 days``, ``2.5 years``: the largest unit of which there are two."""
    units = (("years", 365 * 86400), ("days", 86400), ("h", 3600), ("min", 60), ("s", 1))
    name, unit = next((unit for unit in units if seconds >= 2 * unit[1]), units[-1])
    return f"{rounded(seconds / unit)} {name}"


def short(number: float) -> str:
    """``7.8 thousand``, ``1.2 billion``: whole words for large numbers, two digits or more."""
    names = (("trillion", 1e12), ("billion", 1e9), ("million", 1e6), ("thousand", 1e3))
    name, unit = next((name for name in names if number >= name[1]), ("", 1.0))
    return f"{rounded(number / unit)} {name}".strip()


def size(number: float) -> str:
    """``26 GB``: bytes in powers of 1,000."""
    names = (("PB", 1e15), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3))
    name, unit = next((name for name in names if number >= name[1]), ("B", 1.0))
    return f"{rounded(number / unit)} {name}"


def dollars(number: float) -> str:
    """``$1.2 million``."""
    return f"${short(number)}"


def main() -> None:
    """Print the tables, or write them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulate", description="What labels take on GPUs.")
    parser.add_argument("--price", type=float, default=PRICE, metavar="DOLLARS", help="a GPU-hour's")
    parser.add_argument("--write", action="store_true", help=f"put the tables into {CAPACITY.name}")
    options = parser.parse_args()
    text = tables(options.price)
    print(text)
    if options.write:
        CAPACITY.write_text(replace_section(CAPACITY.read_text(), "simulate", text))


if __name__ == "__main__":
    main()
