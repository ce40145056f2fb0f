"""Jobs that judge answers which exist already."""

from typing import Literal

from pydantic import ConfigDict

from service.jobs.kind import JobKind
from service.jobs.named import Named
from service.jobs.requests import ANSWERS, Judging
from service.jobs.running import runs


class JudgeRequest(Judging):
    """Label answers that exist already: `cai judge`."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"kind": "judge", "constitution": "helpfulness@1.0.0", "input": ANSWERS}]}
    )

    kind: Literal["judge"]


async def _check(asked: JudgeRequest, named: Named) -> None:
    named.judging(asked)


JOB = JobKind(
    request=JudgeRequest,
    about="Answers that exist already are compared under a constitution, and become pairs.",
    check=_check,
    run=runs.run,
    leaves_pairs=True,
)
