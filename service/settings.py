"""The service's settings: one strict YAML file, and what the command line says instead.

Engines and clusters are named here and nowhere else: a request can only name one of these, never a model or an address
of its own.
"""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from base.errors import InputError
from base.nearest import meant
from base.settings_file import read_settings_file
from critic.cluster.spec import parse_cluster
from service.bounds.text_bounds import TextBounds


class EngineSettings(BaseModel):
    """An engine that requests may name. ``mode`` is the judge mode used where a request names none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    spec: str
    mode: str | None = None


class Settings(BaseModel):
    """How a server or worker runs. Every key may stand in the file; the defaults need nothing else running."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(default=8300, ge=0, le=65535)
    data: Path = Path("cai-data")
    """Where data sets, runs and models go, and the SQLite database. Several machines need a shared folder."""
    database: str = ""
    """``sqlite:///FILE`` or ``postgresql://USER:PASSWORD@HOST/NAME``; by default ``cai.db`` in the data folder."""
    engines: dict[str, EngineSettings] = {"embedded": EngineSettings(spec="embedded")}
    default_engine: str = ""
    """What judges where a request names no engine; by default the first."""
    clusters: dict[str, str] = {}
    """Ray clusters that jobs may name, each written as for ``cai generate --on``."""
    worker: bool | None = None
    """Whether this server runs jobs, too; by default only with SQLite, which has no other machines."""
    max_body_bytes: int = Field(default=16 * 2**20, gt=0)
    bodies_bytes: int = Field(default=64 * 2**20, gt=0)
    """Of all long bodies together that are received or worked on at once; others wait for their turn."""
    max_text_bytes: int = Field(default=2**20, gt=0)
    """Of one text of a label or item: a prompt's turn, a response, a critique."""
    max_label_bytes: int = Field(default=2 * 2**20, gt=0)
    """Of a whole label or item, with everything in it."""
    requests_per_minute: int = Field(default=60_000, gt=0)
    """What one key may ask for, on each server."""
    requests_at_once: int = Field(default=256, gt=0)
    """How many requests of one key may be under way, on each server."""
    connections: int | None = Field(default=None, gt=0)
    """How many clients may be connected; by default as many as the process's descriptors allow."""
    header_seconds: float = Field(default=10.0, gt=0)
    """How long a request's line and headers may take to arrive."""
    idle_seconds: float = Field(default=30.0, gt=0)
    """How long a connection may stay open after an answer, without another request."""
    body_seconds: float = Field(default=60.0, gt=0)
    """How long a body may take to arrive."""
    stalled_seconds: float = Field(default=30.0, gt=0)
    """How long a client may read next to nothing of an answer: less than 1 KiB a second."""
    figures_at_once: int = Field(default=1, gt=0)
    """How many long computations (agreement, lint, differences) run at once on each server."""
    figures_waiting: int = Field(default=16, ge=0)
    """How many more may wait for their turn; the next is refused."""
    figures_seconds: float = Field(default=60.0, gt=0)
    """How long such a computation may take."""
    builds_at_once: int = Field(default=2, gt=0)
    """How many data sets are built or converted at once on each server."""
    builds_waiting: int = Field(default=8, ge=0)
    """How many more may wait for their turn; the next is refused."""
    builds_seconds: float = Field(default=1800.0, gt=0)
    """How long one may take."""
    upload_bytes: int = Field(default=16 * 2**30, ge=0)
    """Of all uploads together."""
    upload_bytes_per_key: int = Field(default=4 * 2**30, ge=0)
    """Of the uploads of one key."""
    open_jobs_per_key: int = Field(default=1000, gt=0)
    """How many jobs of one key may wait or run."""
    spare_disk_bytes: int = Field(default=256 * 2**20, ge=0)
    """What uploads, jobs' inputs and data sets leave free on the disk, so that labels can still be stored."""
    lease_seconds: float = Field(default=30 * 60, gt=0)
    """How long a task stays with an annotator who doesn't answer it."""
    pages: bool = True
    """Whether people can label and look at results in a browser, at ``/``, beside the API."""
    session_hours: float = Field(default=12.0, gt=0, le=24 * 365)
    """How long somebody stays signed in to the pages without using them."""
    heartbeat_seconds: float = Field(default=5.0, gt=0)
    """How often a worker says that it lives. After four beats without a word its jobs move on."""
    annotator_days: int | None = Field(default=None, ge=1, le=36_500)
    """Who an annotator is, is erased after so many days without a label; the labels stay. By default never."""
    idempotency_days: int = Field(default=7, ge=1, le=36_500)
    """How long a request can be repeated under its Idempotency-Key."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("clusters")
    @classmethod
    def _clusters_can_be_read(cls, clusters: dict[str, str]) -> dict[str, str]:
        for text in clusters.values():
            parse_cluster(text)
        return clusters

    @model_validator(mode="after")
    def _default_engine_exists(self) -> Self:
        if not self.engines:
            raise ValueError("engines: name at least one")
        if self.default_engine and self.default_engine not in self.engines:
            raise ValueError(f"default_engine: {self.default_engine!r} is not among {', '.join(self.engines)}")
        return self

    @model_validator(mode="after")
    def _bounds_fit_into_each_other(self) -> Self:
        for small, large in (
            ("max_text_bytes", "max_label_bytes"),
            ("max_label_bytes", "max_body_bytes"),
            ("max_body_bytes", "bodies_bytes"),
        ):
            if getattr(self, small) > getattr(self, large):
                raise ValueError(f"{small} is above {large}, within which it has to fit")
        return self

    @property
    def texts(self) -> TextBounds:
        """How long the texts of labels and items may be."""
        return TextBounds(self.max_text_bytes, self.max_label_bytes)

    @property
    def engine(self) -> str:
        """The name of the default engine."""
        return self.default_engine or next(iter(self.engines))

    @property
    def url(self) -> str:
        """The database's address."""
        return self.database or f"sqlite:///{(self.data / 'cai.db').absolute()}"

    @property
    def runs_jobs(self) -> bool:
        """Whether this server runs jobs, too."""
        return self.url.startswith("sqlite") if self.worker is None else self.worker

    @classmethod
    def read(cls, file: Path | None, **said: Any) -> Self:
        """Read ``file``; what is ``said`` beside it (None: nothing) goes first. Raises `InputError`."""
        settings, _ = cls.read_told(file, **said)
        return settings

    @classmethod
    def read_told(cls, file: Path | None, **said: Any) -> tuple[Self, list[str]]:
        """Read them as `read` does, and name those of the file that give way to what is ``said``."""
        in_file = read_settings_file(file) if file is not None else {}
        for key in in_file:
            if key not in cls.model_fields:
                raise InputError(f"unknown setting {key!r}", where=str(file), fix=meant(key, cls.model_fields))
        given = {key: value for key, value in said.items() if value is not None}
        try:
            settings = cls.model_validate(in_file | given)
        except ValidationError as error:
            faults = "\n  ".join(f"{'.'.join(map(str, e['loc'])) or 'settings'}: {e['msg']}" for e in error.errors())
            raise InputError(f"these settings can't be used\n  {faults}", where=str(file or "")) from None
        return settings, [key for key in given if key in in_file]
