"""What a prompt's labels take on disk: run.db, exports, and the service's tables, at the texts of `capacity.Workload`.

A scripted engine answers with words without sense, as long as the workload says, half as long and half as long again.
The service's tables get what a job stores: the ledger, the rows, and every label as feedback, with all indexes.
"""

import asyncio
import json
import random
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from statistics import mean

from sqlalchemy import Connection, Engine, insert, make_url, text

from base.digest import digest
from benchmarks.capacity import SHARD_ROWS, Workload
from benchmarks.figures import Measurement
from benchmarks.prefix_tree import WORDS
from benchmarks.serving import postgres
from critic.feedback import from_row
from critic.records import Line, Provenance, Row
from critic.run.config import RunConfig
from critic.run.execute import QUESTION_DIGITS, KnownRow, SeenPrompts, item_key
from critic.run.folder.shards import About, ShardStore, pack
from critic.run.folder.store import RunStore
from critic.run.request import RunRequest
from critic.run.run import run, write_results
from service.jobs.work.ledger import connect
from service.labels import labels
from service.store.tables import calls, feedback, items, job_rows, jobs, metadata, now

TITLE = "Storage"
PROMPTS = 2000
SEEN = 2_000_000  # prompts before those that are read: more than the cache of their index holds
WORKLOAD = Workload()
ANSWERS = WORKLOAD.samples * (1 + 2 * WORKLOAD.revisions)  # that are written a prompt
CHARACTERS_A_TOKEN = 4
CONSTITUTION = {
    "name": "some",
    "version": "1.0.0",
    "title": "Some principles",
    "summary": "For a benchmark.",
    "license": "Apache-2.0",
    "language": "en",
    "principles": [
        {
            "id": f"kind-{number}",
            "title": "Kind",
            "statement": f"The response is kind in way {number}.",
            "critique": "Say where it is not.",
            "revision": "Make it so.",
            "compare": "Which response is kinder?",
        }
        for number in range(WORKLOAD.principles)
    ],
}


def measure() -> list[Measurement]:
    """See the module's docstring."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        calls_made = made(folder, PROMPTS)
        with closing(RunStore.open_existing(folder / "out")) as store:
            began = time.perf_counter()
            write_results(store, folder / "out", "parquet", {})
            seconds = time.perf_counter() - began
            row_bytes = mean(len(row.model_dump_json().encode()) for row in store.rows())
            figures = files(folder / "out", calls_made, row_bytes)
            figures += cluster(store, folder)
            figures.append(Measurement("exports, card and report", 1e6 * seconds / PROMPTS, "us a prompt"))
            figures.append(in_tables("SQLite", f"sqlite:///{folder / 'cai.db'}", folder / "out", store))
            with postgres(folder / "postgres") as url:
                figures.append(in_tables("PostgreSQL", url, folder / "out", store))
    return figures


def made(folder: Path, prompts: int) -> int:
    """Run ``prompts`` prompts in ``folder / "out"``; return the calls."""
    (folder / "some.yaml").write_text(json.dumps(CONSTITUTION))
    (folder / "script.yaml").write_text(json.dumps({"queue": list(texts(ANSWERS * prompts))}))
    with (folder / "prompts.jsonl").open("w") as file:
        for number in range(prompts):
            prompt = words(random.Random(f"prompt {number}"), WORKLOAD.prompt)
            file.write(json.dumps({"prompt": f"{number}: {prompt}"}) + "\n")
    spec = f"scripted:{folder / 'script.yaml'}"
    request = RunRequest(
        str(folder / "some.yaml"), str(folder / "prompts.jsonl"), (spec,), spec, ("logprob",), {"revisions": 1}
    )
    return asyncio.run(run(request, folder / "out", format="parquet")).calls


def texts(count: int) -> Iterator[str]:
    """Answers, of the workload's mean length and spread."""
    rng = random.Random("storage")
    average = WORKLOAD.written / ANSWERS
    for _ in range(count):
        yield words(rng, average * rng.uniform(1 - WORKLOAD.spread, 1 + WORKLOAD.spread))


def words(rng: random.Random, tokens: float) -> str:
    """Words without sense, of so many tokens' characters."""
    length = round(tokens * CHARACTERS_A_TOKEN)
    return " ".join(rng.choices(WORDS.split(), k=length // 3))[:length].strip()


def files(out: Path, calls_made: int, row_bytes: float) -> list[Measurement]:
    """Bytes of a run's own files."""
    exports = sum(path.stat().st_size for path in out.glob("*.parquet"))
    return [
        Measurement(
            "run.db", (out / "run.db").stat().st_size / PROMPTS, "bytes a prompt", note=f"{calls_made:,} calls"
        ),
        Measurement("a row as JSON", row_bytes, "bytes a prompt"),
        Measurement(
            "exports as Parquet", exports / PROMPTS, "bytes a prompt", note="words without sense compress well"
        ),
    ]


def cluster(store: RunStore, folder: Path) -> list[Measurement]:
    """What one process does for all actors of a cluster: reading the input and cutting it, and storing shards."""
    request = RunRequest("", str(folder / "prompts.jsonl"), (), "")
    with closing(SeenPrompts()) as seen:
        for number in range(SEEN):
            seen.add(KnownRow(number, "", random.randbytes(QUESTION_DIGITS // 2).hex()))
        began = time.perf_counter()
        for line in request.lines():
            entry = seen.check(line)
            assert isinstance(entry, Line)
            item_key(entry)
            entry.model_dump_json()
        read = time.perf_counter() - began
    rows = list(store.rows())
    shards = [
        pack(About(i, "plan", "items", SHARD_ROWS, 0, (), 0), rows[i * SHARD_ROWS : (i + 1) * SHARD_ROWS])
        for i in range(PROMPTS // SHARD_ROWS)
    ]
    config = RunConfig.of_flat(store.config())
    stored = ShardStore.open(folder / "sharded", config, store.provenance(), SHARD_ROWS, extend=False)
    began = time.perf_counter()
    with closing(stored):
        for shard in shards:
            stored.put(shard, whole=True)
    put = time.perf_counter() - began
    return [
        Measurement(
            "reading and cutting the input", 1e6 * read / PROMPTS, "us a prompt", note=f"after {SEEN:,} others"
        ),
        Measurement(f"storing a shard of {SHARD_ROWS} rows", 1e3 * put / len(shards), "ms"),
        Measurement("shards", sum(map(len, shards)) / len(shards) / SHARD_ROWS, "bytes a prompt"),
    ]


def in_tables(name: str, url: str, out: Path, store: RunStore) -> Measurement:
    """Bytes of the service's tables with their indexes: all that a job of the run stores."""
    engine = connect(make_url(url).set(drivername="sqlite" if name == "SQLite" else "postgresql+psycopg"))
    metadata.create_all(engine)
    empty = size(engine)
    with engine.begin() as connection:
        connection.execute(insert(jobs), JOB | {"created_at": now()})
        for key, answer, cost in ledger(out / "run.db"):
            connection.execute(insert(calls), {"key": key.hex(), "answer": answer, "cost": cost, "job": "job"})
        for row in store.rows():
            keep(connection, row, store.provenance())
    grown = size(engine) - empty
    engine.dispose()
    return Measurement(f"tables of the service, {name}", grown / PROMPTS, "bytes a prompt", note="with all indexes")


JOB = {
    "id": "job",
    "kind": "generate",
    "request": {},
    "state": "done",
    "attempt": 1,
    "epoch": 1,
    "progress": {},
}


def ledger(file: Path) -> Iterator[tuple[bytes, str, float]]:
    """Every recorded answer of a run."""
    with closing(sqlite3.connect(file)) as database:
        yield from database.execute("SELECT key, answer, cost FROM calls")


def keep(connection: Connection, row: Row, provenance: Provenance) -> None:
    """Store a row and its labels as a job does."""
    text, item = row.model_dump_json(), digest(row.prompt.key)
    values = {"job": "job", "row": row.row, "item": item, "plan": item, "result": text, "pairs": len(row.pairs)}
    connection.execute(insert(job_rows), values)
    for table, records in labels.rows(list(from_row(row, provenance)), labels.Origin(job="job"))[1].items():
        connection.execute(insert(table), list(records))


def size(engine: Engine) -> int:
    """Bytes of a database's tables and indexes."""
    names = [table.name for table in (calls, job_rows, feedback, items)]
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            return int(pages * connection.exec_driver_sql("PRAGMA page_size").scalar_one())
        sizes = (connection.execute(text("SELECT pg_total_relation_size(:t)"), {"t": n}).scalar_one() for n in names)
        return sum(sizes)
