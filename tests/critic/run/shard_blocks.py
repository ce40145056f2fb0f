"""The shards of an input, as Ray Data gets them from the read task."""

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from critic.cluster.shard_worker import Cut
from critic.records import Line, Quarantined
from critic.run.folder.shards import About
from critic.run.request import RunRequest

PLAN = "a" * 64
ENTRY: TypeAdapter[Line | Quarantined] = TypeAdapter(Line | Quarantined)

Shard = dict[str, Any]
Finished = Mapping[int, About]


def cut(
    request: RunRequest, size: int = 5, finished: Finished | None = None, plan: str = PLAN
) -> tuple[list[Shard], Shard]:
    """What the read task yields: the shards to run, and the last block."""
    [task] = Cut(request, finished or {}, plan, size).get_read_tasks(1)
    *shards, last = [shard for table in task() for shard in table.to_pylist()]
    return shards, last


def entries(shard: Shard) -> list[Line | Quarantined]:
    return [ENTRY.validate_json(text) for text in shard["entries"]]
