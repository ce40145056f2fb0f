"""Kinds of jobs: what a worker says of a job that it does not know how to do, and what requests read."""

from types import SimpleNamespace
from typing import Any

import pytest

from service.jobs.inputs.sources import sources, with_sources
from service.jobs.kinds import KINDS
from service.jobs.requests import Source
from service.jobs.work.work import Failed
from service.jobs.worker.workflow import _done

WORK: Any = SimpleNamespace()


@pytest.mark.parametrize(
    ("kind", "request_", "told"),
    [
        ("tally", {}, "this worker knows no kind of job 'tally'; it knows align, evaluate, export, generate"),
        ("export", {"kind": "export"}, "no longer one of the kind export: input: Field required"),
    ],
)
def test_a_job_that_a_worker_does_not_know_fails_with_a_sentence(kind: str, request_: Any, told: str) -> None:
    job: Any = {"kind": kind, "request": request_}
    with pytest.raises(Failed, match=told):
        _done(WORK, job)


def test_what_a_request_reads_is_told_by_its_fields() -> None:
    rows = [{"prompt": "a", "completion": "b"}]
    asked = {"kind": "train", "method": "sft", "name": "m", "data": [{"rows": rows}, {"upload": "u"}]}
    request = KINDS["train"].request.model_validate(asked)
    assert [*sources(request)] == ["data-0", "data-1"] and sources(request)["data-1"].upload == "u"
    other = with_sources(request, {name: Source(job=name) for name in sources(request)})
    assert [source.job for source in other.data] == ["data-0", "data-1"] and other.name == "m"
    alone = KINDS["export"].request.model_validate({"kind": "export", "input": {"upload": "u"}})
    assert with_sources(alone, {"input": Source(job="j")}).input == Source(job="j")


def test_only_runs_leave_pairs_and_only_training_knows_a_file() -> None:
    assert {name for name, kind in KINDS.items() if kind.leaves_pairs} == {"generate", "judge"}
    asked = {"kind": "train", "method": "reward", "name": "m", "data": [{"job": "j"}]}
    assert KINDS["train"].file(KINDS["train"].request.model_validate(asked)) == "pairs.jsonl"
