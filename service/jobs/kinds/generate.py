"""Jobs that generate: sample, critique, revise and judge."""

from typing import Literal

from pydantic import ConfigDict, Field

from service.jobs.kind import JobKind
from service.jobs.named import Named
from service.jobs.requests import PROMPTS, EngineName, Judging
from service.jobs.running import runs


class GenerateRequest(Judging):
    """Sample, critique, revise and judge: `cai generate`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"kind": "generate", "constitution": "helpfulness@1.0.0", "input": PROMPTS, "settings": {"samples": 2}}
            ]
        }
    )

    kind: Literal["generate"]
    policy: EngineName | None = Field(default=None, description="The engine that answers. None: the default engine.")

    def writer(self, default: str) -> str | None:
        """See `Judging.writer`."""
        return self.policy or default


async def _check(asked: GenerateRequest, named: Named) -> None:
    named.judging(asked)
    named.writes(asked.policy)


JOB = JobKind(
    request=GenerateRequest,
    about="A model answers prompts, its answers are criticised, revised and judged under a constitution, and become "
    "pairs.",
    check=_check,
    run=runs.run,
    leaves_pairs=True,
)
