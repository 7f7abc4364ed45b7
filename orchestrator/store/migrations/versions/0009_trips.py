"""How many runs of a trigger have died one after the other."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "triggers", sa.Column("failures", sa.Integer(), server_default="0", nullable=False)
    )


def downgrade() -> None:
    op.drop_column("triggers", "failures")
