"""What requests of jobs name, looked up before a job is stored: so a worker finds what its job needs."""

from dataclasses import dataclass

from sqlalchemy import select

from base.errors import InputError
from critic.engine_kinds.kind import EngineKind
from critic.engines import kinds
from critic.judging.base import Mode
from service.engines import TRAINED, Engines
from service.jobs.requests import Judging, Source
from service.refusals import Conflict, Invalid
from service.settings import Settings
from service.store.constitutions import Constitutions
from service.store.database import Database
from service.store.tables import datasets, models


@dataclass(frozen=True, slots=True)
class Named:
    """The engines, clusters, constitutions, models and data sets that there are, by their names."""

    settings: Settings
    database: Database
    constitutions: Constitutions
    engines: Engines

    def mode(self, judge: str | None, mode: str | None = None) -> Mode:
        """The mode that a judge is asked in; None is the default engine, and its default mode. Raises `InputError`."""
        return self.engines.mode(judge, mode)

    def judges(self, names: list[str], asked: list[str]) -> list[Mode]:
        """The mode of each judge. Raises `InputError`."""
        judges: list[str | None] = [*names] or [None]
        if len(asked) not in (0, 1, len(judges)):
            raise InputError(f"{len(asked)} modes for {len(judges)} judges", where="modes", fix="Give one for each.")
        modes: list[str | None] = [*asked] * (len(judges) // len(asked)) if asked else [None] * len(judges)
        return [self.engines.mode(judge, mode) for judge, mode in zip(judges, modes, strict=True)]

    def judging(self, asked: Judging) -> None:
        """Check the judges of a request, and where it is to run. Raises `InputError`."""
        self.judges(asked.judges, asked.modes)
        if asked.cluster is not None:
            self._runs_on(asked.cluster, asked.judges)

    def writes(self, name: str | None) -> None:
        """Check that an engine answers prompts. Raises `InputError`."""
        if name is not None and name.startswith(TRAINED):
            raise InputError(f"{name} gives rewards and answers nothing", where="policy")
        self.engines.mode(name)
        if name is not None and (gives := self._kind(name).gives) != "text":
            raise InputError(f"{name} gives {gives} and answers nothing", where="policy")

    def is_trainable(self, engine: str) -> bool:
        """Whether an engine's weights are here to be trained."""
        return self._kind(engine).is_trainable

    async def trainer(self, name: str) -> str | None:
        """What trained the model of this name, if it was trained here."""
        query = select(models.c.trainer).where(models.c.name == name.removeprefix(TRAINED))
        async with self.database.read() as connection:
            return (await connection.execute(query)).scalar_one_or_none()

    async def must_be_new(self, model: str) -> None:
        """Raise `Conflict` where there is a model of this name already."""
        async with self.database.read() as connection:
            if (await connection.execute(select(models.c.id).where(models.c.name == model))).first() is not None:
                raise Conflict(f"there is a model {model!r} already", "Choose another name.")

    async def constitution(self, ref: str) -> str:
        """A constitution's name with its version: of a name alone, the newest. Raises `NotFound`."""
        return (await self.constitutions.get(ref)).ref

    async def version(self, source: Source) -> Source:
        """A source with its data set's version: if none is said, the newest. Raises `Invalid`."""
        if source.dataset is None:
            return source
        c = datasets.c
        query = select(c.version).where(c.name == source.dataset).order_by(c.version.desc()).limit(1)
        if source.version is not None:
            query = query.where(c.version == source.version)
        async with self.database.read() as connection:
            version = (await connection.execute(query)).scalar_one_or_none()
        if version is None:
            wanted = source.dataset if source.version is None else f"{source.dataset}, version {source.version}"
            raise Invalid(f"there is no data set {wanted!r}", "GET /v1/datasets lists them.", where="dataset")
        return source.model_copy(update={"version": version})

    def _kind(self, engine: str) -> EngineKind:
        return kinds()[self.engines.kind(engine)]

    def _runs_on(self, cluster: str, judges: list[str]) -> None:
        if cluster not in (known := self.settings.clusters):
            fix = f"Configured: {', '.join(known) or 'none'}."
            raise InputError(f"there is no cluster {cluster[:100]!r}", where="cluster", fix=fix)
        if trained := [name for name in judges if name.startswith(TRAINED)]:
            raise InputError(
                f"{trained[0]} lies in the data folder, which a cluster's nodes need not have",
                where="judges",
                fix="Leave cluster out, or have an administrator configure the model as an engine that nodes can open.",
            )
