"""Jobs, what they read and what they leave; and the clock by which what is old goes."""

from sqlalchemy import JSON, BigInteger, Column, Float, ForeignKey, Index, Integer, String, Table, Text

from service.store.tables.columns import Id, Moment, Name, Number, metadata

jobs = Table(
    "jobs",
    metadata,
    Column("seq", Number, primary_key=True, autoincrement=True),
    Column("id", Id, nullable=False, unique=True),
    Column("kind", String(32), nullable=False),
    Column("request", JSON, nullable=False),  # without the rows, which are the artifact input.jsonl
    Column("config", JSON),  # what a run's results depend on, once its engines were open
    Column("state", String(16), nullable=False),  # queued, running, done, failed, cancelled
    Column("attempt", Integer, nullable=False),  # goes up with each retry
    Column("epoch", Integer, nullable=False),  # goes up whenever a worker takes the job, or loses it
    Column("worker", Name),
    Column("progress", JSON, nullable=False),
    Column("trying", JSON),  # what a worker began last: see service.jobs.running.poison
    Column("deaths", JSON(none_as_null=True)),  # of workers that had it, by step: see service.jobs.work.lives
    Column("error", Text),
    Column("result", JSON),
    Column("key", Id),
    Column("created_at", Moment, nullable=False),
    Column("started_at", Moment),
    Column("ended_at", Moment),
    Index(None, "kind", "state"),
    sqlite_autoincrement=True,
)

job_events = Table(
    "job_events",
    metadata,
    Column("seq", Number, primary_key=True, autoincrement=True),
    Column("job", Id, ForeignKey("jobs.id"), nullable=False),
    Column("at", Moment, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("body", JSON, nullable=False),
    Index(None, "job", "seq"),
    sqlite_autoincrement=True,
)

# The ledger of all jobs: answers of engines by content key.
calls = Table(
    "calls",
    metadata,
    Column("key", Id, primary_key=True),
    Column("answer", Text, nullable=False),
    Column("cost", Float, nullable=False),
    Column("job", Id, index=True),  # the first that asked
)

job_rows = Table(
    "job_rows",
    metadata,
    Column("job", Id, ForeignKey("jobs.id"), primary_key=True),
    Column("row", Integer, primary_key=True),
    Column("item", String(128), nullable=False),  # `critic.run.execute.item_key`: two digests
    Column("plan", Id, nullable=False),
    Column("result", Text),
    Column("quarantined", Text),
    Column("pairs", Integer, nullable=False),
)

# Files for jobs to read, one row a key that uploaded the same file. The file is named by its id and format.
uploads = Table(
    "uploads",
    metadata,
    Column("id", Id, primary_key=True),
    Column("format", String(16), primary_key=True),
    Column("key", Id, primary_key=True),
    Column("bytes", BigInteger, nullable=False),
    Column("at", Moment, nullable=False),
    Index(None, "key"),
)

workers = Table(
    "workers",
    metadata,
    Column("id", Name, primary_key=True),
    Column("host", Name, nullable=False),
    Column("started_at", Moment, nullable=False),
    Column("seen_at", Moment, nullable=False),
)

datasets = Table(
    "datasets",
    metadata,
    Column("name", Name, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("sha256", Id, nullable=False),
    Column("request", JSON, nullable=False),
    Column("counts", JSON, nullable=False),
    Column("created_at", Moment, nullable=False),
)

models = Table(
    "models",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", Name, nullable=False, unique=True),
    Column("trainer", String(16), nullable=False),
    Column("folder", Text, nullable=False),  # inside the artifact store
    Column("lineage", JSON, nullable=False),
    Column("job", Id),
    Column("created_at", Moment, nullable=False),
)

# The latest time that is believed: one row. See `service.store.clock`.
clock = Table(
    "clock",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("believed", Moment, nullable=False),
)
