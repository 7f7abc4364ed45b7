"""Rows of a table, claimed and followed, in the three kinds of database: they pass the kit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from connectors.abc import JSON
from connectors.queues import Message
from connectors.table import TableConnector
from connectors.testing import Bad, QueueConformance, QueueHarness
from tests.support.jobtable import SECRETS, JobTable


class TableHarness(QueueHarness):
    connector = TableConnector()
    secrets = SECRETS

    def __init__(self, table: JobTable, more: Mapping[str, JSON]) -> None:
        self.table = table
        self.more = more
        self.redelivers = "mode" not in more

    def settings(self) -> Mapping[str, JSON]:
        return self.table.settings(every="50ms", json_columns=["payload"], **self.more)

    def bad_settings(self) -> Sequence[Bad]:
        claims: list[Bad] = [
            ({"states": {"queued_at": "a", "run_id": "a"}}, "states.run_id"),
            ({"states": {"queued_at": None}}, "states.queued_at"),
            ({"states": {"taken_at": "x"}}, "states.taken_at"),
            ({"key": "queued_at"}, "key"),
            ({"rows_per_second": 0}, "rows_per_second"),
            ({"rows_per_second": "50/s"}, "rows_per_second"),
            ({"max_returns": -1}, "max_returns"),
            ({"start": "latest"}, "start"),
            ({"look_back": "1h"}, "look_back"),
        ]
        follows: list[Bad] = [
            ({"start": "2026"}, "start"),
            ({"look_back": 5}, "look_back"),
            ({"max_returns": 1}, "max_returns"),
            ({"rows_per_second": 1}, "rows_per_second"),
            ({"states": {}}, "states"),
        ]
        return [
            ({"dsn": None}, "dsn"),
            ({"dsn": "postgresql://u:hunter2@h/db"}, "dsn"),
            ({"dsn": "postgresql://u@h/db?password=x"}, "dsn"),
            ({"dsn": "oracle://u@h/db"}, "dsn"),
            ({"dsn": "sqlite:///relative.db"}, "dsn"),
            ({"dsn": "mysql://h/db?read_default_file=/etc/passwd"}, "dsn"),
            ({"dsn": "mysql://u@h/"}, "dsn"),
            ({"password": "hunter2"}, "password"),
            ({"table": "a.b.c"}, "table"),
            ({"table": " jobs"}, "table"),
            ({"key": ""}, "key"),
            ({"where": {}}, "where"),
            ({"where": {"kind": []}}, "where"),
            ({"where": {"kind": 1.5}}, "where"),
            ({"columns": []}, "columns"),
            ({"columns": ["id", "id"]}, "columns[1]"),
            ({"columns": ["id"]}, "json_columns[0]"),
            ({"every": "1ms"}, "every"),
            ({"batch_size": 0}, "batch_size"),
            ({"batch_window": "1d"}, "batch_window"),
            ({"batch_bytes": 200_000}, "batch_bytes"),
            ({"remember": "1y"}, "remember"),
            ({"mode": "take"}, "mode"),
            ({"storage": "somewhere"}, "storage"),
            ({"keep": "1d"}, "keep"),
            *([] if self.table.kind == "postgresql" else [({"notify": "jobs"}, "notify")]),
            *(claims if self.redelivers else follows),
        ]

    def put(self, events: Sequence[str]) -> None:
        self.table.put(events)

    def text(self, message: Message) -> str:
        payload: Any = message.body["payload"]
        return str(payload["text"])

    def left(self) -> int | None:
        return self.table.open() if self.redelivers else None

    def unreachable(self) -> Mapping[str, JSON]:
        return {**self.settings(), "table": "absent"}

    def close(self) -> None:
        self.table.close()


def _mode(request: pytest.FixtureRequest) -> Mapping[str, JSON]:
    modes: dict[str, dict[str, JSON]] = {
        "claim": {},
        "paced": {"rows_per_second": 1000},
        "follow": {"mode": "follow"},
    }
    return modes[request.param]


def _open(harness: TableHarness) -> Iterator[TableHarness]:
    yield harness
    harness.close()


MODES = ["claim", "paced", "follow"]


class TestSqlite(QueueConformance):
    """A file of SQLite."""

    @pytest.fixture(params=MODES)
    def harness(self, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[TableHarness]:
        yield from _open(TableHarness(JobTable.sqlite(tmp_path), _mode(request)))


class TestPostgres(QueueConformance):
    """PostgreSQL, which tells of new rows."""

    @pytest.fixture(params=["claim"])
    def harness(self, postgres_url: str, request: pytest.FixtureRequest) -> Iterator[TableHarness]:
        table = JobTable.postgres(postgres_url, notify="kit jobs")
        yield from _open(TableHarness(table, {**_mode(request), "notify": "kit jobs"}))


class TestMariaDb(QueueConformance):
    """MariaDB."""

    @pytest.fixture(params=["claim"])
    def harness(self, mariadb: Any, request: pytest.FixtureRequest) -> Iterator[TableHarness]:
        yield from _open(TableHarness(JobTable.mariadb(mariadb), _mode(request)))
