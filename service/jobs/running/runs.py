"""A run of rows, where its request wants it: on this worker, or on a cluster."""

from typing import Any

from service.jobs.requests import Judging
from service.jobs.running import cluster_rows, rows
from service.jobs.work.work import Work


def run(work: Work, asked: Judging) -> dict[str, Any]:
    """Do a job whose request is a `Judging`."""
    return rows.run(work, asked) if asked.cluster is None else cluster_rows.run(work, asked)
