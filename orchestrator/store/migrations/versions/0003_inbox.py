"""The inbox of sources without order, and how far such a source has looked."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sources", sa.Column("cursor", sa.Text(), nullable=True))
    op.create_table(
        "inbox",
        sa.Column("trigger_uid", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("receipt", sa.Text(), server_default="", nullable=False),
        sa.Column("grp", sa.Text(), server_default="", nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("round", sa.Integer(), server_default="0", nullable=False),
        sa.Column("returns", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
        sa.Column("extend_at", sa.BigInteger(), nullable=True),
        sa.Column("keep_us", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["trigger_uid"], ["triggers.uid"], name=op.f("fk_inbox_trigger_uid")
        ),
        sa.PrimaryKeyConstraint("trigger_uid", "id", name=op.f("pk_inbox")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_inbox_run", "inbox", ["run_id"], unique=False)
    op.create_index(
        "ix_inbox_tell",
        "inbox",
        ["trigger_uid"],
        unique=False,
        sqlite_where=sa.text("state IN ('acknowledge', 'give_back')"),
        postgresql_where=sa.text("state IN ('acknowledge', 'give_back')"),
    )
    op.create_index(
        "ix_inbox_extend",
        "inbox",
        ["trigger_uid", "extend_at"],
        unique=False,
        sqlite_where=sa.text("extend_at IS NOT NULL"),
        postgresql_where=sa.text("extend_at IS NOT NULL"),
    )
    op.create_index(
        "ix_inbox_expires",
        "inbox",
        ["trigger_uid", "expires_at"],
        unique=False,
        sqlite_where=sa.text("state IN ('done', 'returned')"),
        postgresql_where=sa.text("state IN ('done', 'returned')"),
    )


def downgrade() -> None:
    op.drop_table("inbox")
    op.drop_column("sources", "cursor")
