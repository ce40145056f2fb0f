"""Who uploaded what"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the tables here."""
    op.create_table(
        "uploads",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("format", sa.String(length=16), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", "format", "key", name=op.f("pk_uploads")),
    )
    op.create_index(op.f("ix_uploads_key"), "uploads", ["key"])


def downgrade() -> None:
    """Bring them back."""
    op.drop_index(op.f("ix_uploads_key"), table_name="uploads")
    op.drop_table("uploads")
