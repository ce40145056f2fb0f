"""Temporary folders go in every way out, and those of killed processes at the next start."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from service.jobs.inputs.artifacts import swept
from service.settings import Settings
from service.store.disk.scratch import HIDDEN, scratch, sweep

KILLED = """
import os, signal, sys
from pathlib import Path
from service.store.disk.scratch import scratch
with scratch(Path(sys.argv[1])) as folder:
    (folder / "large").write_bytes(b"x" * 1000)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def left(place: Path) -> list[Path]:
    return [path for path in (place / HIDDEN).iterdir() if path.is_dir()]


def test_a_folder_goes_with_its_with_however_that_ends(tmp_path: Path) -> None:
    with scratch(tmp_path) as folder:
        (folder / "a").write_text("x")
        assert folder.stat().st_dev == tmp_path.stat().st_dev
    assert left(tmp_path) == []
    with pytest.raises(ZeroDivisionError), scratch(tmp_path) as folder:
        os.replace(folder, tmp_path / "kept")  # what became something stays
        raise ZeroDivisionError
    assert left(tmp_path) == [] and (tmp_path / "kept").is_dir()


def test_what_a_killed_process_left_is_swept_and_nothing_of_the_living(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL and len(left(tmp_path)) == 1
    with scratch(tmp_path) as mine:
        assert len(left(tmp_path)) == 2
        assert sweep(tmp_path) == 1
        assert left(tmp_path) == [mine.parent]
        assert sweep(tmp_path) == 0
    assert sweep(tmp_path / "nothing") == 0


def test_a_start_sweeps_data_and_artifacts(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "data")
    for place in (settings.data, settings.data / "artifacts"):
        place.mkdir(parents=True)
        subprocess.run([sys.executable, "-c", KILLED, str(place)], check=False)
    assert swept(settings) >= 2
    assert left(settings.data) == left(settings.data / "artifacts") == []
