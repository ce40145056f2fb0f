"""Read a run, whichever way its rows are kept: in ``run.db``, or in shards."""

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from base.errors import InputError
from constitution import Constitution, load
from critic import prompts
from critic.run.config import RunConfig
from critic.run.folder.flips import Foreseer, Foresight
from critic.run.folder.shards import RUN_FILE, ShardStore
from critic.run.folder.store import RunStore


def is_begun(directory: Path) -> bool:
    """Whether there is a run."""
    return any((directory / name).is_file() for name in (RUN_FILE, "run.db"))


def open_rows(directory: Path) -> RunStore | ShardStore:
    """Open a run for reading, also while it is going on. Raises `InputError` where there is none."""
    return ShardStore(directory) if (directory / RUN_FILE).is_file() else RunStore.open_existing(directory)


def read_config(store: RunStore | ShardStore, directory: Path) -> RunConfig:
    """Return a run's config. Raises `InputError` where it is none of `cai generate` or `cai judge`."""
    try:
        return RunConfig.of_flat(store.config())
    except ValidationError as error:
        key = ".".join(map(str, error.errors()[0]["loc"]))
        raise InputError(
            f"the run's config can't be read: {key}: {error.errors()[0]['msg']}",
            where=str(directory),
            fix="Expected a run of `cai generate` or `cai judge`, written by this version.",
        ) from None


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What another constitution would make of a run. ``constitution`` is the run's own, by name and version.

    ``templates_differ`` says that this version words its questions otherwise than the one that made the run: then all
    of them would be asked again, whatever `foresight` says.
    """

    constitution: str
    constitution_hash: str
    templates_differ: bool
    foresight: Foresight


def foresee(directory: Path, new: Constitution, others: Iterable[Constitution] = ()) -> Foreseen:
    """Say what ``new`` would make of the judgements of the run in ``directory``, by its stored votes.

    ``others`` are constitutions whose principles may have been voted under; the run's own is looked up, too.
    """
    with closing(open_rows(directory)) as store:
        config = read_config(store, directory)
        foreseer = Foreseer.of(config, new, [*others, *_own(config)])
        foresight = foreseer.look(store.rows())
    differ = config.templates != prompts.template_digests()
    return Foreseen(config.constitution, config.constitution_hash, differ, foresight)


def _own(config: RunConfig) -> list[Constitution]:
    """The run's own constitution where it is at hand and unchanged. Without it, votes under it count as missing."""
    try:
        constitution = load(config.constitution)
    except InputError:
        return []
    return [constitution] if constitution.digest == config.constitution_hash else []
