"""What labels say beside the answer: times, flags, corrections, and why a task was skipped"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

FLAGGED = sa.text("flag IS NOT NULL")
REPLACES = sa.text("replaces IS NOT NULL")


def upgrade() -> None:
    """Bring the tables here."""
    with op.batch_alter_table("feedback", schema=None) as batch_op:
        batch_op.add_column(sa.Column("seconds", sa.Float(), nullable=True))
        batch_op.add_column(sa.Column("flag", sa.JSON(none_as_null=True), nullable=True))
        batch_op.add_column(sa.Column("replaces", sa.String(length=64), nullable=True))
    op.create_index("ix_feedback_flagged", "feedback", ["seq"], sqlite_where=FLAGGED, postgresql_where=FLAGGED)
    op.create_index(
        op.f("ix_feedback_replaces_seq"),
        "feedback",
        ["replaces", "seq"],
        sqlite_where=REPLACES,
        postgresql_where=REPLACES,
    )
    with op.batch_alter_table("leases", schema=None) as batch_op:
        batch_op.add_column(sa.Column("reason", sa.String(length=32), nullable=True))
        batch_op.add_column(sa.Column("note", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("seconds", sa.Float(), nullable=True))
    with op.batch_alter_table("projects", schema=None) as batch_op:
        batch_op.add_column(sa.Column("skip_reasons", sa.JSON(none_as_null=True), nullable=True))
    with op.batch_alter_table("retractions", schema=None) as batch_op:
        batch_op.add_column(sa.Column("replaced_by", sa.String(length=64), nullable=True))


def downgrade() -> None:
    """Bring them back."""
    op.drop_column("retractions", "replaced_by")
    op.drop_column("projects", "skip_reasons")
    for name in ("seconds", "note", "reason"):
        op.drop_column("leases", name)
    op.drop_index(op.f("ix_feedback_replaces_seq"), table_name="feedback")
    op.drop_index("ix_feedback_flagged", table_name="feedback")
    for name in ("replaces", "flag", "seconds"):
        op.drop_column("feedback", name)
