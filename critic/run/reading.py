"""Read a run, whichever way its rows are kept: in ``run.db``, or in shards."""

from collections.abc import Collection
from contextlib import closing
from pathlib import Path

from critic.run.shards import RUN_FILE, ShardStore
from critic.run.store import RunStore


def is_begun(directory: Path) -> bool:
    """Whether there is a run."""
    return any((directory / name).is_file() for name in (RUN_FILE, "run.db"))


def open_rows(directory: Path) -> RunStore | ShardStore:
    """Open a run for reading, also while it is going on. Raises `InputError` where there is none."""
    return ShardStore(directory) if (directory / RUN_FILE).is_file() else RunStore.open_existing(directory)


def count_votes(directory: Path, digests: Collection[str]) -> int:
    """Count the votes of a run that were made under any of these principle digests."""
    with closing(open_rows(directory)) as store:
        return sum(vote.principle_digest in digests for row in store.rows() for vote in row.votes())
