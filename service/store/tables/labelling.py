"""Labelling projects: their tasks, who has them, and what came of them beside labels."""

from sqlalchemy import JSON, Boolean, Column, Float, ForeignKey, Index, Integer, String, Table, Text, UniqueConstraint

from service.store.tables.columns import Id, Moment, Name, Number, metadata

projects = Table(
    "projects",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", Name, nullable=False, unique=True),
    Column("kind", String(32), nullable=False),
    Column("constitution", Name),
    Column("constitution_hash", Id),
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
    Column("id", Id, primary_key=True),
    Column("project", Id, ForeignKey("projects.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("item", Id, nullable=False),  # as in feedback
    Column("content", Id, ForeignKey("items.id"), nullable=False),
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
    Column("task", Id, ForeignKey("tasks.id"), primary_key=True),
    Column("annotator", Id, ForeignKey("annotators.id"), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("since", Moment, nullable=False),
    Column("until", Moment, nullable=False),  # when it runs out; of an answered one, when it was answered
    Column("feedback", Id),
    Column("reason", String(32)),  # of a skipped one, as are note and seconds
    Column("note", Text),
    Column("seconds", Float),
    Index(None, "annotator", "state"),
)

# What somebody began to say of a task, as fields of its page's form: kept until they answer or skip it.
drafts = Table(
    "drafts",
    metadata,
    Column("task", Id, ForeignKey("tasks.id"), primary_key=True),
    Column("annotator", Id, ForeignKey("annotators.id"), primary_key=True),
    Column("fields", JSON, nullable=False),
    Column("saved_at", Moment, nullable=False),
)

# Answers to practice tasks, which are no labels. Who has not enough of them right begins another round.
practice = Table(
    "practice",
    metadata,
    Column("seq", Number, primary_key=True, autoincrement=True),
    Column("task", Id, ForeignKey("tasks.id"), nullable=False),
    Column("annotator", Id, ForeignKey("annotators.id"), nullable=False),
    Column("round", Integer, nullable=False),
    Column("label", JSON, nullable=False),
    Column("is_right", Boolean, nullable=False),
    Column("at", Moment, nullable=False),
    UniqueConstraint("task", "annotator", "round"),
    Index(None, "annotator"),
    sqlite_autoincrement=True,
)

# What a reviewer decided of an item whose labels differ. The decision is a label like others, named by its id; all of
# them stay, and of several for one item the last holds.
adjudications = Table(
    "adjudications",
    metadata,
    Column("feedback", Id, primary_key=True),
    Column("project", Id, ForeignKey("projects.id"), nullable=False),
    Column("item", Id, nullable=False),  # as in feedback
    Column("reason", Text, nullable=False),
    Column("key", Id),
    Column("at", Moment, nullable=False),
    Index(None, "project", "item"),
)

# A draw of items for people out of those that a judge labelled, and each item's chance in it.
routings = Table(
    "routings",
    metadata,
    Column("id", Id, primary_key=True),
    Column("project", Id, ForeignKey("projects.id"), nullable=False),
    Column("request", JSON, nullable=False),
    Column("items", Integer, nullable=False),
    Column("pilot", Integer, nullable=False),
    Column("created_at", Moment, nullable=False),
    Index(None, "project"),
)

routed = Table(
    "routed",
    metadata,
    Column("routing", Id, ForeignKey("routings.id"), primary_key=True),
    Column("item", Id, primary_key=True),  # as in feedback
    Column("chance", Float, nullable=False),
    Column("shown", Boolean, nullable=False),  # to people: drawn, or labelled before
)
