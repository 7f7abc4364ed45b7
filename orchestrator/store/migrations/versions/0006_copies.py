"""Copies of services, and how long a task of one goes on unheard."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("attempts", sa.Column("lease_us", sa.BigInteger(), nullable=True))
    op.create_index(
        "ix_runs_service",
        "runs",
        ["trigger_uid", "partition"],
        unique=False,
        sqlite_where=sa.text("origin = 'service' AND ended_at IS NULL"),
        postgresql_where=sa.text("origin = 'service' AND ended_at IS NULL"),
    )
    op.create_table(
        "copies",
        sa.Column("trigger_uid", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("wanted", sa.Boolean(), server_default=sa.text("(true)"), nullable=False),
        sa.Column("lives", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("version", sa.Integer(), server_default="0", nullable=False),
        sa.Column("leader", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("run_id", sa.Text(), nullable=True),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("execution", sa.Text(), server_default="", nullable=False),
        sa.Column("heartbeat_at", sa.BigInteger(), nullable=True),
        sa.Column("progress", sa.Text(), nullable=True),
        sa.Column("checkpoint", sa.Text(), nullable=True),
        sa.Column("checkpoints", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("begun_with", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_at", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("hold_until", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(
            ["trigger_uid"], ["triggers.uid"], name=op.f("fk_copies_trigger_uid")
        ),
        sa.PrimaryKeyConstraint("trigger_uid", "name", name=op.f("pk_copies")),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("copies")
    op.drop_index("ix_runs_service", table_name="runs")
    op.drop_column("attempts", "lease_us")
