"""What the requests of jobs are made of; each kind of job (`service.jobs.kinds`) has its own.

Nothing in a request is a path or an address: engines, clusters, constitutions, models, uploads, jobs and data sets are
named, and looked up. Numbers are bounded, so that one request can't ask for more than a machine has.
"""

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from base.option import bounded
from critic.files.shapes import naming
from critic.settings.run import SAMPLES_AT_MOST, TOKENS_AT_MOST, RunLimits, RunSettings
from trainers import catalogue

SUGGESTED = "x-suggested"
"""The key of a field's schema that says which list has what the field may name: pages suggest what is in it."""

Name = Annotated[str, Field(min_length=1, max_length=200)]
ConstitutionName = Annotated[Name, Field(json_schema_extra={SUGGESTED: "constitutions"})]
EngineName = Annotated[Name, Field(json_schema_extra={SUGGESTED: "engines"})]
# A model that was trained here, or an engine.
TrainedName = Annotated[Name, Field(json_schema_extra={SUGGESTED: "models"})]
# Words parted by slashes, none of which begins with a dot: no name leads out of a folder, or hides in one.
MODEL_NAME = r"^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$"
ModelName = Annotated[str, Field(min_length=1, max_length=200, pattern=MODEL_NAME)]
Id = Annotated[str, Field(min_length=1, max_length=64)]
Mode = Annotated[str, Field(min_length=1, max_length=200)]
Count = Annotated[int, Field(ge=1, le=2**31 - 1)]

ROWS_AT_MOST = 100_000  # in a request; an upload may hold more


class AnyRequest(BaseModel):
    """Base of all requests: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Source(AnyRequest):
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
else:
    BoundedSettings = bounded(RunSettings)
    BoundedLimits = bounded(RunLimits)


class JobSettings(BoundedSettings):
    """The settings of a run, with bounds."""

    model_config = ConfigDict(strict=True)


class JobRequest(AnyRequest):
    """Base of what kinds of jobs are asked for. A kind says its name as ``kind: Literal["..."]``.

    Fields of the type `Source`, or lists of these, say what the job reads. A ``constitution`` is fixed to the version
    that it names when the job is submitted.
    """

    kind: str


class Judging(BoundedLimits, JobRequest):
    """Base of requests in which judges label answers."""

    constitution: ConstitutionName = Field(description="NAME or NAME@VERSION; a name alone is its newest version now.")
    input: Source
    judges: list[EngineName] = Field(
        default=[], max_length=16, description="Engines by name. None: the default engine."
    )
    modes: list[Mode] = Field(default=[], max_length=16, description="One for each judge, one for all, or none.")
    settings: JobSettings = JobSettings()
    cluster: Name | None = Field(
        default=None,
        description="A configured Ray cluster to run on. Costs are not counted there, and answers of other jobs not "
        "used; progress counts finished shards of rows.",
    )

    def writer(self, default: str) -> str | None:
        """Return the engine that answers the prompts, ``default`` where none is named; None where answers are given."""
        return None

    @model_validator(mode="after")
    def _can_be_kept_on_a_cluster(self) -> Self:
        for limit in ("max_calls", "max_cost"):
            if self.cluster is not None and getattr(self, limit) is not None:
                raise ValueError(f"{limit}: engines on many machines can't hold a hard limit together; give limit")
        if self.cluster is not None and not self.settings.priorities:
            raise ValueError("settings.priorities: a run on a cluster always has them")
        return self


class SettingsOfAll(AnyRequest):
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


def must_be_settings_of(method: str, settings: TrainSettings) -> None:
    """Raise `ValueError` for a setting that training by this method hasn't got: its process would refuse it later."""
    given = settings.model_dump(exclude_none=True).keys() - SettingsOfAll.model_fields.keys()
    if unknown := given - catalogue.plain_settings(method):
        raise ValueError(f"{method} has no setting {min(unknown)!r} that a request may make")


# Rows of examples in documentation.
PROMPTS: JsonDict = {"rows": [{"prompt": "How do I keep bread fresh?"}, {"prompt": "Name a river in Asia."}]}
ANSWERS: JsonDict = {"rows": [{"prompt": "Name a river.", "responses": ["The Nile.", "I would rather not say."]}]}
