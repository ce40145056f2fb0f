"""Jobs that align: `cai align`, the whole chain, in a child process."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from base.option import as_file, bounded
from critic.settings.aligning import AlignSettings, ChainSettings
from critic.settings.run import SAMPLES_AT_MOST, TOKENS_AT_MOST
from service.jobs.kind import JobKind
from service.jobs.named import Named
from service.jobs.requests import (
    PROMPTS,
    ConstitutionName,
    EngineName,
    JobRequest,
    Mode,
    ModelName,
    Source,
    TrainSettings,
    must_be_settings_of,
)
from service.jobs.running.commands import given, principles_file, register, run_folder, spec_of
from service.jobs.running.rows import mode_texts
from service.jobs.work.child import command
from service.jobs.work.work import Work

if TYPE_CHECKING:  # a checker of types has no use for bounds
    BoundedChain = ChainSettings
else:
    BoundedChain = bounded(ChainSettings)


class AlignRequest(BoundedChain, JobRequest):
    """Generate, train, and compare before and after on held-out prompts: `cai align`. Registers the policy."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"kind": "align", "constitution": "helpfulness@1.0.0", "input": PROMPTS, "name": "helpful-1"}]
        }
    )

    kind: Literal["align"]
    name: ModelName = Field(description="What the trained policy will be called.")
    constitution: ConstitutionName
    input: Source
    policy: EngineName | None = Field(default=None, description="An engine whose weights are here. None: the default.")
    judges: list[EngineName] = Field(default=[], max_length=16)
    modes: list[Mode] = Field(default=[], max_length=16)
    samples: int = Field(default=4, ge=2, le=SAMPLES_AT_MOST)
    max_tokens: int = Field(default=256, ge=1, le=TOKENS_AT_MOST)
    sft: TrainSettings = TrainSettings()
    reward: TrainSettings = TrainSettings()
    dpo: TrainSettings = TrainSettings()
    ppo: TrainSettings = TrainSettings()

    @model_validator(mode="after")
    def _settings_are_their_stage_s(self) -> Self:
        for method in ("sft", "reward", "dpo", "ppo"):
            must_be_settings_of(method, getattr(self, method))
        return self


async def _check(asked: AlignRequest, named: Named) -> None:
    named.judges(asked.judges, asked.modes)
    named.writes(asked.policy)
    await named.must_be_new(asked.name)


def _run(work: Work, asked: AlignRequest) -> dict[str, Any]:
    folder = run_folder(work)
    work.step("align", lambda: _align(work, asked, folder))
    result = work.step("register", lambda: register(work, asked.name, asked.method, folder / "policy", folder))
    shutil.rmtree(folder, ignore_errors=True)
    return result


def _align(work: Work, asked: AlignRequest, folder: Path) -> dict[str, Any]:
    [source] = work.inputs()
    judges = asked.judges or [work.parts.settings.engine]
    specs = tuple(spec_of(work, judge) for judge in judges)
    chain = AlignSettings(
        principles=principles_file(work, asked.constitution),
        prompts=str(source),
        out=folder,
        policy=spec_of(work, asked.policy),
        judge=specs,
        mode=mode_texts(work, judges, asked.modes),
        column=asked.input.columns,
        **{name: getattr(asked, name) for name in ChainSettings.model_fields},
    )
    stages: dict[str, Any] = {"generate": {"samples": asked.samples, "max_tokens": asked.max_tokens}}
    stages |= {stage: given(getattr(asked, stage)) for stage in ("sft", asked.method)}
    if asked.method == "ppo":
        stages["reward"] = given(asked.reward)
    command(work, ["align"], as_file(chain) | stages)
    return {}


JOB = JobKind(
    request=AlignRequest,
    about="The whole chain: pairs are made, a model is trained on them, and compared with the one before.",
    check=_check,
    run=_run,
)
