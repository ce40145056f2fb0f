"""What a job can be asked to do: one typed request a kind, told apart by ``kind``.

Nothing in a request is a path or an address: engines, clusters, constitutions, models, uploads, jobs and data sets are
named, and looked up. Numbers are bounded, so that one request can't ask for more than a machine has.
"""

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic.config import JsonDict

from base.option import bounded
from critic.files.shapes import naming
from critic.settings.aligning import ChainSettings
from critic.settings.run import SAMPLES_AT_MOST, TOKENS_AT_MOST, RunLimits, RunSettings
from critic.settings.shared import FirstRows, OnePrinciple
from trainers import catalogue

Name = Annotated[str, Field(min_length=1, max_length=200)]
# Words parted by slashes, none of which begins with a dot: no name leads out of a folder, or hides in one.
MODEL_NAME = r"^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$"
ModelName = Annotated[str, Field(min_length=1, max_length=200, pattern=MODEL_NAME)]
Id = Annotated[str, Field(min_length=1, max_length=64)]
Mode = Annotated[str, Field(min_length=1, max_length=200)]
Count = Annotated[int, Field(ge=1, le=2**31 - 1)]


def _known(method: str) -> str:
    if method not in (names := catalogue.names()):
        raise ValueError(f"there is no such method; expected one of {', '.join(names)}")
    return method


Method = Annotated[str, AfterValidator(_known), WithJsonSchema({"type": "string", "enum": catalogue.names()})]

ROWS_AT_MOST = 100_000  # in a request; an upload may hold more


class Asked(BaseModel):
    """Base of all requests: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Source(Asked):
    """Where rows come from: exactly one of these.

    ``rows`` stand in the request. ``upload`` is the id of an uploaded file. ``job`` is an earlier job, with the
    ``file`` that it left. ``dataset`` is a data set's name, with its ``version`` (by default the newest) and ``file``.
    ``columns`` says under which names it has what is read, as in ``prompt=question,chosen=win``.
    """

    rows: Annotated[list[Any], Field(min_length=1, max_length=ROWS_AT_MOST)] | None = None
    upload: Id | None = None
    job: Id | None = None
    dataset: Name | None = None
    version: Count | None = None
    file: Name | None = None
    columns: Annotated[str, Field(min_length=1, max_length=2000)] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [name for name in ("rows", "upload", "job", "dataset") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"{' and '.join(given) or 'nothing'} given; expected one of rows, upload, job, dataset")
        if self.version is not None and self.dataset is None:
            raise ValueError("version belongs to dataset")
        naming(self.columns)
        return self


if TYPE_CHECKING:  # a checker of types has no use for bounds
    BoundedSettings = RunSettings
    BoundedLimits = RunLimits
    BoundedChain = ChainSettings
    BoundedRows = FirstRows
    BoundedPrinciple = OnePrinciple
else:
    BoundedSettings = bounded(RunSettings)
    BoundedLimits = bounded(RunLimits)
    BoundedChain = bounded(ChainSettings)
    BoundedRows = bounded(FirstRows)
    BoundedPrinciple = bounded(OnePrinciple)


class Settings(BoundedSettings):
    """The settings of a run, with bounds."""

    model_config = ConfigDict(strict=True)


class _Judging(BoundedLimits, Asked):
    constitution: Name = Field(description="NAME or NAME@VERSION; a name alone is its newest version now.")
    input: Source
    judges: list[Name] = Field(default=[], max_length=16, description="Engines by name. None: the default engine.")
    modes: list[Mode] = Field(default=[], max_length=16, description="One for each judge, one for all, or none.")
    settings: Settings = Settings()
    cluster: Name | None = Field(
        default=None,
        description="A configured Ray cluster to run on. Costs are not counted there, and answers of other jobs not "
        "used; progress counts finished shards of rows.",
    )

    @model_validator(mode="after")
    def _can_be_kept_on_a_cluster(self) -> Self:
        for limit in ("max_calls", "max_cost"):
            if self.cluster is not None and getattr(self, limit) is not None:
                raise ValueError(f"{limit}: engines on many machines can't hold a hard limit together; give limit")
        if self.cluster is not None and not self.settings.priorities:
            raise ValueError("settings.priorities: a run on a cluster always has them")
        return self


_ROWS: JsonDict = {"rows": [{"prompt": "How do I keep bread fresh?"}, {"prompt": "Name a river in Asia."}]}
_PAIRS: JsonDict = {"rows": [{"prompt": "Name a river.", "responses": ["The Nile.", "I would rather not say."]}]}


class GenerateRequest(_Judging):
    """Sample, critique, revise and judge: `cai generate`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"kind": "generate", "constitution": "helpfulness@1.0.0", "input": _ROWS, "settings": {"samples": 2}}
            ]
        }
    )

    kind: Literal["generate"]
    policy: Name | None = Field(default=None, description="The engine that answers. None: the default engine.")


class JudgeRequest(_Judging):
    """Label answers that exist already: `cai judge`."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"kind": "judge", "constitution": "helpfulness@1.0.0", "input": _PAIRS}]}
    )

    kind: Literal["judge"]


class SettingsOfAll(Asked):
    """Those settings of every trainer that a request may make, in its bounds; `trainers.config` says what they mean."""

    max_steps: int | None = Field(default=None, ge=1, le=1_000_000)
    num_train_epochs: float | None = Field(default=None, gt=0, le=1000)
    learning_rate: float | None = Field(default=None, gt=0, le=1)
    per_device_train_batch_size: int | None = Field(default=None, ge=1, le=4096)
    gradient_accumulation_steps: int | None = Field(default=None, ge=1, le=4096)
    warmup_steps: int | None = Field(default=None, ge=0, le=1_000_000)
    weight_decay: float | None = Field(default=None, ge=0, le=1)
    max_grad_norm: float | None = Field(default=None, ge=0, le=1000)
    save_steps: int | None = Field(default=None, ge=1, le=1_000_000)
    seed: int | None = Field(default=None, ge=0, le=2**32 - 1)
    max_length: int | None = Field(default=None, ge=2, le=TOKENS_AT_MOST)
    eval_share: float | None = Field(default=None, ge=0, lt=1)
    prefix_packing: bool | None = None


class TrainSettings(SettingsOfAll):
    """And those of single methods: a method takes its own, as `trainers.catalogue` reads them off its file."""

    heads: Literal["pooled", "groups"] | None = None
    loss: Literal["sigmoid", "ipo", "kto"] | None = None
    beta: float | None = Field(default=None, gt=0, le=1000)
    length_normalised: bool | None = None
    prompts_per_step: int | None = Field(default=None, ge=1, le=4096)
    samples_per_prompt: int | None = Field(default=None, ge=1, le=SAMPLES_AT_MOST)
    max_new_tokens: int | None = Field(default=None, ge=1, le=TOKENS_AT_MOST)
    temperature: float | None = Field(default=None, gt=0, le=100)
    kl_coef: float | None = Field(default=None, ge=0, le=1000)


class MethodSettings(TrainSettings):
    """Settings of any method: a method's own ones are taken, too, if they are numbers, truth values or choices."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, bool | int | float | str | None] = Field(init=False)


def _must_be_settings_of(method: str, settings: TrainSettings) -> None:
    """Raise `ValueError` for a setting that training by this method hasn't got: its process would refuse it later."""
    given = settings.model_dump(exclude_none=True).keys() - SettingsOfAll.model_fields.keys()
    if unknown := given - catalogue.plain_settings(method):
        raise ValueError(f"{method} has no setting {min(unknown)!r} that a request may make")


class TrainRequest(Asked):
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
    model: Name | None = None
    data: list[Source] = Field(min_length=1, max_length=16)
    reward: Name | None = None
    constitution: Name | None = None
    settings: MethodSettings = MethodSettings()

    @model_validator(mode="after")
    def _reward_is_for_methods_that_need_one(self) -> Self:
        if (self.reward is not None) != catalogue.read(self.method).rewarded:
            needing = [name for name, method in catalogue.listed().items() if method.rewarded]
            raise ValueError(f"reward is given for {', '.join(needing)}, and for nothing else")
        return self

    @model_validator(mode="after")
    def _settings_are_the_method_s(self) -> Self:
        _must_be_settings_of(self.method, self.settings)
        return self


class AlignRequest(BoundedChain, Asked):
    """Generate, train, and compare before and after on held-out prompts: `cai align`. Registers the policy."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"kind": "align", "constitution": "helpfulness@1.0.0", "input": _ROWS, "name": "helpful-1"}]
        }
    )

    kind: Literal["align"]
    name: ModelName = Field(description="What the trained policy will be called.")
    constitution: Name
    input: Source
    policy: Name | None = Field(default=None, description="An engine whose weights are here. None: the default.")
    judges: list[Name] = Field(default=[], max_length=16)
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
            _must_be_settings_of(method, getattr(self, method))
        return self


class EvaluateRequest(BoundedRows, BoundedPrinciple, Asked):
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
    constitution: Name
    input: Source
    judge: Name | None = None
    modes: list[Mode] = Field(default=[], max_length=16)


class ExportRequest(Asked):
    """Write a table in another file format."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"kind": "export", "input": {"job": "3f2a9c3f2a9c3f2a", "file": "pairs.jsonl"}, "format": "hh-rlhf"}
            ]
        }
    )

    kind: Literal["export"]
    input: Source = Field(description="Rows of one table: of a job (`pairs.jsonl`) or of a data set.")
    table: Literal["pairs", "rankings", "ratings", "sft"] = "pairs"
    format: Annotated[str, Field(max_length=40)] = "trl"


AnyRequest = GenerateRequest | JudgeRequest | TrainRequest | AlignRequest | EvaluateRequest | ExportRequest
Request = Annotated[AnyRequest, Field(discriminator="kind")]
