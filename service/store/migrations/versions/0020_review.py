"""What reviewers decide, and who gets no tasks for now"""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the tables here."""
    op.create_table(
        "adjudications",
        sa.Column("feedback", sa.String(length=64), nullable=False),
        sa.Column("project", sa.String(length=64), nullable=False),
        sa.Column("item", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["project"], ["projects.id"], name=op.f("fk_adjudications_project")),
        sa.PrimaryKeyConstraint("feedback", name=op.f("pk_adjudications")),
    )
    op.create_index(op.f("ix_adjudications_project_item"), "adjudications", ["project", "item"])
    with op.batch_alter_table("projects", schema=None) as batch_op:
        batch_op.add_column(sa.Column("paused", sa.JSON(), nullable=False, server_default="[]"))


def downgrade() -> None:
    """Bring them back."""
    with op.batch_alter_table("projects", schema=None) as batch_op:
        batch_op.drop_column("paused")
    op.drop_table("adjudications")
