"""What a task said of its events in the result that it published."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("attempts", sa.Column("failed", sa.Text(), server_default="", nullable=False))


def downgrade() -> None:
    op.drop_column("attempts", "failed")
