"""What a job's page reads of a training's log, each two seconds."""

import io
import json
import os
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from service.context import Service
from service.jobs.inputs.artifacts import Artifacts, of_job
from service.jobs.job import Job, JobProgress
from service.settings import Settings
from service.web.manage.job import jobs
from service.web.manage.job.logged import MOST_DRAWN, TRAININGS, GrowingLog, GrowingLogs, parsed


def line(step: int, **more: Any) -> bytes:
    return json.dumps({"step": step, "loss": 1.5, **more}).encode() + b"\n"


def add(file: Path, content: bytes) -> None:
    with file.open("ab") as opened:
        opened.write(content)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "metrics.jsonl"


def thinned(file: Path, content: bytes) -> list[dict[str, Any]]:
    file.write_bytes(content)
    return GrowingLog().rows(file)


def steps(log: GrowingLog, file: Path) -> list[int]:
    return [row["step"] for row in log.rows(file)]


def test_only_what_is_new_is_read(file: Path) -> None:
    log = GrowingLog()
    file.write_bytes(line(1) + line(2))
    assert steps(log, file) == [1, 2]
    with file.open("r+b") as opened:  # whoever read it again would see that
        opened.write(b"x" * len(line(1)))
    add(file, line(3))
    assert steps(log, file) == [1, 2, 3]
    assert steps(log, file) == [1, 2, 3]


def test_a_line_that_is_being_written_is_read_when_it_is_whole(file: Path) -> None:
    log = GrowingLog()
    file.write_bytes(line(1) + line(2)[:9])
    assert steps(log, file) == [1]
    add(file, line(2)[9:])
    assert steps(log, file) == [1, 2]


def test_a_file_that_was_replaced_or_cut_is_read_anew(file: Path) -> None:
    log = GrowingLog()
    file.write_bytes(line(1) + line(2))
    assert steps(log, file) == [1, 2]
    (file.parent / "new").write_bytes(line(1) + line(7) + line(8))
    os.replace(file.parent / "new", file)
    assert steps(log, file) == [1, 7, 8]
    os.truncate(file, len(line(1)))
    assert steps(log, file) == [1]


def test_what_is_no_row_is_left_out(file: Path) -> None:
    assert thinned(file, line(1) + b"\xff\n" + b"[]\n{}\n" + b"[" * 100_000 + b"\n" + line(2) + b"half") == [
        {"step": step, "loss": 1.5} for step in (1, 2)
    ]


def test_of_many_rows_so_many_are_kept_with_all_evaluations_and_the_last(file: Path) -> None:
    count = 5 * MOST_DRAWN + 3
    rows = thinned(file, b"".join(line(i, **({"eval_loss": 1.0} if i % 777 == 5 else {})) for i in range(count)))
    kept = [row["step"] for row in rows]
    assert len(kept) <= 2 * MOST_DRAWN + 1 and kept == sorted(set(kept))
    assert (kept[0], kept[-1]) == (0, count - 1)
    assert {i for i in range(count) if i % 777 == 5} <= set(kept)
    assert max(later - earlier for earlier, later in pairwise(kept)) <= 8


def test_of_many_evaluations_so_many_are_kept(file: Path) -> None:
    rows = thinned(file, b"".join(line(i, eval_loss=1.0) for i in range(5 * MOST_DRAWN)))
    assert len(rows) <= 2 * MOST_DRAWN + 1


def test_trainings_that_nobody_looks_at_are_forgotten(tmp_path: Path) -> None:
    logs = GrowingLogs()
    for number in range(TRAININGS + 2):
        file = tmp_path / f"{number}.jsonl"
        file.write_bytes(line(number))
        assert logs.rows(file) == [{"step": number, "loss": 1.5}]
    assert len(logs._logs) == TRAININGS


def trained(state: Any) -> Job:
    nothing: dict[str, Any] = dict.fromkeys(("worker", "error", "result", "key", "started_at", "ended_at"))
    progress = JobProgress.model_construct()
    values: dict[str, Any] = {"request": {}, "progress": progress, "attempt": 2, "created_at": None}
    return Job.model_construct(id="j", kind="train", state=state, **values, **nothing)


def parts_of(data: Path) -> Service:
    settings = Settings(data=data)
    return cast(Service, SimpleNamespace(settings=settings, jobs=SimpleNamespace(artifacts=Artifacts.of(settings))))


def read_steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return where the steps of lines are written, as they are parsed."""
    read: list[int] = []

    def noted(content: bytes) -> Any:
        row = parsed(content)
        read.extend([] if row is None else [row["step"]])
        return row

    monkeypatch.setattr("service.web.manage.job.logged.parsed", noted)
    return read


def test_of_a_job_that_is_done_again_only_what_is_new_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that it left when it ended before was parsed at each look, and what it logged since then was not shown."""
    parts, read = parts_of(tmp_path), read_steps(monkeypatch)
    parts.jobs.artifacts.write(io.BytesIO(line(1) + line(2) + line(3)), of_job("j"), "metrics.jsonl")
    file = tmp_path / "runs" / "j" / "model" / "metrics.jsonl"
    assert len(jobs._curves(parts, trained("queued"))) == 1 and read == [1, 2, 3]
    file.parent.mkdir(parents=True)
    file.write_bytes(line(1) + line(2))
    jobs._curves(parts, trained("running"))
    add(file, line(7))
    jobs._curves(parts, trained("running"))
    assert read == [1, 2, 3, 1, 2, 7]
    assert [row["step"] for row in jobs._metrics(parts, trained("running"))] == [1, 2, 7]
    jobs._curves(parts, trained("done"))
    assert read == [1, 2, 3, 1, 2, 7]  # what it left is remembered
