"""The table connector on real databases: rows claimed, and rows claimed and finished, per second.

The source alone, as whoever runs it uses it: it claims rows, hands over their bodies and writes
back their ends. Compared, in the same run and on the same server, with a bare loop of the driver's
own: ``SELECT … FOR UPDATE SKIP LOCKED``, one update for the claim, one for the end.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from connectors.queues import Delivery, Inbox
from connectors.streams import SourceContext
from connectors.table.settings import parse_settings
from connectors.table.source import TableSource
from tests.bench.processes import Place
from tests.bench.report import Row
from tests.support.jobtable import SECRETS, JobTable
from tests.support.mariadb import MariaDb
from tests.support.postgres import PostgresServer

_BODY = "x" * 200
_BATCH = 100
_CLAIM = "SELECT id, payload FROM jobs WHERE queued_at IS NULL AND finished_at IS NULL"
_CLAIM += " AND cancelled_at IS NULL ORDER BY created_at, id LIMIT %s FOR UPDATE SKIP LOCKED"


def run(place: Place) -> Iterator[Row]:
    """Measure: the servers keep what is committed in the page cache, for both sides alike."""
    count = 2_000 if place.quick else 50_000
    postgres = PostgresServer()
    try:
        yield from _of("PostgreSQL", lambda: JobTable.postgres(postgres.new_database()), count)
    finally:
        postgres.close()
    maria = MariaDb()
    try:
        yield from _of("MariaDB", lambda: JobTable.mariadb(maria), count)
    finally:
        maria.close()


def _of(name: str, make: Callable[[], JobTable], count: int) -> Iterator[Row]:
    for size in (_BATCH, 1000):
        for ends in (False, True):
            what = "claimed and finished" if ends else "claimed"
            mine = _measured(make, count, lambda table, s=size, e=ends: _source(table, s, e))
            bare = _measured(make, count, lambda table, s=size, e=ends: _bare(table, s, e))
            yield Row(
                what=f"rows {what} in {name}, {size:,} at once",
                unit="/s", orch=mine, peer=bare, n=f"{count:,}",
            )  # fmt: skip


def _measured(make: Callable[[], JobTable], count: int, act: Callable[[JobTable], float]) -> float:
    """Rows a second; `act` says how long it took once it was connected."""
    table = make()
    try:
        for start in range(0, count, 5000):
            table.put([_BODY] * min(5000, count - start))
        table.run(f"ANALYZE {'TABLE ' if table.kind == 'mysql' else ''}jobs")
        return count / act(table)
    finally:
        table.close()


def _source(table: JobTable, size: int, ends: bool) -> float:
    context = SourceContext(
        instance="bench", trigger="bench", trigger_uid="u", secrets=SECRETS,
        data_dir=Path.cwd() / "own", stop=threading.Event(),
    )  # fmt: skip
    settings = parse_settings(table.settings())
    source = TableSource(settings, context, Inbox(cursor=None, known=set))
    with source.access.transaction():  # it is connected, as a bare loop is
        pass
    began = time.monotonic()
    while messages := source.poll(size, 0).messages:
        if ends:
            now = time.time_ns() // 1000
            told = [
                Delivery(
                    id=one.id, receipt=one.receipt, run_id="r", state="succeeded",
                    started_at=now, ended_at=now,
                )
                for one in messages
            ]  # fmt: skip
            source.acknowledge(told)
    seconds = time.monotonic() - began
    source.close()
    return seconds


def _bare(table: JobTable, size: int, ends: bool) -> float:
    connection: Any = table.again().connection
    cursor, began = connection.cursor(), time.monotonic()
    now = "utc_timestamp(6)" if table.kind == "mysql" else "now()"
    while True:
        cursor.execute("BEGIN")
        cursor.execute(_CLAIM, (size,))
        ids = [row[0] for row in cursor.fetchall()]
        if ids:
            cursor.execute(*_update(table, f"queued_at = {now}, claimed_by = 'bare'", ids))
        cursor.execute("COMMIT")
        if not ids:
            break
        if ends:
            cursor.execute("BEGIN")
            states = f"started_at = {now}, finished_at = {now}, run_id = 'r'"
            cursor.execute(*_update(table, states, ids))
            cursor.execute("COMMIT")
    connection.close()
    return time.monotonic() - began


def _update(table: JobTable, states: str, ids: Sequence[int]) -> tuple[str, Any]:
    chosen = "id IN %s" if table.kind == "mysql" else "id = ANY(%s)"
    return f"UPDATE jobs SET {states} WHERE {chosen}", (ids,)
