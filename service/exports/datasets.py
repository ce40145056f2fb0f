"""Data sets: versions of rows for trainers, built from stored feedback. A version never changes.

``<data>/datasets/<name>/<version>/`` holds one JSON Lines file a table and ``manifest.json``. It is written aside and
moved into place when its row is in the database.
"""

import asyncio
import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import ColumnElement, Connection, func, select

from base.digest import digest
from base.disk import must_be_spare
from critic.certificates.certificate import FILE as CERTIFICATE
from critic.feedback import Feedback
from critic.feedback.aggregate import Method, build
from critic.run.folder.export import JsonLines
from service.answers.datasets import Counts, Table
from service.bounds.lanes import Stop
from service.bounds.watching import WaitingClient
from service.context import Service
from service.evidence.certificates import Covering, mended, stored_certificates
from service.labels.label_query import RETRACTED, FeedbackFilter, StoredFeedback, numbers
from service.labels.snapshot import labels_by_item
from service.refusals import Invalid
from service.store.database import Rows
from service.store.disk.dataset_folder import folder
from service.store.disk.scratch import scratch
from service.store.disk.synced import make_folder, sync_file, sync_folder, sync_tree
from service.store.tables import adjudications, datasets, feedback, now, retractions

NAME = "^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$"
MANIFEST = "manifest.json"

Decided = tuple[str, str]
"""A project and an item."""
Decision = tuple[str, str | None]
"""The id of the label that says it, and the group that it holds for; None: all."""

Also = Callable[[dict[str, Any]], Rows]


class DatasetRequest(BaseModel):
    """A new version of the data set ``name``, from all feedback that the filter chooses and nobody has retracted.

    ``aggregation``: ``each`` is a row a label; ``majority`` the answer that most annotators gave, or what a reviewer
    decided; ``soft`` the mean probability. Labels of different groups make different rows, unless ``pool_groups`` asks
    to average over them.

    With ``require_certificate`` labels by a judge are refused without a certificate of that judge, mode and
    constitution: true, or bounds by figure, which the worse end of the certificate's interval has to reach.
    ``certificate`` names it by its hash; else it is the newest stored one of the judge. With ``mend`` its map mends
    the judge's probabilities, too.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"name": "rivers", "filter": {"kind": "comparison"}, "aggregation": "majority"}]
        },
    )

    name: str = Field(pattern=NAME)
    aggregation: Method
    filter: FeedbackFilter = FeedbackFilter()
    pool_groups: bool = Field(default=False, strict=True)
    certificate: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    require_certificate: Literal[True] | dict[str, Annotated[float, Field(strict=True)]] | None = None
    mend: bool | None = Field(default=None, strict=True)

    @property
    def asks_for_certificate(self) -> bool:
        """Whether labels by judges have to be covered."""
        return self.certificate is not None or self.require_certificate is not None or bool(self.mend)

    @property
    def bounds(self) -> Mapping[str, float]:
        """What a certificate's figures have to reach."""
        return self.require_certificate if isinstance(self.require_certificate, dict) else {}


async def make(parts: Service, client: WaitingClient | None, asked: DatasetRequest, also: Also) -> dict[str, Any]:
    """Build the next version, and store its row with the rows that ``also`` gives for it. Returns the row.

    Raises `Invalid` where no label gives a row, and `Busy` where too many data sets are being built. Where the
    client goes away, nothing is stored.
    """
    make_folder((parts.settings.data / "datasets").absolute())
    with scratch(parts.settings.data) as building:
        counts = await parts.builds.run(client, lambda stop: _build(parts, asked, building, stop))
        return await _keep(parts, asked, counts, building, also)


def _build(parts: Service, asked: DatasetRequest, building: Path, stop: Stop) -> Counts:
    """Write the tables, of one state of the database: what is retracted meanwhile is among the labels."""
    conditions = asked.filter.conditions()
    with parts.snapshots.open(stop) as connection:
        corrected = func.count(retractions.c.replaced_by)
        withdrawn = select(func.count().label("all"), corrected.label("replaced")).select_from(feedback)
        withdrawn = withdrawn.join(retractions, retractions.c.seq == feedback.c.seq).where(*conditions)
        out = connection.execute(withdrawn).one()
        labels = labels_by_item(connection, numbers().where(*conditions, ~RETRACTED), stop)
        decided = _decisions(connection, conditions) if asked.aggregation == "majority" else {}
        overruled = Counter[str]()
        labels = _without_overruled(labels, decided, overruled)
        covering = None
        if asked.asks_for_certificate:
            covering = Covering(stored_certificates(connection, asked.certificate), asked.certificate, asked.bounds)
            labels = _covered(labels, covering, mend=bool(asked.mend))
        counts = _write(labels, asked, Files(building, parts.settings.spare_disk_bytes), stop)
    if covering is not None:
        counts.certificates = sorted(covering.used)
        if len(covering.used) == 1:  # where exports and trainers look for it
            (certificate,) = covering.used.values()
            (building / CERTIFICATE).write_text(certificate.text(), "utf-8")
    reasons = {"replaced": out.replaced, "retracted": out.all - out.replaced, **overruled}
    counts.dropped |= {reason: count for reason, count in reasons.items() if count}
    if not counts.tables:
        why = ", ".join(f"{reason}: {count}" for reason, count in counts.dropped.items()) or "the filter chooses none"
        raise Invalid(f"no label gives a row ({why})", "Choose other feedback.", where="/filter")
    sync_tree(building)  # here, where nobody else waits for it
    return counts


def _covered(labels: Iterator[StoredFeedback], covering: Covering, *, mend: bool) -> Iterator[StoredFeedback]:
    """Yield the labels, judges' ones where a certificate covers them, and by its map."""
    for label in labels:
        certificate = covering.of(label)
        yield mended(label, certificate) if mend and certificate is not None else label


def _decisions(connection: Connection, conditions: Sequence[ColumnElement[bool]]) -> dict[Decided, Decision]:
    """What reviewers decided, of the labels that are chosen: of several decisions of one item the last holds."""
    query = select(adjudications.c.project, adjudications.c.item, feedback.c.id, feedback.c.group)
    query = query.join(feedback, feedback.c.id == adjudications.c.feedback).where(*conditions)
    rows = connection.execute(query.order_by(feedback.c.seq))
    return {(row.project, row.item): (row.id, row.group) for row in rows}


def _without_overruled(
    labels: Iterator[StoredFeedback], decided: Mapping[Decided, Decision], overruled: Counter[str]
) -> Iterator[StoredFeedback]:
    """Yield the labels but for those of people whose item was decided in their project, for their group or for all."""
    for label in labels:
        id, group = decided.get((label.project or "", label.item), (label.id, None))
        if label.id == id or label.source == "ai" or group not in (None, label.group):
            yield label
        else:
            overruled["decided"] += 1


class Files:
    """One file a table, which leave free on the disk what they are told."""

    def __init__(self, folder: Path, spare: int) -> None:
        self.folder, self._spare = folder, spare
        self._files: dict[str, BinaryIO] = {}

    def write(self, table: str, row: dict[str, Any]) -> None:
        """Add a row. Raises `DiskFull`."""
        if table not in self._files:
            self._files[table] = (self.folder / f"{table}.jsonl").open("wb")
        must_be_spare(self.folder, self._spare)
        JsonLines(self._files[table]).write(row)

    def close(self) -> None:
        """Close all files."""
        for file in self._files.values():
            file.close()


def _write(labels: Iterator[Feedback], asked: DatasetRequest, files: Files, stop: Stop) -> Counts:
    read, dropped, rows = 0, Counter[str](), Counter[str]()

    def counted() -> Iterator[Feedback]:
        nonlocal read
        for label in labels:
            read += 1
            yield label

    built = build(counted(), asked.aggregation, dropped, pool_groups=asked.pool_groups, sorted_by_item=True)
    with closing(files):
        for table, row in stop.watched(built):
            files.write(table, row)
            rows[table] += 1
    tables = {table: Table(rows=rows[table], sha256=_sha256(files.folder / f"{table}.jsonl")) for table in sorted(rows)}
    return Counts(labels=read, tables=tables, dropped=dict(sorted(dropped.items())))


async def _keep(parts: Service, asked: DatasetRequest, counts: Counts, building: Path, also: Also) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": asked.name,
        "sha256": digest({table: entry.sha256 for table, entry in counts.tables.items()}),
        "request": asked.model_dump(mode="json", exclude_none=True),
        "counts": counts.model_dump(mode="json"),
        "created_at": now(),
    }
    async with parts.database.transaction() as connection:
        newest = select(func.max(datasets.c.version)).where(datasets.c.name == asked.name)
        row["version"] = ((await connection.execute(newest)).scalar_one() or 0) + 1
        # From here to the commit no other server can have this version: its row would wait for ours.
        await connection.execute(datasets.insert(), row)
        for table, rows in also(row).items():
            await connection.execute(table.insert(), rows)
        await asyncio.to_thread(_move, building, folder(parts.settings.data, asked.name, row["version"]), row)
    return row


def _move(building: Path, target: Path, row: dict[str, Any]) -> None:
    manifest = row | {"created_at": row["created_at"].isoformat()}
    (building / MANIFEST).write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n", "utf-8")
    sync_file(building / MANIFEST)
    if target.exists():  # of a server that was killed between this and its commit
        shutil.rmtree(target)
    make_folder(target.parent)
    sync_folder(building)
    os.replace(building, target)
    sync_folder(target.parent)


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
