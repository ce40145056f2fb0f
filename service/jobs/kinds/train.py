"""Jobs that train a model: `cai train` in a child process."""

import shutil
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, WithJsonSchema, model_validator

from base.errors import InputError
from critic.engines import parse_spec
from service.engines import TRAINED
from service.jobs.kind import JobKind
from service.jobs.named import Named
from service.jobs.requests import (
    ConstitutionName,
    JobRequest,
    ModelName,
    Source,
    TrainedName,
    TrainSettings,
    must_be_settings_of,
)
from service.jobs.running.commands import folder_of, given, principles_file, register, run_folder, spec_of
from service.jobs.work.child import command
from service.jobs.work.work import Work
from service.refusals import Invalid
from trainers import catalogue


def _known(method: str) -> str:
    if method not in (names := catalogue.names()):
        raise ValueError(f"there is no such method; expected one of {', '.join(names)}")
    return method


_METHODS = {name: method.about for name, method in catalogue.listed().items()}
Method = Annotated[
    str,
    AfterValidator(_known),
    WithJsonSchema({"type": "string", "enum": list(_METHODS), "x-enumDescriptions": _METHODS}),
]


class MethodSettings(TrainSettings):
    """Settings of any method: a method's own ones are taken, too, if they are numbers, truth values or choices."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, bool | int | float | str | None] = Field(init=False)


class TrainRequest(JobRequest):
    """Train a model on what jobs, data sets or uploads hold, and register it: `cai train`.

    ``model`` is a model that was trained here, or an engine whose weights are a model's of its own; None is the
    embedded one. Methods whose policy writes what it learns from take their ``reward`` from a reward model trained
    here, or from an engine that judges under the ``constitution``.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "kind": "train",
                    "method": "sft",
                    "name": "kinder-1",
                    "data": [{"rows": [{"prompt": "Name a river.", "completion": "The Nile."}]}],
                    "settings": {"max_steps": 2, "per_device_train_batch_size": 1},
                }
            ]
        }
    )

    kind: Literal["train"]
    method: Method
    name: ModelName = Field(description="What the model will be called.")
    model: TrainedName | None = None
    data: list[Source] = Field(min_length=1, max_length=16)
    reward: TrainedName | None = None
    constitution: ConstitutionName | None = None
    settings: MethodSettings = MethodSettings()

    @model_validator(mode="after")
    def _reward_is_for_methods_that_need_one(self) -> Self:
        if (self.reward is not None) != catalogue.read(self.method).rewarded:
            needing = [name for name, method in catalogue.listed().items() if method.rewarded]
            raise ValueError(f"reward is given for {', '.join(needing)}, and for nothing else")
        return self

    @model_validator(mode="after")
    def _settings_are_the_method_s(self) -> Self:
        must_be_settings_of(self.method, self.settings)
        return self


async def _check(asked: TrainRequest, named: Named) -> None:
    await named.must_be_new(asked.name)
    if asked.model is not None and await named.trainer(asked.model) is None:
        if asked.model not in named.engines.names:
            raise Invalid(f"there is no model and no engine {asked.model[:100]!r}", where="model")
        if not named.is_trainable(asked.model):
            raise Invalid(f"the weights of {asked.model} are not here to be trained", where="model")
    if asked.reward is not None:
        if (trainer := await named.trainer(asked.reward)) is None:
            named.mode(asked.reward)
        elif not catalogue.gives_rewards(trainer):
            raise Invalid(f"{asked.reward} was trained by {trainer}, and gives no rewards", where="reward")


def _file(asked: TrainRequest) -> str | None:
    """Return the file that a job which generated or judged has for this method."""
    table = catalogue.read(asked.method).table
    return None if table is None else f"{table}.jsonl"


def _run(work: Work, asked: TrainRequest) -> dict[str, Any]:
    folder = run_folder(work)

    def training() -> dict[str, Any]:
        command(work, ["train", asked.method], _config(work, asked, folder))
        return {}

    work.step("train", training)
    result = work.step("register", lambda: register(work, asked.name, asked.method, folder, folder))
    shutil.rmtree(folder, ignore_errors=True)
    return result


def _config(work: Work, asked: TrainRequest, folder: Path) -> dict[str, Any]:
    columns = {Path(source.file or "").name: source.columns for source in asked.data}
    config = {"report_to": "none", **given(asked.settings)}
    config["model"] = _parent(work, asked.model)
    config["data"] = [_source(path, columns.get(path.name)) for path in work.inputs()]
    config["output_dir"] = str(folder)
    if asked.reward is not None:
        config["reward"] = spec_of(work, asked.reward)
    if asked.constitution is not None:
        config["principles"] = principles_file(work, asked.constitution)
    return config


def _source(path: Path, columns: str | None) -> str | dict[str, str]:
    """Return an input as `trainers.config` names it."""
    return str(path) if columns is None else {"path": str(path), "columns": columns}


def _parent(work: Work, name: str | None) -> str:
    """Return the model that is trained, as trainers name it."""
    if name is None:
        return "embedded"
    if (folder := folder_of(work, name.removeprefix(TRAINED))) is not None:
        return str(folder)
    if name not in work.parts.settings.engines:
        raise InputError(f"there is no model and no engine {name!r}", where="model", fix="GET /v1/models lists models.")
    spec = parse_spec(spec_of(work, name))
    if not spec.is_trainable:
        raise InputError(f"the weights of {name} are not here to be trained", where="model")
    return spec.target or spec.kind


JOB = JobKind(
    request=TrainRequest,
    about="A model learns from pairs, demonstrations or prompts, and can be used by its name afterwards.",
    check=_check,
    file=_file,
    run=_run,
)
