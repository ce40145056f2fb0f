"""The database's tables, the same on SQLite and PostgreSQL. Migrations in ``migrations/`` lead to what stands here.

Feedback is append-only: a retraction is a row of its own. What is keyed by its content (``sha256``) is inserted again
without effect. Times are UTC.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.types import TypeDecorator

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Moment(TypeDecorator[datetime]):
    """A time in UTC, stored as microseconds since 1970: SQLite has no times."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """To the database."""
        return None if value is None else round(value.timestamp() * 1_000_000)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """From the database."""
        return None if value is None else datetime.fromtimestamp(value / 1_000_000, UTC)


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


# A 64-bit row number: SQLite counts up by itself only in a column of the type INTEGER, which there has 64 bits.
_Number = BigInteger().with_variant(Integer, "sqlite")
_Id = String(64)  # hex: a content's SHA-256, or a random name
_Name = String(200)

keys = Table(
    "keys",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("name", _Name, nullable=False),
    Column("hash", _Id, nullable=False),  # SHA-256 of the secret, which is random and long
    Column("scopes", JSON, nullable=False),
    Column("annotator", _Id, ForeignKey("annotators.id")),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment),
    Column("revoked_at", Moment),
)

# Who is signed in to the pages, by the hash of what the browser has. A session is its key's: it ends with it.
sessions = Table(
    "sessions",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("key", _Id, ForeignKey("keys.id"), nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Index(None, "key"),
    Index(None, "expires_at"),
)

# Addresses that sign in once, by the hash of what they end with.
links = Table(
    "links",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("key", _Id, ForeignKey("keys.id"), nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("used_at", Moment),
    Index(None, "key"),
    Index(None, "expires_at"),
)

annotators = Table(
    "annotators",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("name", _Name, unique=True),  # NULL once erased
    Column("group", _Name),
    Column("attributes", JSON, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("erased_at", Moment),
)

constitutions = Table(
    "constitutions",
    metadata,
    Column("name", _Name, primary_key=True),
    Column("version", String(64), primary_key=True),
    Column("digest", _Id, nullable=False),
    Column("yaml", LargeBinary, nullable=False),
    Column("created_at", Moment, nullable=False),
)

# What feedback is about: a prompt, with the responses to it in one order. The id is the hash of all of it.
items = Table(
    "items",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("prompt", JSON, nullable=False),
    Column("responses", JSON, nullable=False),
    info={"by_content": True},
)

feedback = Table(
    "feedback",
    metadata,
    Column("seq", _Number, primary_key=True, autoincrement=True),
    Column("id", _Id, nullable=False, unique=True),
    Column("kind", String(32), nullable=False),
    Column("source", String(8), nullable=False),
    Column("item", _Id, nullable=False),  # `Feedback.item`: the same in whatever order the responses were shown
    Column("content", _Id, ForeignKey("items.id"), nullable=False),
    Column("annotator", _Name),  # a person's id, or a judge's name
    Column("group", _Name),
    Column("constitution", _Name),
    Column("constitution_hash", _Id),
    Column("principle", _Name),
    Column("project", _Id),
    Column("task", _Id),
    Column("job", _Id),
    Column("label", JSON, nullable=False),
    Column("shown", JSON(none_as_null=True)),  # the order of the responses on the annotator's page, by position
    Column("seconds", Float),  # of work on it, without pauses
    Column("flag", JSON(none_as_null=True)),
    Column("replaces", _Id),  # the label that this corrects, which then has a retraction that names this
    Column("key", _Id),
    Column("created_at", Moment, nullable=False),
    sqlite_autoincrement=True,
)
for _name in ("item", "kind", "source", "created_at"):
    Index(None, feedback.c[_name], feedback.c.seq)
for _name in ("annotator", "group", "constitution", "project", "job", "replaces"):
    _given = feedback.c[_name].is_not(None)
    Index(None, feedback.c[_name], feedback.c.seq, sqlite_where=_given, postgresql_where=_given)
_flagged = feedback.c.flag.is_not(None)
Index("ix_feedback_flagged", feedback.c.seq, sqlite_where=_flagged, postgresql_where=_flagged)

retractions = Table(
    "retractions",
    metadata,
    Column("seq", _Number, ForeignKey("feedback.seq"), primary_key=True, autoincrement=False),
    Column("reason", Text, nullable=False),
    Column("replaced_by", _Id),  # the label that corrects it
    Column("key", _Id),
    Column("at", Moment, nullable=False),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("key", _Id, primary_key=True),
    Column("name", String(255), primary_key=True),
    Column("request", _Id, nullable=False),
    Column("status", Integer, nullable=False),
    Column("body", JSON, nullable=False),
    Column("at", Moment, nullable=False),
)

projects = Table(
    "projects",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("name", _Name, nullable=False, unique=True),
    Column("kind", String(32), nullable=False),
    Column("constitution", _Name),
    Column("constitution_hash", _Id),
    Column("guidelines", Text, nullable=False),
    Column("form", JSON, nullable=False),
    Column("labels_per_item", Integer, nullable=False),
    Column("assigned", JSON, nullable=False),  # annotators' ids; none: everyone
    Column("paused", JSON, nullable=False, server_default="[]"),  # annotators' ids, who get no tasks for now
    Column("skip_reasons", JSON(none_as_null=True)),  # those that annotators may give; NULL: all
    Column("settings", JSON, nullable=False),  # how its pages are: see service.labels.tasks.roles
    Column("closed_at", Moment),
    Column("created_at", Moment, nullable=False),
)

tasks = Table(
    "tasks",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("project", _Id, ForeignKey("projects.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("item", _Id, nullable=False),  # as in feedback
    Column("content", _Id, ForeignKey("items.id"), nullable=False),
    Column("answers", Integer, nullable=False),  # how many labels it has
    Column("role", String(16), nullable=False),  # work, gold or practice: see service.labels.tasks.roles
    Column("expected", JSON(none_as_null=True)),  # the right label of gold and practice, in the item's own order
    Column("why", Text),  # it is right: what is told after practice
    UniqueConstraint("project", "item"),
    Index(None, "project", "role", "answers", "position"),
)

# Who has, had or refused a task. One row an annotator and task; states: leased, answered, skipped.
leases = Table(
    "leases",
    metadata,
    Column("task", _Id, ForeignKey("tasks.id"), primary_key=True),
    Column("annotator", _Id, ForeignKey("annotators.id"), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("since", Moment, nullable=False),
    Column("until", Moment, nullable=False),  # when it runs out; of an answered one, when it was answered
    Column("feedback", _Id),
    Column("reason", String(32)),  # of a skipped one, as are note and seconds
    Column("note", Text),
    Column("seconds", Float),
    Index(None, "annotator", "state"),
)

# What a reviewer decided of an item whose labels differ. The decision is a label like others, named by its id; all of
# them stay, and of several for one item the last holds.
adjudications = Table(
    "adjudications",
    metadata,
    Column("feedback", _Id, primary_key=True),
    Column("project", _Id, ForeignKey("projects.id"), nullable=False),
    Column("item", _Id, nullable=False),  # as in feedback
    Column("reason", Text, nullable=False),
    Column("key", _Id),
    Column("at", Moment, nullable=False),
    Index(None, "project", "item"),
)

# What judges were measured to be: `cai certify`'s files, keyed by their content.
certificates = Table(
    "certificates",
    metadata,
    Column("sha256", _Id, primary_key=True),
    Column("judge", Text, nullable=False),
    Column("content", Text, nullable=False),
    Column("key", _Id),
    Column("created_at", Moment, nullable=False),
)

# A draw of items for people out of those that a judge labelled, and each item's chance in it.
routings = Table(
    "routings",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("project", _Id, ForeignKey("projects.id"), nullable=False),
    Column("request", JSON, nullable=False),
    Column("items", Integer, nullable=False),
    Column("pilot", Integer, nullable=False),
    Column("created_at", Moment, nullable=False),
    Index(None, "project"),
)
routed = Table(
    "routed",
    metadata,
    Column("routing", _Id, ForeignKey("routings.id"), primary_key=True),
    Column("item", _Id, primary_key=True),  # as in feedback
    Column("chance", Float, nullable=False),
    Column("shown", Boolean, nullable=False),  # to people: drawn, or labelled before
)

# What somebody began to say of a task, as fields of its page's form: kept until they answer or skip it.
drafts = Table(
    "drafts",
    metadata,
    Column("task", _Id, ForeignKey("tasks.id"), primary_key=True),
    Column("annotator", _Id, ForeignKey("annotators.id"), primary_key=True),
    Column("fields", JSON, nullable=False),
    Column("saved_at", Moment, nullable=False),
)

# Answers to practice tasks, which are no labels. Who has not enough of them right begins another round.
practice = Table(
    "practice",
    metadata,
    Column("seq", _Number, primary_key=True, autoincrement=True),
    Column("task", _Id, ForeignKey("tasks.id"), nullable=False),
    Column("annotator", _Id, ForeignKey("annotators.id"), nullable=False),
    Column("round", Integer, nullable=False),
    Column("label", JSON, nullable=False),
    Column("is_right", Boolean, nullable=False),
    Column("at", Moment, nullable=False),
    UniqueConstraint("task", "annotator", "round"),
    Index(None, "annotator"),
    sqlite_autoincrement=True,
)

jobs = Table(
    "jobs",
    metadata,
    Column("seq", _Number, primary_key=True, autoincrement=True),
    Column("id", _Id, nullable=False, unique=True),
    Column("kind", String(32), nullable=False),
    Column("request", JSON, nullable=False),  # without the rows, which are the artifact input.jsonl
    Column("config", JSON),  # what a run's results depend on, once its engines were open
    Column("state", String(16), nullable=False),  # queued, running, done, failed, cancelled
    Column("attempt", Integer, nullable=False),  # goes up with each retry
    Column("epoch", Integer, nullable=False),  # goes up whenever a worker takes the job, or loses it
    Column("worker", _Name),
    Column("progress", JSON, nullable=False),
    Column("trying", JSON),  # what a worker began last: see service.jobs.running.poison
    Column("deaths", JSON(none_as_null=True)),  # of workers that had it, by step: see service.jobs.work.lives
    Column("error", Text),
    Column("result", JSON),
    Column("key", _Id),
    Column("created_at", Moment, nullable=False),
    Column("started_at", Moment),
    Column("ended_at", Moment),
    Index(None, "kind", "state"),
    sqlite_autoincrement=True,
)

job_events = Table(
    "job_events",
    metadata,
    Column("seq", _Number, primary_key=True, autoincrement=True),
    Column("job", _Id, ForeignKey("jobs.id"), nullable=False),
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
    Column("key", _Id, primary_key=True),
    Column("answer", Text, nullable=False),
    Column("cost", Float, nullable=False),
    Column("job", _Id, index=True),  # the first that asked
)

job_rows = Table(
    "job_rows",
    metadata,
    Column("job", _Id, ForeignKey("jobs.id"), primary_key=True),
    Column("row", Integer, primary_key=True),
    Column("item", String(128), nullable=False),  # `critic.run.execute.item_hash`: two digests
    Column("plan", _Id, nullable=False),
    Column("result", Text),
    Column("quarantined", Text),
    Column("pairs", Integer, nullable=False),
)

# Files for jobs to read, one row a key that uploaded the same file. The file is named by its id and format.
uploads = Table(
    "uploads",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("format", String(16), primary_key=True),
    Column("key", _Id, primary_key=True),
    Column("bytes", BigInteger, nullable=False),
    Column("at", Moment, nullable=False),
    Index(None, "key"),
)

workers = Table(
    "workers",
    metadata,
    Column("id", _Name, primary_key=True),
    Column("host", _Name, nullable=False),
    Column("started_at", Moment, nullable=False),
    Column("seen_at", Moment, nullable=False),
)

datasets = Table(
    "datasets",
    metadata,
    Column("name", _Name, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("sha256", _Id, nullable=False),
    Column("request", JSON, nullable=False),
    Column("counts", JSON, nullable=False),
    Column("created_at", Moment, nullable=False),
)

models = Table(
    "models",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("name", _Name, nullable=False, unique=True),
    Column("trainer", String(16), nullable=False),
    Column("folder", Text, nullable=False),  # inside the artifact store
    Column("lineage", JSON, nullable=False),
    Column("job", _Id),
    Column("created_at", Moment, nullable=False),
)

# The latest time that is believed: one row. See `service.store.clock`.
clock = Table(
    "clock",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("believed", Moment, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", _Number, primary_key=True, autoincrement=True),
    Column("at", Moment, nullable=False),
    Column("key", _Id),
    Column("action", String(64), nullable=False),
    Column("target", _Name, nullable=False),
    Column("detail", JSON, nullable=False),
    Index(None, "target", "seq"),
    Index(None, "key", "seq"),
    Index(None, "action", "seq"),
    sqlite_autoincrement=True,
)
