"""Claims on PostgreSQL and MariaDB: what other transactions do, values, notices, faults."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from connectors.streams import SourceRefused, SourceUnavailable
from connectors.table import database
from connectors.tables import quoted
from tests.support.jobtable import SECRETS, JobTable
from tests.support.mariadb import MariaDb
from tests.support.tabledesk import NOW, Desk, ids, told
from tests.support.waiting import until

Desks = Callable[[JobTable], Desk]


def test_a_row_from_its_claim_to_its_end(table: JobTable, desk_of: Desks):
    """All state columns, in the database's own types, to the microsecond."""
    table.put(["a", "b"])
    desk = desk_of(table)
    source = desk.claims(batch_size=2)
    first, second = source.poll(9, 0).messages
    assert first.body["payload"] == {"text": "a"} or table.kind == "mysql"
    source.extend([told(first, run_id="r1", state="running", started_at=NOW + 1)])
    source.acknowledge(
        [
            told(first, run_id="r1", state="succeeded", started_at=NOW + 1, ended_at=NOW + 5),
            told(second, run_id="r2", state="dead", reason="exit 3", ended_at=NOW + 6),
        ]
    )
    rows = table.rows("queued_at", "started_at", "finished_at", "cancelled_at", "run_id", "reason")
    moments = [[None if at is None else at.microsecond for at in row[:4]] for row in rows]
    assert moments == [[0, 1, 5, None], [0, None, None, 6]]
    assert [row[4:] for row in rows] == [("r1", None), ("r2", "dead: exit 3")]
    assert rows[0][0].year == 2030


def test_rows_that_others_hold_are_skipped(table: JobTable, desk_of: Desks):
    """Nobody waits for them; what they leave is taken afterwards."""
    table.put(["a", "b", "c"])
    source = desk_of(table).claims()
    source.poll(0, 0)
    begin = "BEGIN"
    table.run(begin)
    table.run(f"SELECT id FROM {table.quoted} WHERE id = 2 FOR UPDATE")
    assert ids(source.poll(9, 0).messages) == ["1", "3"]
    table.run("ROLLBACK")
    assert ids(source.poll(9, 0).messages) == ["2"]


def test_a_held_row_of_an_earlier_life_keeps_nobody_waiting(table: JobTable, desk_of: Desks):
    """The others are taken over, and what waits is claimed; it is taken over later."""
    table.put(["a", "b"])
    desk = desk_of(table)
    desk.claims().poll(9, 0)
    table.put(["c"])
    table.run("BEGIN")
    table.run(f"SELECT id FROM {table.quoted} WHERE id = 1 FOR UPDATE")
    source = desk.claims()
    assert ids(source.poll(9, 0).messages) == ["2"]
    assert ids(source.poll(9, 0).messages) == ["3"]
    table.run("ROLLBACK")
    assert ids(desk.claims().poll(9, 0).messages) == ["1", "2", "3"]


def test_a_row_that_is_committed_late(table: JobTable, desk_of: Desks):
    """After rows with higher keys, and long after it was made: it is taken, and it is followed."""
    desk = desk_of(table)
    claims, follows = desk.claims(), desk.follows()
    table.run("BEGIN")
    table.put(["late"])
    other: Any = table.again()
    other.put(["b", "c"])
    assert ids(claims.poll(9, 0).messages) == ["2", "3"]
    assert ids(follows.poll(9, 0).messages) == ["2", "3"]
    desk.known = {"2", "3"}
    desk.clock.now += 60_000_000
    table.run("COMMIT")
    assert ids(claims.poll(9, 0).messages) == ["1"]
    assert ids(follows.poll(9, 0).messages) == ["1"]
    other.close()


def test_threads_of_two_orchestrators(table: JobTable, desk_of: Desks):
    """Each row is claimed once, while rows are being told of by others."""
    table.put([str(n) for n in range(400)])
    found: list[str] = []
    failures: list[Exception] = []

    def read(uid: str) -> None:
        source = desk_of(table).claims(uid)
        try:
            quiet = 0
            while quiet < 3:
                messages = source.poll(7, 0).messages
                found.extend(ids(messages))
                source.acknowledge([told(one, run_id="r", state="succeeded") for one in messages])
                quiet = 0 if messages else quiet + 1
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=read, args=(f"u{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    assert sorted(map(int, found)) == list(range(1, 401))
    assert table.open() == 0


def test_a_rate_on_a_server(table: JobTable, desk_of: Desks):
    """Two sources that look in turn share it, by a clock of the test."""
    table.put([str(n) for n in range(300)])
    desk = desk_of(table)
    sources = [desk.claims(uid, rows_per_second=50) for uid in ("u1", "u2")]
    begun, found = desk.clock.now, 0
    while desk.clock.now < begun + 2_000_000:
        found += sum(len(source.poll(99, 0).messages) for source in sources)
        desk.clock.now += 25_000
    assert 95 <= found <= 110
    table.run(f"DROP TABLE {quoted(table.kind, table.name.schema, 'orch_pace')}")
    desk.clock.now += 1_000_000
    with pytest.raises(SourceRefused, match="needs the table orch_pace"):
        sources[0].poll(9, 0)


def test_postgres_tells_of_rows(postgres: JobTable, desk_of: Desks):
    """Whoever waits looks at once, long before `every`; a lost connection is made again."""
    source = desk_of(postgres).claims(notify="it's new", every="1h")
    assert source.interval == 0
    assert source.poll(9, 0).messages == []
    for id_ in ("1", "2"):
        timer = threading.Timer(0.2, lambda: postgres.put(["x"]))
        timer.start()
        began = time.monotonic()
        assert ids(source.poll(9, 20).messages) == [id_]
        assert time.monotonic() - began < 15
        timer.join()
    mine = "application_name = 'orch' AND left(query, 6) = 'LISTEN'"
    [(ended,)] = postgres.run(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {mine}"
    )
    assert ended
    with pytest.raises(SourceUnavailable):
        source.poll(9, 20)
    postgres.put(["y"])
    assert ids(source.poll(9, 20).messages) == ["3"]


@pytest.mark.filterwarnings("ignore:Did not recognize type")
def test_values_of_postgres(postgres: JobTable, desk_of: Desks):
    """Whatever stands in a row, it can be read, and becomes JSON."""
    columns = {
        "a": ("timestamptz", "'infinity'", "infinity"),
        "b": ("timestamptz", "'2026-01-02 03:04:05.5+02'", "2026-01-02T01:04:05.5+00:00"),
        "c": ("date", "'12026-01-02'", "12026-01-02"),
        "d": ("numeric", "'12.50'", "12.50"),
        "e": ("numeric", "'NaN'", "NaN"),
        "f": ("jsonb", "'{\"n\": 1e400}'", None),
        "g": ("json", "'[1, {\"x\": null}]'", [1, {"x": None}]),
        "h": ("bytea", "'\\x00ff'", "AP8="),
        "i": ("text[]", "'{a,\"b c\"}'", ["a", "b c"]),
        "j": ("int4range", "'[1,5)'", "[1,5)"),
        "k": ("uuid", "'6f1ed002-ab59-4c5b-9a3d-1e1c6c4f7a11'", None),
        "l": ("interval", "'1 day 2 seconds'", "1 day 00:00:02"),
        "m": ("float8", "'-Infinity'", "-Infinity"),
        "n": ("boolean", "true", True),
        "o": ("point", "'(1,2)'", "(1,2)"),
        "p": ("bigint", "9223372036854775807", 2**63 - 1),
    }
    made = ", ".join(f"ADD COLUMN {name} {kind}" for name, (kind, _, _) in columns.items())
    postgres.run(f"ALTER TABLE {postgres.quoted} {made}")
    values = ", ".join(value for _, value, _ in columns.values())
    postgres.run(f"INSERT INTO {postgres.quoted} ({', '.join(columns)}) VALUES ({values})")
    [message] = desk_of(postgres).claims(columns=list(columns)).poll(9, 0).messages
    for name, (_, _, expected) in columns.items():
        assert expected is None or message.body[name] == expected, name
    assert isinstance(message.body["f"], str)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("uuid", ["6f1ed002-ab59-4c5b-9a3d-1e1c6c4f7a11"]),
        ("text", ["b c", 'x"', ""]),
        ("char(5)", ["ab   ", "abcde"]),
        ("varchar(9)", ["ab", "ab "]),
    ],
)
def test_keys_of_postgres(postgres: JobTable, desk_of: Desks, kind: str, values: list[str]):
    """UUIDs and texts, of any length or padded to one, claimed and finished, and followed."""
    states = ", ".join(f"{name} timestamptz" for name in ("q", "f", "c"))
    postgres.run(f"CREATE TABLE app.other (k {kind} PRIMARY KEY, {states}, who text)")
    for value in values:
        postgres.run("INSERT INTO app.other (k) VALUES (?)", value)
    named: dict[str, Any] = {"queued_at": "q", "finished_at": "f", "cancelled_at": "c"}
    named |= {"claimed_by": "who"}
    named |= dict.fromkeys(("created_at", "started_at", "run_id", "reason"))
    desk = desk_of(postgres)
    source = desk.claims(table="app.other", key="k", states=named)
    messages = source.poll(9, 0).messages
    assert sorted(str(one.body["k"]) for one in messages) == sorted(values)
    source.acknowledge([told(one, state="succeeded") for one in messages])
    assert postgres.run("SELECT count(*) FROM app.other WHERE f IS NULL") == [(0,)]
    follows = desk.follows(table="app.other", key="k")
    for room in (1, 9):
        desk.known |= set(ids(follows.poll(room, 0).messages))
    assert len(desk.known) == len(values)


def test_values_of_mariadb(maria: JobTable, desk_of: Desks):
    """Dates that are none, bytes, decimals, JSON that is a text; a key of bytes."""
    maria.run("SET sql_mode = ''")
    maria.run(
        "CREATE TABLE other (k binary(2) PRIMARY KEY, z datetime, b blob, d decimal(10,2), j json,"
        " t time, q datetime, f datetime, c datetime, who varchar(100))"
    )
    maria.run(
        "INSERT INTO other (k, z, b, d, j, t) VALUES"
        " (X'01FF', '0000-00-00', X'00FF', 12.5, '{\"a\": [1]}', '-25:00:01')"
    )
    named: dict[str, Any] = {"queued_at": "q", "finished_at": "f", "cancelled_at": "c"}
    named |= {"claimed_by": "who"}
    named |= dict.fromkeys(("created_at", "started_at", "run_id", "reason"))
    source = desk_of(maria).claims(
        table="other", key="k", states=named, json_columns=["j"], where={"d": "12.50"}
    )
    [message] = source.poll(9, 0).messages
    assert message.id == "01ff"
    assert message.body == {
        "k": "Af8=",
        "z": "0000-00-00 00:00:00",
        "b": "AP8=",
        "d": "12.50",
        "j": {"a": [1]},
        "t": -90001.0,
    }
    source.acknowledge([told(message, state="succeeded")])
    assert maria.run("SELECT f IS NULL FROM other") == [(0,)]


def _refusal(desk: Desk, **more: Any) -> str:
    with pytest.raises(SourceRefused) as raised:
        desk.claims(**more).poll(9, 0)
    said = str(raised.value)
    assert not any(secret in said for secret in SECRETS.values())
    assert said.isprintable()
    return said


def test_what_is_not_there(table: JobTable, desk_of: Desks):
    """Said so that a person knows what to do."""
    desk = desk_of(table)
    assert "there is no such table: `orch table-sql`" in _refusal(desk, table="absent")
    assert "has no column 'nr'" in _refusal(desk, key="nr")
    assert "has no column 'a', 'b'" in _refusal(desk, states={"queued_at": "a", "run_id": "b"})
    table.run(f"ALTER TABLE {table.quoted} ADD COLUMN number bigint")
    assert "BIGINT: it must be a time" in _refusal(desk, states={"queued_at": "number"})
    assert "neither its primary key nor unique" in _refusal(
        desk, key="reason", states={"reason": None}
    )
    assert "must be a whole number, a text or a UUID" in _refusal(
        desk, key="created_at", states={"created_at": None}
    )
    database = table.settings()["dsn"]
    other = str(database).replace("orch_test", "absent_test")
    assert "absent_test" in _refusal(desk, dsn=other)
    table.run(f"ALTER TABLE {table.quoted} DROP COLUMN reason")
    source = desk.claims(states={"reason": None})
    assert source.poll(1, 0).messages == []


def test_rights(maria: JobTable, mariadb: MariaDb, desk_of: Desks):
    """A wrong password, a secret that is not set, a user who may only read."""
    database = str(maria.settings()["dsn"]).rpartition("/")[2]
    mariadb.ask("CREATE USER IF NOT EXISTS 'reads'@'127.0.0.1' IDENTIFIED BY 's3cret'")
    mariadb.ask(f"GRANT SELECT ON {database}.* TO 'reads'@'127.0.0.1'")
    maria.put(["a"])
    reads = f"mysql://reads@127.0.0.1:{mariadb.port}/{database}"
    desk = desk_of(maria)
    assert "denied" in _refusal(desk, dsn=reads)
    assert ids(desk.follows(dsn=reads).poll(9, 0).messages) == ["1"]
    assert "there is no secret 'NONE'" in _refusal(desk, password={"secret": "NONE"})
    SECRETS["WRONG"] = "hunter2"
    assert "Access denied" in _refusal(desk, password={"secret": "WRONG"})
    del SECRETS["WRONG"]


def test_a_server_that_is_killed(tmp_path: Any, desk_of: Desks):
    """It is away, says the source, which goes on when it is there again, with what it had."""
    server = MariaDb()
    try:
        table = JobTable.mariadb(server)
        table.put(["a", "b", "c"])
        source = desk_of(table).claims()
        [first] = source.poll(1, 0).messages
        server.kill()
        for tell in (lambda: source.poll(9, 0), lambda: source.acknowledge([told(first)])):
            with pytest.raises(SourceUnavailable):
                tell()
        server.start()
        found = until(lambda: _soon(source), "rows come again", within=30)
        assert "1" in found  # it was begun anew, because nobody could know
    finally:
        server.close()


def _soon(source: Any) -> list[str]:
    try:
        return ids(source.poll(9, 0).messages)
    except SourceUnavailable:
        return []


def test_a_server_that_stands_still(
    postgres: JobTable, desk_of: Desks, monkeypatch: pytest.MonkeyPatch
):
    """Closing does not wait for an answer that does not come."""
    with psycopg.connect(str(postgres.settings()["dsn"])) as holder:
        monkeypatch.setattr(database, "_SESSION", (("timezone", "UTC"),))
        holder.execute("LOCK TABLE app.jobs IN ACCESS EXCLUSIVE MODE")
        raised: list[Exception] = []

        waiting = desk_of(postgres).claims()

        def wait() -> None:
            try:
                waiting.poll(9, 0)
            except Exception as error:
                raised.append(error)

        thread = threading.Thread(target=wait)
        thread.start()
        waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        until(lambda: postgres.run(waits), "it waits", within=20)
        waiting.close()
        thread.join(20)
        assert not thread.is_alive()
        [error] = raised
        assert isinstance(error, SourceUnavailable)
        holder.rollback()
