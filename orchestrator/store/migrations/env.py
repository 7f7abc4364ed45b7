"""Alembic's entry: migrates the connection that `orchestrator.store.migrate` hands over."""

from __future__ import annotations

from alembic import context

from orchestrator.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
context.run_migrations()
