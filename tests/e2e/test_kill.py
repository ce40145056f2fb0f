"""SIGKILL a run again and again: the results are those of an undisturbed run, and no committed call is made twice."""

import json
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.factories import small_constitution

KILLS = 24
PROMPTS = 220
CALLS = PROMPTS * (2 + 2 * 2 + 4 * 2)  # two samples, a critique and a revision of each, 4 principles in 2 orders
EXPORTS = ("pairs.jsonl", "sft.jsonl", "feedback.jsonl", "quarantine.jsonl")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(small_constitution(4)))
    (tmp_path / "p.txt").write_text("".join(f"question {i}\n" for i in range(PROMPTS)))
    return tmp_path


def start(folder: Path, out: str) -> "subprocess.Popen[bytes]":
    script = folder / f"for-{out}" / "script.yaml"
    script.parent.mkdir(exist_ok=True)
    script.write_text(yaml.safe_dump({"latency": 0.004, "log": str(folder / f"{out}.log")}))
    spec = f"scripted:{script}"
    command = [str(Path(sys.executable).with_name("cai")), "generate", "--principles", str(folder / "c.yaml")]
    command += ["--prompts", str(folder / "p.txt"), "--policy", spec, "--judge", spec, "--out", str(folder / out)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def answered(folder: Path, out: str) -> list[str]:
    """The answers that the engine gave, in order; each call of this script has an answer of its own."""
    log = folder / f"{out}.log"
    lines = log.read_text().splitlines() if log.exists() else []
    return [json.dumps(json.loads(line)) for line in lines]


def count(folder: Path, out: str) -> int:
    log = folder / f"{out}.log"
    return log.read_bytes().count(b"\n") if log.exists() else 0


def committed(folder: Path, out: str) -> Iterator[str]:
    database = folder / out / "run.db"
    if not database.exists():
        return
    connection = sqlite3.connect(database)
    for (text,) in connection.execute("SELECT answer FROM calls"):
        answer = json.loads(text)
        yield json.dumps(answer[:2] if isinstance(answer[0], str) else answer[0])
    connection.close()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_kill_and_run_again(folder: Path) -> None:
    undisturbed = start(folder, "undisturbed")
    error = undisturbed.communicate(timeout=120)[1].decode()
    assert undisturbed.returncode == 0, error
    assert len(answered(folder, "undisturbed")) == len(set(answered(folder, "undisturbed"))) == CALLS

    chance, kills = random.Random(), 0
    while True:
        before = set(committed(folder, "killed"))
        made = len(answered(folder, "killed"))
        # So many calls later it dies: at a random point, and early enough that the run lasts for all kills.
        until = made + chance.randint(1, CALLS // KILLS) if kills < KILLS else None
        process = start(folder, "killed")
        while process.poll() is None and (until is None or count(folder, "killed") < until):
            time.sleep(0.005)
        process.kill()
        error = process.communicate()[1].decode()
        assert process.returncode in (0, -signal.SIGKILL), error
        again = before & set(answered(folder, "killed")[made:])
        assert not again, f"{len(again)} committed calls were made again after kill {kills}"
        if process.returncode == 0:
            break
        kills += 1
    assert kills >= 20
    repeated = len(answered(folder, "killed")) - CALLS
    print(f"{kills} kills; {CALLS} calls, {repeated} uncommitted ones repeated, no committed one")
    for name in EXPORTS:
        assert (folder / "killed" / name).read_bytes() == (folder / "undisturbed" / name).read_bytes()
    assert (folder / "killed" / "pairs.jsonl").stat().st_size > 10_000
