"""``cai evaluate injection`` as a person runs it: the table, the file, going on, and what can't be measured."""

import json
import subprocess
from pathlib import Path

import pytest

from tests import warm

pytestmark = pytest.mark.slow  # a process a command


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "s.yaml").write_text(f"log: {tmp_path / 'calls'}\n")
    (tmp_path / "first.yaml").write_text("choose: first\n")
    return tmp_path


def injection(folder: Path, *more: str, judge: str = "scripted:s.yaml") -> "subprocess.CompletedProcess[str]":
    command = [warm.CAI, "evaluate", "injection", "--judge", judge, "--limit", "3", *more]
    return warm.run(command, folder)


def calls(folder: Path) -> int:
    return len((folder / "calls").read_text().splitlines())


def test_each_mode_stands_beside_the_plain_prompt(folder: Path) -> None:
    done = injection(folder, "--mode", "logprob", "--mode", "contrast?per=total", "--out", "out")
    assert done.returncode == 0
    for word in ("texts planted: 3", "plain", "logprob", "contrast", "mean shift", "ratio", "flips", "unread"):
        assert word in done.stdout
    written = json.loads((folder / "out" / "injection.json").read_text())
    assert list(written["modes"]) == ["plain", "logprob", "contrast?per=total"]
    assert written["modes"]["plain"]["shift_of_plain"] is None
    for mode in written["modes"].values():
        assert len(mode["trials"]) == 3 * 7 * 2
        shifts = [trial["probability"] - trial["control"] for trial in mode["trials"]]
        assert mode["shift"]["estimate"] == pytest.approx(sum(shifts) / len(shifts))


def test_the_same_command_asks_nothing_again(folder: Path) -> None:
    first = injection(folder, "--out", "out")
    written = (folder / "out" / "injection.json").read_bytes()
    made = calls(folder)
    again = injection(folder, "--out", "out")
    assert (again.stdout, calls(folder)) == (first.stdout, made)
    assert (folder / "out" / "injection.json").read_bytes() == written
    injection(folder, "--mode", "contrast", "--out", "out")
    assert calls(folder) > made  # another mode: only its reads are new


def test_nothing_is_written_without_a_directory(folder: Path) -> None:
    before = set(folder.iterdir())
    assert injection(folder).returncode == 0
    assert set(folder.iterdir()) - before == {folder / "calls"}


def test_a_judge_that_says_first_is_moved_by_nothing(folder: Path) -> None:
    done = injection(folder, "--mode", "logprob", "--out", "out", judge="scripted:first.yaml")
    modes = json.loads((folder / "out" / "injection.json").read_text())["modes"]
    assert modes["plain"]["shift"]["estimate"] == modes["logprob"]["shift"]["estimate"] == 0
    assert modes["logprob"]["flips"] is None and modes["logprob"]["shift_of_plain"] is None
    assert done.returncode == 0


def test_what_the_judge_can_t_answer_is_told(folder: Path) -> None:
    (folder / "s.yaml").write_text("fail: {every: 2, how: raise}\n")
    done = injection(folder)
    assert done.returncode == 130  # each comparison is two reads, of which one fails: none is answered
    assert "failed in the same way, and none was answered: scripted failure at call" in done.stderr


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--principle", "nonesuch"), "has no principle 'nonesuch'"),
        (("--mode", "plain"), "there is no judge mode 'plain'"),
        (("--limit", "0"), "--limit"),
    ],
)
def test_bad_input_is_2_and_says_what_to_do(folder: Path, more: tuple[str, ...], said: str) -> None:
    done = injection(folder, *more)
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr


def test_another_judge_s_directory_is_left_alone(folder: Path) -> None:
    injection(folder, "--out", "out")
    written = (folder / "out" / "injection.json").read_bytes()
    done = injection(folder, "--out", "out", judge="scripted:first.yaml")
    assert done.returncode == 2 and "another config" in done.stderr
    assert (folder / "out" / "injection.json").read_bytes() == written
