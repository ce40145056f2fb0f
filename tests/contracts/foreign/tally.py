"""A kind of job that isn't the project's: an engine answers each prompt of a file, and what it says is counted."""

import json
from typing import Any, Literal

from pydantic import ConfigDict, Field

from critic.engine import Request, Sampling
from critic.records import Message
from service.jobs.inputs.artifacts import of_job
from service.jobs.kind import JobKind
from service.jobs.named import Named
from service.jobs.requests import PROMPTS, EngineName, JobRequest, Source
from service.jobs.work.work import Work


class TallyRequest(JobRequest):
    """Count the words of an engine's answers."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"kind": "tally", "input": PROMPTS}]})

    kind: Literal["tally"]
    input: Source
    teller: EngineName | None = Field(default=None, description="Who answers.")
    times: int = Field(default=1, ge=1, le=9)
    manner: Literal["words", "letters"] = "words"


async def _check(asked: TallyRequest, named: Named) -> None:
    named.writes(asked.teller)


def _run(work: Work, asked: TallyRequest) -> dict[str, Any]:
    def counting() -> dict[str, Any]:
        [source] = work.inputs()
        prompts = [json.loads(line)["prompt"] for line in source.read_text("utf-8").splitlines()]
        said = work.call(_said(work, asked, prompts))
        file = work.folder / "said.json"
        file.write_text(json.dumps(said), "utf-8")
        work.parts.artifacts.put(file, of_job(work.id), file.name)
        return {"counted": sum(len(text.split() if asked.manner == "words" else text) for text in said)}

    return work.step("tally", counting)


async def _said(work: Work, asked: TallyRequest, prompts: list[str]) -> list[str]:
    engine = await work.parts.engines.get(asked.teller)
    answers = []
    for prompt in prompts:
        for seed in range(asked.times):
            request = Request((Message(role="user", content=prompt),), Sampling(max_tokens=9), seed)
            answers.append((await engine.complete(request)).text)
    return answers


JOB = JobKind(request=TallyRequest, about="What an engine says is counted.", check=_check, run=_run)
