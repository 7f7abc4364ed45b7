"""Definitions and job templates: content-addressed, written once and never changed."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

from sqlalchemy import select

from orchestrator.store.dialect import Dialect
from orchestrator.store.schema import definitions, templates
from orchestrator.store.writer import Tx

_IN_CHUNK = 500


def keep_content(
    dialect: Dialect, tx: Tx, bodies: Mapping[str, str], jobs: Mapping[str, str]
) -> None:
    """Keep definitions and jobs, canonical JSON by hash, that the store does not have yet."""
    dialect.insert_ignore(
        tx.conn, definitions, [{"hash": key, "body": body} for key, body in bodies.items()]
    )
    known = _known_templates(tx, list(jobs))
    dialect.insert_ignore(
        tx.conn,
        templates,
        [
            {"hash": key, "job": zlib.compress(job.encode())}
            for key, job in jobs.items()
            if key not in known
        ],
    )


def _known_templates(tx: Tx, hashes: Sequence[str]) -> set[str]:
    """Those that are there: large ones are not compressed for nothing."""
    known: set[str] = set()
    for start in range(0, len(hashes), _IN_CHUNK):
        chunk = list(hashes[start : start + _IN_CHUNK])
        known |= set(tx.conn.scalars(select(templates.c.hash).where(templates.c.hash.in_(chunk))))
    return known
