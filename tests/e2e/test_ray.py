"""Runs on a real Ray: nodes, actors and the driver are killed, and the results are those of a run on one machine."""

import asyncio
import filecmp
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import yaml
from ray.cluster_utils import Cluster

from critic.run.folder.shards import ShardStore
from critic.run.request import RunRequest
from critic.run.run import run
from tests.factories import small_constitution

pytestmark = [
    pytest.mark.slow,
    # Ray leaves its processes' log files open where it starts them.
    pytest.mark.filterwarnings("ignore:Exception ignored in.*/ray/session:pytest.PytestUnraisableExceptionWarning"),
]

PROMPTS, SHARD, AT_ONCE = 120, 8, 2
CALLS_A_ROW = 2 + 2 * 2 + 2 * 2  # two samples, a critique and a revision of each, 2 principles in 2 orders
EXPORTS = ("pairs.jsonl", "sft.jsonl", "feedback.jsonl", "quarantine.jsonl")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The inputs, and ``plain``: what a run on one machine makes of them. One prompt is there twice, one is broken."""
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(small_constitution(2)))
    prompts = [json.dumps({"prompt": f"question {i % (PROMPTS - 2)}"}) for i in range(PROMPTS - 1)]
    (tmp_path / "p.jsonl").write_text("\n".join([*prompts, "no JSON"]) + "\n")
    spec = f"scripted:{script(tmp_path, 'plain', latency=0)}"
    request = RunRequest(str(tmp_path / "c.yaml"), str(tmp_path / "p.jsonl"), (spec,), spec)
    asyncio.run(run(request, tmp_path / "plain"))
    return tmp_path


def script(folder: Path, out: str, latency: float) -> Path:
    path = folder / f"for-{out}" / "script.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump({"latency": latency, "log": str(folder / f"{out}.log")}))
    return path


def start(
    folder: Path, out: str, on: str, latency: float = 0.2, extend: bool = False, **environment: str
) -> "subprocess.Popen[str]":
    spec = f"scripted:{script(folder, out, latency)}"
    command = [str(Path(sys.executable).with_name("cai")), "generate", "--principles", str(folder / "c.yaml")]
    command += ["--prompts", str(folder / "p.jsonl"), "--policy", spec, "--judge", spec, "--out", str(folder / out)]
    return subprocess.Popen(
        [*command, "--on", on, *(["--extend"] if extend else [])],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONFAULTHANDLER": "1"} | environment,
        start_new_session=True,
    )


def shards(folder: Path, out: str) -> list[Path]:
    return sorted((folder / out / "shards").glob("*.parquet"))


def wait_for(folder: Path, out: str, number: int, run: "subprocess.Popen[str]") -> None:
    """Wait until so many shards are there."""
    until = time.monotonic() + 600
    while len(shards(folder, out)) < number:
        assert run.poll() is None, run.communicate()[0]
        assert time.monotonic() < until, "no shards came"
        time.sleep(0.02)


def end(run: "subprocess.Popen[str]") -> str:
    """Wait for the run's end. One row of the input is broken and one a duplicate, which the exit code 3 says."""
    try:
        said = run.communicate(timeout=600)[0]
    except subprocess.TimeoutExpired:
        run.send_signal(signal.SIGABRT)  # it says where each of its threads waits
        said = run.communicate()[0]
    assert run.returncode == 3, said
    return said


def calls(folder: Path, out: str) -> int:
    return (folder / f"{out}.log").read_bytes().count(b"\n")


def assert_same(folder: Path, out: str) -> None:
    """The exports are to the byte those of one machine, and each row is there once."""
    for name in EXPORTS:
        assert filecmp.cmp(folder / "plain" / name, folder / out / name, shallow=False), name
    store = ShardStore(folder / out)
    rows = [row.row for row in store.rows()]
    rows += [refused.row for refused in store.quarantined()]
    rows.sort()
    assert rows == list(range(PROMPTS))
    assert store.calls() == (PROMPTS - 2) * CALLS_A_ROW


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[Cluster]:
    """A cluster of two nodes, each of processes of its own, with one core each. The last test kills one of them."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    yield cluster
    shut_down(cluster)


def shut_down(cluster: Cluster) -> None:
    cluster.shutdown()
    gc.collect()  # of its open files now, while their warnings are ignored


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def actors() -> list[psutil.Process]:
    """The engine actors of this machine that this process may see, of whatever cluster."""
    return [process for process in psutil.process_iter(["name"]) if "MapWorker" in (process.info["name"] or "")]


@pytest.fixture
def head(tmp_path: Path) -> Iterator[str]:
    """A cluster of one node that takes clients; its address for them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--num-cpus=1", "--port=0"]
    command += ["--include-dashboard=false", f"--ray-client-server-port={port}"]
    # A client's server has 30 seconds to start, and a client whose server died waits as long before it says so. With
    # gRPC's own handling of forks one server in thirty dies as it starts ("epoll_wait error: Bad file descriptor").
    environment = os.environ | {"GRPC_ENABLE_FORK_SUPPORT": "0", "PYTHONPATH": str(tmp_path / "hook")}
    with (tmp_path / "head.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        until = time.monotonic() + 600
        while not listens(port):
            assert process.poll() is None and time.monotonic() < until, (tmp_path / "head.log").read_text()
            time.sleep(0.2)
        yield f"ray://127.0.0.1:{port}"
    finally:
        # At once: asked to end, it gives what it has started half a minute to do so.
        for started in [process.pid, *(child.pid for child in psutil.Process(process.pid).children(recursive=True))]:
            with suppress(ProcessLookupError):
                os.kill(started, signal.SIGKILL)
        process.wait(600)


def test_a_machine_that_is_no_node_of_the_cluster_can_start_a_run(folder: Path, head: str) -> None:
    died = fail_next_client_server(folder)
    said = end(start(folder, "client", f"{head}?shard=60", latency=0, RAY_AUTH_MODE="token"))
    assert died.exists() and "could not start this client's server" in said
    assert_same(folder, "client")


def fail_next_client_server(folder: Path) -> Path:
    """Let the next server that the head starts for a client die as it starts. Returns a file that is there after it."""
    died = folder / "died"
    hook = folder / "hook" / "sitecustomize.py"  # Python runs it in each process that the head starts
    hook.parent.mkdir()
    hook.write_text(
        "import os, pathlib, sys\n"
        f"died = pathlib.Path({str(died)!r})\n"
        "if 'specific-server' in ' '.join(sys.orig_argv) and not died.exists():\n"
        "    died.touch()\n"
        "    os._exit(1)\n"
    )
    return died


def test_a_killed_driver_goes_on_from_its_shards(
    folder: Path, two_nodes: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", two_nodes.address)
    on = f"ray?actors=2&shard={SHARD}"
    first = start(folder, "again", on)
    wait_for(folder, "again", 5, first)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    before = {path: path.stat().st_mtime_ns for path in shards(folder, "again")}
    assert len(before) < PROMPTS // SHARD
    end(start(folder, "again", on, latency=0.01))
    assert {path: path.stat().st_mtime_ns for path in before} == before  # what was done is not done again
    assert_same(folder, "again")
    edited = small_constitution(2)
    edited["principles"][1]["compare"] += " at all"
    (folder / "c.yaml").write_text(yaml.safe_dump(edited))
    before_it = calls(folder, "again")
    end(start(folder, "again", on, latency=0, extend=True))
    assert calls(folder, "again") - before_it == (PROMPTS - 2) * 2  # that principle in both orders, and nothing else


def test_a_killed_actor_costs_no_row(folder: Path) -> None:
    others = {process.pid for process in actors()}
    run = start(folder, "actor", f"ray?actors=1&shard={SHARD}", latency=0.1)
    wait_for(folder, "actor", 3, run)
    [victim] = [process for process in actors() if process.pid not in others]
    victim.kill()
    end(run)
    assert_same(folder, "actor")


def test_a_killed_node_costs_no_row_and_repeats_none(folder: Path, two_nodes: Cluster) -> None:
    run = start(folder, "killed", f"ray?actors=1-2&shard={SHARD}", RAY_ADDRESS=two_nodes.address)
    wait_for(folder, "killed", 6, run)
    [second] = two_nodes.worker_nodes
    two_nodes.remove_node(second, allow_graceful=False)
    end(run)
    assert_same(folder, "killed")
    wanted = (PROMPTS - 2) * CALLS_A_ROW
    assert wanted <= calls(folder, "killed") <= wanted + AT_ONCE * SHARD * CALLS_A_ROW  # what the node had under way
