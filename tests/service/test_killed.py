"""A process killed at any write or sync leaves what the next start can work with: see `tests.service.killed`."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.killed import WHAT

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_next_start_works_after_a_kill_at_every_sync(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.service.killed", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    counted = {what: (int(kills), int(failures)) for what, kills, failures in _rows(done.stdout)}
    assert set(counted) == set(WHAT)
    for what, (kills, failures) in counted.items():
        assert failures == 0 and kills >= 3, (what, kills, failures, done.stderr[-3000:])


def _rows(text: str) -> list[list[str]]:
    return [line.split(",") for line in text.splitlines()]
