"""What pages need: who is signed in, drafts, practice and gold"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0004"
branch_labels = None
depends_on = None

# A 64-bit row number: SQLite counts up by itself only in a column of the type INTEGER, which there has 64 bits.
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Bring the tables here."""
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["key"], ["keys.id"], name=op.f("fk_sessions_key")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
    )
    op.create_index(op.f("ix_sessions_key"), "sessions", ["key"])
    op.create_index(op.f("ix_sessions_expires_at"), "sessions", ["expires_at"])
    op.create_table(
        "links",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("used_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["key"], ["keys.id"], name=op.f("fk_links_key")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_links")),
    )
    op.create_index(op.f("ix_links_key"), "links", ["key"])
    op.create_index(op.f("ix_links_expires_at"), "links", ["expires_at"])
    op.create_table(
        "drafts",
        sa.Column("task", sa.String(length=64), nullable=False),
        sa.Column("annotator", sa.String(length=64), nullable=False),
        sa.Column("fields", sa.JSON(), nullable=False),
        sa.Column("saved_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["task"], ["tasks.id"], name=op.f("fk_drafts_task")),
        sa.ForeignKeyConstraint(["annotator"], ["annotators.id"], name=op.f("fk_drafts_annotator")),
        sa.PrimaryKeyConstraint("task", "annotator", name=op.f("pk_drafts")),
    )
    op.create_table(
        "practice",
        sa.Column("seq", NUMBER, autoincrement=True, nullable=False),
        sa.Column("task", sa.String(length=64), nullable=False),
        sa.Column("annotator", sa.String(length=64), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("label", sa.JSON(), nullable=False),
        sa.Column("is_right", sa.Boolean(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["task"], ["tasks.id"], name=op.f("fk_practice_task")),
        sa.ForeignKeyConstraint(["annotator"], ["annotators.id"], name=op.f("fk_practice_annotator")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_practice")),
        sa.UniqueConstraint("task", "annotator", "round", name=op.f("uq_practice_task_annotator_round")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_practice_annotator"), "practice", ["annotator"])
    with op.batch_alter_table("projects", schema=None) as batch_op:
        batch_op.add_column(sa.Column("settings", sa.JSON(), nullable=False, server_default="{}"))
    with op.batch_alter_table("tasks", schema=None) as batch_op:
        batch_op.add_column(sa.Column("role", sa.String(length=16), nullable=False, server_default="work"))
        batch_op.add_column(sa.Column("expected", sa.JSON(none_as_null=True), nullable=True))
        batch_op.add_column(sa.Column("why", sa.Text(), nullable=True))
    op.drop_index(op.f("ix_tasks_project_answers_position"), table_name="tasks")
    columns = ["project", "role", "answers", "position"]
    op.create_index(op.f("ix_tasks_project_role_answers_position"), "tasks", columns)


def downgrade() -> None:
    """Bring them back."""
    op.drop_index(op.f("ix_tasks_project_role_answers_position"), table_name="tasks")
    op.create_index(op.f("ix_tasks_project_answers_position"), "tasks", ["project", "answers", "position"])
    for name in ("why", "expected", "role"):
        op.drop_column("tasks", name)
    op.drop_column("projects", "settings")
    op.drop_table("practice")
    op.drop_table("drafts")
    op.drop_table("links")
    op.drop_table("sessions")
