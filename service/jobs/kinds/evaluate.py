"""Jobs that hold a judge against people: `cai evaluate judge` in a child process."""

from typing import TYPE_CHECKING, Any, Literal

from pydantic import ConfigDict, Field

from base.option import as_file, bounded
from critic.settings.measuring import MeasureJudgeSettings
from critic.settings.shared import FirstRows, OnePrinciple
from service.jobs.inputs.artifacts import of_job
from service.jobs.kind import JobKind
from service.jobs.named import Named
from service.jobs.requests import ConstitutionName, EngineName, JobRequest, Mode, Source
from service.jobs.running.commands import principles_file, run_folder, spec_of
from service.jobs.work.child import command
from service.jobs.work.work import Work

if TYPE_CHECKING:  # a checker of types has no use for bounds
    BoundedRows = FirstRows
    BoundedPrinciple = OnePrinciple
else:
    BoundedRows = bounded(FirstRows)
    BoundedPrinciple = bounded(OnePrinciple)


class EvaluateRequest(BoundedRows, BoundedPrinciple, JobRequest):
    """How often a judge agrees with people who compared the same answers: `cai evaluate judge`.

    Rows have ``prompt``, ``chosen`` (the better answer by people) and ``rejected``.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "kind": "evaluate",
                    "constitution": "helpfulness@1.0.0",
                    "input": {"rows": [{"prompt": "Name a river.", "chosen": "The Nile.", "rejected": "No."}]},
                }
            ]
        }
    )

    kind: Literal["evaluate"]
    constitution: ConstitutionName
    input: Source
    judge: EngineName | None = None
    modes: list[Mode] = Field(default=[], max_length=16)


async def _check(asked: EvaluateRequest, named: Named) -> None:
    named.mode(asked.judge)
    for mode in asked.modes:
        named.mode(asked.judge, mode)


def _run(work: Work, asked: EvaluateRequest) -> dict[str, Any]:
    folder = run_folder(work)

    def measuring() -> dict[str, Any]:
        [source] = work.inputs()
        settings = MeasureJudgeSettings(
            pairs=str(source),
            judge=spec_of(work, asked.judge),
            mode=tuple(asked.modes),
            principles=principles_file(work, asked.constitution),
            principle=asked.principle,
            limit=asked.limit,
            column=asked.input.columns,
            out=folder,
        )
        command(work, ["evaluate", "judge"], as_file(settings))
        work.parts.artifacts.put(folder / "accuracy.json", of_job(work.id), "accuracy.json")
        return {"file": "accuracy.json"}

    return work.step("evaluate", measuring)


JOB = JobKind(
    request=EvaluateRequest,
    about="A judge compares answers that people have compared, and is held against them.",
    check=_check,
    run=_run,
)
