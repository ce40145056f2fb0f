"""Who asks and who labels: keys, sessions, annotators; what they did, and what was answered to requests."""

from sqlalchemy import JSON, Column, ForeignKey, Index, Integer, String, Table

from service.store.tables.columns import Id, Moment, Name, Number, metadata

annotators = Table(
    "annotators",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", Name, unique=True),  # NULL once erased
    Column("group", Name),
    Column("attributes", JSON, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("erased_at", Moment),
)

keys = Table(
    "keys",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", Name, nullable=False),
    Column("hash", Id, nullable=False),  # SHA-256 of the secret, which is random and long
    Column("scopes", JSON, nullable=False),
    Column("annotator", Id, ForeignKey("annotators.id")),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment),
    Column("revoked_at", Moment),
)

# Who is signed in to the pages, by the hash of what the browser has. A session is its key's: it ends with it.
sessions = Table(
    "sessions",
    metadata,
    Column("id", Id, primary_key=True),
    Column("key", Id, ForeignKey("keys.id"), nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Index(None, "key"),
    Index(None, "expires_at"),
)

# Addresses that sign in once, by the hash of what they end with.
links = Table(
    "links",
    metadata,
    Column("id", Id, primary_key=True),
    Column("key", Id, ForeignKey("keys.id"), nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("used_at", Moment),
    Index(None, "key"),
    Index(None, "expires_at"),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("key", Id, primary_key=True),
    Column("name", String(255), primary_key=True),
    Column("request", Id, nullable=False),
    Column("status", Integer, nullable=False),
    Column("body", JSON, nullable=False),
    Column("at", Moment, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", Number, primary_key=True, autoincrement=True),
    Column("at", Moment, nullable=False),
    Column("key", Id),
    Column("action", String(64), nullable=False),
    Column("target", Name, nullable=False),
    Column("detail", JSON, nullable=False),
    Index(None, "target", "seq"),
    Index(None, "key", "seq"),
    Index(None, "action", "seq"),
    sqlite_autoincrement=True,
)
