"""`cai judge --on ray` against itself on twice the cores, and against `cai judge` without Ray on the same cores.

The embedded model judges answers: one actor a core, or one engine with a thread a core. A rate is the slope of one
run's finished rows over time, so that starting Ray and loading models don't count; what they take stands apart.
Everything is bound to these cores, Ray's own processes too. Then a node of two is killed in mid-run, with an engine
that only waits.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import linear_regression, median
from typing import NamedTuple

from benchmarks.cost_curve import CONSTITUTION
from benchmarks.figures import Measurement
from critic.cluster.shard_worker import SHARDS_AT_ONCE
from critic.local import processor
from critic.run.execute import Progress
from critic.run.request import RunRequest

TITLE = "Ray"
ROWS, RUNS = 96, 3  # rows a core, so that each actor has as many shards
SHARD = 16  # rows; a run without Ray has as many under way, so that an engine's batches are alike
SHORT = {"RUNS": 1}
OVERHEAD = 1.1
KILL_ROWS, LATENCY, AT_ONCE = 320, 0.5, 2

Side = tuple[str, int]  # a function below, and the cores that it has
Told = Callable[[Progress, int, int | None], None]
SIDES: tuple[Side, ...] = (("plain", 1), ("ray", 1), ("plain", 2), ("ray", 2))


class ClusterRate(NamedTuple):
    """Rows a second, and the seconds of the start."""

    rows: float
    start: float


def measure() -> list[Measurement]:
    """See the module's docstring."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        rounds = []
        for _ in range(RUNS):
            rounds.append({side: rate(folder, *side) for side in SIDES})
        needed, bound, batch = json.loads(child(folder, "kill", 2, KILL_ROWS))
    return [*scaling(rounds), *killed(needed, bound, batch)]


def scaling(rounds: list[dict[Side, ClusterRate]]) -> list[Measurement]:
    """The figures of the first two comparisons; ratios are of runs of one round."""
    by_side = {}
    for side in SIDES:
        by_side[side] = [rate[side] for rate in rounds]
    plain, one, plain_two, two = by_side.values()
    slower, slower_two, faster = ratios(plain, one), ratios(plain_two, two), ratios(two, one)
    own = "Ray's own processes take their share of it"
    limit = "limit 2, and more as Ray's own processes are there once"
    start = median(rate.start for rate in one + two)

    def rows(rates: list[ClusterRate]) -> float:
        return median(rate.rows for rate in rates)

    return [
        Measurement("cai judge, one core", rows(plain), "rows/s"),
        Measurement("cai judge --on ray, one actor on that core", rows(one), "rows/s"),
        Measurement(
            "time with Ray / without, one core", median(slower), "x", OVERHEAD, f"{own}; {spread(slower)}", "at most"
        ),
        Measurement("cai judge, two cores", rows(plain_two), "rows/s"),
        Measurement("cai judge --on ray, two actors on them", rows(two), "rows/s"),
        Measurement(
            "time with Ray / without, two cores", median(slower_two), "x", OVERHEAD, spread(slower_two), "at most"
        ),
        Measurement("two actors / one", median(faster), "x", 1.6, f"{limit}; {spread(faster)}"),
        Measurement("start of Ray, actors and models", start, "s", None, "once a run"),
    ]


def ratios(these: list[ClusterRate], those: list[ClusterRate]) -> list[float]:
    """How many times the rate of the other side this side has, round by round."""
    return [one.rows / other.rows for one, other in zip(these, those, strict=True)]


def spread(ratios: list[float]) -> str:
    """The ratios' range, for a figure's note."""
    return f"runs {min(ratios):.2f} to {max(ratios):.2f}"


def killed(needed: float, bound: float, batch: float) -> list[Measurement]:
    """The figures of the killed node: seconds from the kill to the end, and what one node needs for what was left."""
    note = f"{bound:.1f} s for what was left on one node, and {batch:.1f} s for a batch; {AT_ONCE} shards are one"
    return [
        Measurement("from the kill of one node of two to the end", needed, "s", bound + batch, note, "at most"),
    ]


def rate(folder: Path, kind: str, cores: int) -> ClusterRate:
    """Rows a second by the slope of one run's points, and what is left of its time: the start.

    With Ray the first shards of all actors don't count, which begin at different times, nor the last, which end
    together with nothing after them.
    """
    rows = ROWS * cores
    seconds, points = json.loads(child(folder, kind, cores, rows))
    at_once = SHARD * cores if kind == "ray" else 0
    steady = [point for point in points if max(1, at_once) <= point[0] <= rows - SHARDS_AT_ONCE * at_once]
    done, when = zip(*steady, strict=True)
    slope = linear_regression(done, when).slope
    return ClusterRate(1 / slope, seconds - rows * slope)


def child(folder: Path, kind: str, cores: int, rows: int) -> str:
    """Run one part in a process of its own on so many cores, and return what it printed last."""
    code = f"from benchmarks.ray_scaling import {kind}; {kind}({str(folder)!r}, {cores}, {rows})"
    available = processor.cpus()
    done = subprocess.run(
        ["taskset", "--cpu-list", ",".join(map(str, available[:cores])), sys.executable, "-c", code],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": str(cores if kind == "plain" else 1)},
    )
    return done.stdout.splitlines()[-1]


def prepare(folder: Path) -> None:
    """Write the inputs: pairs of answers for each number of cores, and prompts for the killed node."""
    (folder / "c.yaml").write_text(CONSTITUTION)
    (folder / "wait.yaml").write_text(f"latency: {LATENCY}")
    answer = "Wrap it in a cloth and keep it in a box of wood or clay, away from the sun. " * 2
    for rows in {ROWS * cores for _, cores in SIDES}:
        pairs = [
            {"prompt": f"How is bread {i} kept fresh?", "responses": [answer, f"{answer} {i}"]} for i in range(rows)
        ]
        (folder / f"{rows}.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    (folder / "prompts.txt").write_text("".join(f"question {i}\n" for i in range(KILL_ROWS)))


def plain(folder: str, cores: int, rows: int) -> None:
    """Judge without Ray."""
    from critic.run.run import run

    timed(folder, rows, lambda request, out, told: asyncio.run(run(request, out, on_progress=told)))


def ray(folder: str, cores: int, rows: int) -> None:
    """Judge with so many actors."""
    from critic.cluster.cluster import run_on
    from critic.cluster.spec import Cluster

    cluster = Cluster(least=cores, most=cores, shard=SHARD)
    timed(folder, rows, lambda request, out, told: run_on(cluster, request, out, on_progress=told))


def timed(folder: str, rows: int, judge: Callable[[RunRequest, Path, Told], object]) -> None:
    """Print the seconds of a run, and at which of them how many rows were finished."""
    seconds: dict[int, float] = {}
    began = time.monotonic()

    def told(progress: Progress, calls: int, total: int | None) -> None:
        seconds.setdefault(progress.rows, time.monotonic() - began)

    request = RunRequest(f"{folder}/c.yaml", f"{folder}/{rows}.jsonl", ("embedded",), None)
    with tempfile.TemporaryDirectory() as out:
        judge(request, Path(out) / "out", told)
        print(json.dumps([time.monotonic() - began, list(seconds.items())]))


def kill(folder: str, cores: int, rows: int) -> None:
    """Kill a node of two at a quarter of the rows, and print the seconds from there, and what would be needed.

    One actor has `AT_ONCE` shards under way, so a batch is one shard's time; it is taken from the run itself, as the
    median time between two results of one actor.
    """
    from ray.cluster_utils import Cluster as Nodes

    from critic.cluster.cluster import run_on
    from critic.cluster.spec import Cluster

    nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    second = nodes.add_node(num_cpus=1)
    os.environ["RAY_ADDRESS"] = nodes.address
    shard = 16
    done: list[tuple[float, int]] = []
    dead: list[tuple[float, int]] = []

    def on_progress(progress: Progress, calls: int, total: int | None) -> None:
        done.append((time.monotonic(), progress.rows))
        if progress.rows >= rows // 4 and not dead:
            dead.append((time.monotonic(), progress.rows))
            threading.Thread(target=nodes.remove_node, args=(second, False)).start()

    spec = f"scripted:{folder}/wait.yaml"
    request = RunRequest(f"{folder}/c.yaml", f"{folder}/prompts.txt", (spec,), spec, settings={"revisions": 1})
    with tempfile.TemporaryDirectory() as out:
        run_on(Cluster(least=1, most=2, shard=shard), request, Path(out) / "out", on_progress=on_progress)
    [(at, rows_done)] = dead
    batch = 2 * LATENCY  # never less than its calls one after the other
    gaps = [later - earlier for (earlier, _), (later, _) in zip(done[2:], done[4:], strict=False)]
    batch = max(batch, median(gaps))
    left = -(-(rows - rows_done) // shard)
    print(json.dumps([done[-1][0] - at, left / AT_ONCE * batch, batch]))
    nodes.shutdown()
