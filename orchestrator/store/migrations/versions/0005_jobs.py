"""Jobs over HTTP, runs of the future, and which trigger follows which."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_runs_jobs",
        "runs",
        ["state", "due_at", "id"],
        unique=False,
        sqlite_where=sa.text("origin = 'job'"),
        postgresql_where=sa.text("origin = 'job'"),
    )
    op.create_index(
        "ix_runs_future",
        "runs",
        ["not_before"],
        unique=False,
        sqlite_where=sa.text("queue = 'future'"),
        postgresql_where=sa.text("queue = 'future'"),
    )
    op.create_index(
        "ix_runs_whole",
        "runs",
        ["definition"],
        unique=False,
        sqlite_where=sa.text("version = 0"),
        postgresql_where=sa.text("version = 0"),
    )
    op.create_table(
        "job_keys",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_job_keys")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_job_keys_run", "job_keys", ["run_id"], unique=False)
    edges = op.create_table(
        "edges",
        sa.Column("trigger_uid", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["trigger_uid"], ["triggers.uid"], name=op.f("fk_edges_trigger_uid")
        ),
        sa.PrimaryKeyConstraint("trigger_uid", "source", "target", "event", name=op.f("pk_edges")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_edges_source", "edges", ["source", "event"], unique=False)
    op.create_table(
        "arrivals",
        sa.Column("trigger_uid", sa.Text(), nullable=False),
        sa.Column("grp", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("said", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["trigger_uid"], ["triggers.uid"], name=op.f("fk_arrivals_trigger_uid")
        ),
        sa.PrimaryKeyConstraint("trigger_uid", "grp", "source", name=op.f("pk_arrivals")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_arrivals_at", "arrivals", ["at"], unique=False)
    rows = _callbacks()
    if rows:
        op.bulk_insert(edges, rows)


def _callbacks() -> list[dict[str, str]]:
    """The triggers that callbacks of registered triggers fire already."""
    found = op.get_bind().execute(
        sa.text(
            "SELECT t.uid, t.name, d.body FROM triggers t "
            "JOIN definitions d ON d.hash = t.definition "
            "WHERE t.state IN ('active', 'paused') AND d.body LIKE '%\"trigger\":\"%'"
        )
    )
    rows: dict[tuple[str, str, str], dict[str, str]] = {}
    for uid, name, body in found:
        policies = json.loads(body)["policies"]
        for event in ("on_success", "on_failure", "on_abort"):
            for callback in policies.get(event) or ():
                if target := callback.get("trigger"):
                    rows[uid, target, event] = {
                        "trigger_uid": uid,
                        "source": name,
                        "target": target,
                        "event": event,
                    }
    return list(rows.values())


def downgrade() -> None:
    op.drop_table("arrivals")
    op.drop_table("edges")
    op.drop_table("job_keys")
    op.drop_index("ix_runs_whole", "runs")
    op.drop_index("ix_runs_future", "runs")
    op.drop_index("ix_runs_jobs", "runs")
