"""Sources outside, partitions that split, payloads, long-lived consumers; live runs first."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sources",
        sa.Column("trigger_uid", sa.Text(), nullable=False),
        sa.Column("identity", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("restart", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
        sa.ForeignKeyConstraint(
            ["trigger_uid"], ["triggers.uid"], name=op.f("fk_sources_trigger_uid")
        ),
        sa.PrimaryKeyConstraint("trigger_uid", name=op.f("pk_sources")),
        sqlite_with_rowid=False,
    )
    op.add_column(
        "partitions", sa.Column("stride", sa.BigInteger(), server_default="1", nullable=False)
    )
    op.add_column(
        "partitions", sa.Column("generation", sa.Integer(), server_default="0", nullable=False)
    )
    op.add_column("runs", sa.Column("payload", sa.Text(), nullable=True))
    op.add_column("runs", sa.Column("life_us", sa.BigInteger(), nullable=True))
    op.add_column("runs", sa.Column("stall_us", sa.BigInteger(), nullable=True))
    op.add_column("runs", sa.Column("kept", sa.Text(), nullable=True))
    op.add_column(
        "runs",
        sa.Column("discarded", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
    )
    # Until now nothing but a person let go of dead runs.
    op.execute("UPDATE runs SET discarded = released WHERE released")
    op.add_column(
        "attempts",
        sa.Column("closing", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
    )
    op.create_index(
        "ix_runs_payload",
        "runs",
        ["trigger_uid", "ended_at"],
        unique=False,
        sqlite_where=sa.text("payload IS NOT NULL"),
        postgresql_where=sa.text("payload IS NOT NULL"),
    )
    op.create_index(
        "ix_runs_untended",
        "runs",
        ["trigger_uid"],
        unique=False,
        sqlite_where=sa.text("state = 'dead' AND kept IS NULL"),
        postgresql_where=sa.text("state = 'dead' AND kept IS NULL"),
    )
    op.create_index(
        "ix_runs_line_live",
        "runs",
        ["trigger_uid", "partition", "due_at", "ordinal"],
        unique=False,
        sqlite_where=sa.text("queue = 'line' AND origin <> 'backfill'"),
        postgresql_where=sa.text("queue = 'line' AND origin <> 'backfill'"),
    )
    op.create_index(
        "ix_runs_life",
        "runs",
        ["trigger_uid", "partition"],
        unique=False,
        sqlite_where=sa.text("life_us IS NOT NULL AND ended_at IS NULL"),
        postgresql_where=sa.text("life_us IS NOT NULL AND ended_at IS NULL"),
    )
