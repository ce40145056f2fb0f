"""SIGKILL a run again and again: the results are those of an undisturbed run, and no committed call is made twice."""

import asyncio
import json
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from critic.run.folder.store import RunStore
from critic.run.request import RunRequest
from critic.run.run import run
from tests import warm
from tests.factories import small_constitution

ROOT = Path(__file__).parents[2]
KILLS = 6
PROMPTS = 220
CALLS = PROMPTS * (2 + 2 * 2 + 4 * 2)  # two samples, a critique and a revision of each, 4 principles in 2 orders
EXPORTS = ("pairs.jsonl", "sft.jsonl", "feedback.jsonl", "quarantine.jsonl")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(small_constitution(4)))
    (tmp_path / "p.txt").write_text("".join(f"question {i}\n" for i in range(PROMPTS)))
    return tmp_path


def start(folder: Path, out: str, until: int = 2 * CALLS) -> "subprocess.Popen[bytes]":
    """Start a run; at the engine's call number ``until`` it dies."""
    script = folder / f"for-{out}" / "script.yaml"
    script.parent.mkdir(exist_ok=True)
    script.write_text(yaml.safe_dump({"latency": 0.004, "log": str(folder / f"{out}.log")}))
    spec = f"scripted:{script}"
    command = [sys.executable, "-m", "tests.e2e.dying_run", str(folder / f"{out}.log"), str(until)]
    command += ["generate", "--principles", str(folder / "c.yaml"), "--prompts", str(folder / "p.txt")]
    command += ["--policy", spec, "--judge", spec, "--out", str(folder / out)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def answered(folder: Path, out: str) -> list[str]:
    """The answers that the engine gave, in order; each call of this script has an answer of its own."""
    log = folder / f"{out}.log"
    lines = log.read_text().splitlines() if log.exists() else []
    return [json.dumps(json.loads(line)) for line in lines]


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
def test_kill_and_run_again(folder: Path) -> None:
    undisturbed = start(folder, "undisturbed")
    error = undisturbed.communicate(timeout=600)[1].decode()
    assert undisturbed.returncode == 0, error
    assert len(answered(folder, "undisturbed")) == len(set(answered(folder, "undisturbed"))) == CALLS

    chance, kills = random.Random(7), 0
    while True:
        before = set(committed(folder, "killed"))
        made = len(answered(folder, "killed"))
        # So many calls later it dies: at a random point, and early enough that the run lasts for all kills.
        until = made + chance.randint(1, CALLS // KILLS) if kills < KILLS else 2 * CALLS
        process = start(folder, "killed", until)
        error = process.communicate()[1].decode()
        assert process.returncode in (0, -signal.SIGKILL), error
        again = before & set(answered(folder, "killed")[made:])
        assert not again, f"{len(again)} committed calls were made again after kill {kills}"
        if process.returncode == 0:
            break
        kills += 1
    assert kills >= 4
    repeated = len(answered(folder, "killed")) - CALLS
    print(f"{kills} kills; {CALLS} calls, {repeated} uncommitted ones repeated, no committed one")
    for name in EXPORTS:
        assert (folder / "killed" / name).read_bytes() == (folder / "undisturbed" / name).read_bytes()
    assert (folder / "killed" / "pairs.jsonl").stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.usefixtures("embedded_model")
def test_kill_with_the_embedded_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"judge_principles": 2, "max_tokens": 24, "judge_max_tokens": 24}
    options = [text for key, value in settings.items() for text in (f"--{key.replace('_', '-')}", str(value))]
    command = [warm.CAI, "generate", "--principles", str(folder / "c.yaml")]
    command += ["--prompts", str(folder / "p.txt"), "--limit", "4", "--out", str(folder / "out"), *options]
    for calls in (3, 12):
        process = warm.Warm(command, folder, None, folder / "log", folder / "log")
        while process.poll() is None and len(keys(folder / "out")) < calls:
            time.sleep(0.02)
        process.kill()
        process.wait()
    before = keys(folder / "out")
    asked: list[str] = []
    claim = RunStore.claim

    def counted(store: RunStore, key: str) -> bool:
        asked.append(key)  # the right to make a call is asked for exactly where it is about to be made
        return claim(store, key)

    monkeypatch.setattr(RunStore, "claim", counted)
    request = RunRequest(
        str(folder / "c.yaml"), str(folder / "p.txt"), ("embedded",), "embedded", settings=settings, limit=4
    )
    outcome = asyncio.run(run(request, folder / "out"))
    assert len(before) >= 9 and outcome.progress.rows + outcome.progress.skipped == 4
    assert outcome.calls > 0 and not before & set(asked)
    assert keys(folder / "out") == before | set(asked)


def keys(out: Path) -> set[str]:
    """The committed calls of a run directory."""
    if not (out / "run.db").exists():
        return set()
    with closing(sqlite3.connect(f"file:{out / 'run.db'}?mode=ro", uri=True, timeout=10)) as connection:
        try:
            return {key.hex() for (key,) in connection.execute("SELECT key FROM calls")}
        except sqlite3.OperationalError:  # the run has not made its tables yet
            return set()
