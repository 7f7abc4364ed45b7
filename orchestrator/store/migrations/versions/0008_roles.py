"""What whoever has a token may do; those that are there may do all, as before."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tokens", sa.Column("role", sa.Text(), server_default="admin", nullable=False))


def downgrade() -> None:
    op.drop_column("tokens", "role")
