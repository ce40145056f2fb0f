"""What was said of responses: feedback, which is append-only, and what it is bound to and measured by."""

from sqlalchemy import JSON, Column, Float, ForeignKey, Index, LargeBinary, String, Table, Text

from service.store.tables.columns import Id, Moment, Name, Number, metadata

constitutions = Table(
    "constitutions",
    metadata,
    Column("name", Name, primary_key=True),
    Column("version", String(64), primary_key=True),
    Column("digest", Id, nullable=False),
    Column("yaml", LargeBinary, nullable=False),
    Column("created_at", Moment, nullable=False),
)

# What feedback is about: a prompt, with the responses to it in one order. The id is the hash of all of it.
items = Table(
    "items",
    metadata,
    Column("id", Id, primary_key=True),
    Column("prompt", JSON, nullable=False),
    Column("responses", JSON, nullable=False),
    info={"by_content": True},
)

feedback = Table(
    "feedback",
    metadata,
    Column("seq", Number, primary_key=True, autoincrement=True),
    Column("id", Id, nullable=False, unique=True),
    Column("kind", String(32), nullable=False),
    Column("source", String(8), nullable=False),
    Column("item", Id, nullable=False),  # `Feedback.item`: the same in whatever order the responses were shown
    Column("content", Id, ForeignKey("items.id"), nullable=False),
    Column("annotator", Name),  # a person's id, or a judge's name
    Column("group", Name),
    Column("constitution", Name),
    Column("constitution_hash", Id),
    Column("principle", Name),
    Column("project", Id),
    Column("task", Id),
    Column("job", Id),
    Column("label", JSON, nullable=False),
    Column("shown", JSON(none_as_null=True)),  # the order of the responses on the annotator's page, by position
    Column("seconds", Float),  # of work on it, without pauses
    Column("flag", JSON(none_as_null=True)),
    Column("replaces", Id),  # the label that this corrects, which then has a retraction that names this
    Column("key", Id),
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
    Column("seq", Number, ForeignKey("feedback.seq"), primary_key=True, autoincrement=False),
    Column("reason", Text, nullable=False),
    Column("replaced_by", Id),  # the label that corrects it
    Column("key", Id),
    Column("at", Moment, nullable=False),
)

# What judges were measured to be: `cai certify`'s files, keyed by their content.
certificates = Table(
    "certificates",
    metadata,
    Column("sha256", Id, primary_key=True),
    Column("judge", Text, nullable=False),
    Column("content", Text, nullable=False),
    Column("key", Id),
    Column("created_at", Moment, nullable=False),
)
