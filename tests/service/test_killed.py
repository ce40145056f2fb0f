"""A process killed at any write or sync leaves what the next start can work with: see `tests.service.killed`."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.killed import WHAT

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("what", WHAT)
def test_the_next_start_works_after_a_kill_at_every_sync(what: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.service.killed", what, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    kills, failures = map(int, done.stdout.split())
    assert failures == 0, done.stderr[-3000:]
    assert kills >= 5
