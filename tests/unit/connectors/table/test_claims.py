"""Claiming rows and writing back what became of them, on SQLite."""

from __future__ import annotations

import sqlite3
import threading
from typing import Any

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from connectors.streams import SourceRefused, SourceUnavailable
from tests.support.jobtable import JobTable
from tests.support.tabledesk import NOW, Desk, ids, told


def test_a_row_is_claimed_and_finished(table: JobTable, desk: Desk):
    """With the moments and the run that the ledger has."""
    table.put(["a"])
    source = desk.claims(json_columns=["payload"])
    [message] = source.poll(10, 0).messages
    assert message.body["payload"] == {"text": "a"}
    assert "claimed_by" not in message.body
    [(queued, claim)] = table.rows("queued_at", "claimed_by")
    assert queued == "2030-03-17 17:46:40.000000"
    assert claim == message.receipt
    assert claim.startswith("orch/i1/u1/")
    ended = told(message, run_id="r1", state="succeeded", started_at=NOW, ended_at=NOW + 2_000_000)
    for _ in range(2):  # telling twice changes nothing
        assert list(source.acknowledge([ended])) == ["1"]
        desk.clock.now += 60_000_000
    assert table.rows("started_at", "finished_at", "cancelled_at", "run_id", "reason") == [
        ("2030-03-17 17:46:40.000000", "2030-03-17 17:46:42.000000", None, "r1", None)
    ]


def test_the_oldest_rows_go_first(table: JobTable, desk: Desk):
    """By when they were made, then by their key; not more than there is room for."""
    table.put(["a", "b", "c", "d"])
    table.run(f"UPDATE {table.quoted} SET created_at = '2020-01-01 00:00:00' WHERE id = 3")
    source = desk.claims()
    assert ids(source.poll(2, 0).messages) == ["3", "1"]
    assert ids(source.poll(9, 0).messages) == ["2", "4"]
    assert source.poll(9, 0).messages == []


def test_when_a_row_was_made(table: JobTable, desk: Desk):
    """Its event has that moment, and none that is to come."""
    table.put(["a", "b", "c"])
    moments = {1: "2020-01-01 00:00:01.5", 2: "2999-01-01T00:00:00Z", 3: "yesterday"}
    for id_, text in moments.items():
        table.run(f"UPDATE {table.quoted} SET created_at = ? WHERE id = ?", text, id_)
    found = {m.id: m.at for m in desk.claims().poll(9, 0).messages}
    assert found == {"1": 1_577_836_801_500_000, "2": NOW, "3": NOW}


@pytest.mark.parametrize("column", ["queued_at", "finished_at", "cancelled_at"])
def test_only_rows_that_wait_are_taken(table: JobTable, desk: Desk, column: str):
    """What the publisher has cancelled before it was claimed never becomes a run."""
    table.put(["a", "b"])
    table.run(f"UPDATE {table.quoted} SET {column} = '2020-01-01' WHERE id = 1")
    assert ids(desk.claims().poll(9, 0).messages) == ["2"]


def test_a_row_that_is_committed_late_is_taken(table: JobTable, desk: Desk):
    """However many with higher keys were taken before it."""
    table.run(f"INSERT INTO {table.quoted} (id) VALUES (100)")
    source = desk.claims()
    assert ids(source.poll(9, 0).messages) == ["100"]
    table.run(f"INSERT INTO {table.quoted} (id, created_at) VALUES (7, '1999-01-01')")
    assert ids(source.poll(9, 0).messages) == ["7"]


def test_dead_and_cancelled_runs_cancel_their_rows(table: JobTable, desk: Desk):
    """With the reason, cut to what a column holds, on one line."""
    table.put(["a", "b", "c"])
    source = desk.claims()
    first, second, third = source.poll(9, 0).messages
    source.acknowledge(
        [
            told(first, run_id="r1", state="dead", reason="exit 3\n" + "x" * 900, ended_at=NOW),
            told(second, run_id="r2", state="cancelled", reason="by hand", ended_at=NOW),
            told(third, run_id="r3", state="skipped", ended_at=NOW),
        ]
    )
    rows = table.rows("run_id", "finished_at", "cancelled_at", "reason")
    at = "2030-03-17 17:46:40.000000"
    assert rows[0][:3] == ("r1", None, at)
    assert rows[0][3].startswith("dead: exit 3 xx")
    assert len(rows[0][3]) == 500
    assert rows[1:] == [("r2", None, at, "cancelled: by hand"), ("r3", None, at, "skipped")]


def test_a_run_that_succeeds_after_all_finishes_its_row(table: JobTable, desk: Desk):
    """It was dead, and somebody has let it run again."""
    table.put(["a"])
    source = desk.claims()
    [message] = source.poll(9, 0).messages
    source.acknowledge([told(message, run_id="r1", state="dead", reason="exit 3", ended_at=NOW)])
    source.acknowledge([told(message, run_id="r1", state="succeeded", ended_at=NOW + 1)])
    [(finished, cancelled, reason)] = table.rows("finished_at", "cancelled_at", "reason")
    assert (finished, cancelled, reason) == ("2030-03-17 17:46:40.000001", None, None)


def test_rows_in_runs_are_told_of_once(table: JobTable, desk: Desk):
    """The run at first, and that it has started; the same news is not written again."""
    table.put(["a"])
    source = desk.claims()
    [message] = source.poll(9, 0).messages
    assert list(source.extend([told(message, run_id="r1", state="pending")])) == []
    assert table.rows("run_id", "started_at") == [("r1", None)]
    running = told(message, run_id="r1", state="running", started_at=NOW)
    source.extend([running])
    assert table.rows("run_id", "started_at") == [("r1", "2030-03-17 17:46:40.000000")]
    table.run(f"UPDATE {table.quoted} SET started_at = NULL")
    source.extend([running])
    assert table.rows("started_at") == [(None,)]


def test_what_a_run_left_undone_waits_again(table: JobTable, desk: Desk):
    """Until it has come back too often: then it is cancelled."""
    table.put(["a"])
    source = desk.claims(max_returns=1)
    [message] = source.poll(9, 0).messages
    source.extend([told(message, run_id="r1", started_at=NOW)])
    assert list(source.give_back([told(message, run_id="r1", round=1)])) == ["1"]
    cleared = table.rows("queued_at", "started_at", "claimed_by", "run_id", "cancelled_at")
    assert cleared == [(None,) * 5]
    [again] = source.poll(9, 0).messages
    source.give_back([told(again, run_id="r2", round=2, ended_at=NOW)])
    [(reason, cancelled)] = table.rows("reason", "cancelled_at")
    assert reason == "not handled by 2 runs, the last of which succeeded otherwise"
    assert cancelled is not None
    assert source.poll(9, 0).messages == []


def test_another_claim_is_not_touched(table: JobTable, desk: Desk):
    """Whoever has an old receipt changes nothing, and is told that nothing is left to do."""
    table.put(["a"])
    source = desk.claims()
    [message] = source.poll(9, 0).messages
    table.run(f"UPDATE {table.quoted} SET claimed_by = 'somebody'")
    delivery = told(message, run_id="r1", state="succeeded", started_at=NOW)
    for tell in (source.acknowledge, source.give_back):
        assert list(tell([delivery])) == ["1"]
    source.extend([delivery])
    assert table.rows("claimed_by", "finished_at", "run_id") == [("somebody", None, None)]


def test_the_next_life_takes_over(table: JobTable, desk: Desk):
    """What was claimed and not finished comes first, again and again, with a receipt that counts;
    what others have claimed does not."""
    table.put(["a", "b", "c"])
    lost = desk.claims()
    [message] = lost.poll(1, 0).messages
    other = desk.claims("u10")
    assert ids(other.poll(1, 0).messages) == ["2"]
    for _ in range(2):
        [again] = desk.claims().poll(5, 0).messages
        assert (again.id, again.body) == (message.id, message.body)
        assert again.receipt != message.receipt
    source = desk.claims()
    [again] = source.poll(5, 0).messages
    assert ids(source.poll(5, 0).messages) == ["3"]
    lost.acknowledge([told(message)])
    assert table.open() == 3
    source.acknowledge([told(again)])
    assert table.open() == 2


def test_a_claim_of_which_nobody_heard_the_end(
    table: JobTable, desk: Desk, monkeypatch: pytest.MonkeyPatch
):
    """It was done, and the answer was lost: the same rows are handed over at the next look."""
    table.put(["a", "b"])
    source = desk.claims()
    commit = Connection.commit
    lost: list[str] = []

    def commits(connection: Connection) -> None:
        commit(connection)
        if table.open() and table.rows("claimed_by")[0] != (None,) and not lost:
            lost.append("the answer")
            raise OperationalError("COMMIT", None, sqlite3.OperationalError("disk I/O error"))

    monkeypatch.setattr(Connection, "commit", commits)
    with pytest.raises(SourceUnavailable):
        source.poll(9, 0)
    assert lost
    messages = source.poll(9, 0).messages
    assert ids(messages) == ["1", "2"]
    source.acknowledge([told(one) for one in messages])
    assert table.open() == 0


def test_closing_lets_others_have_what_is_in_no_run(table: JobTable, desk: Desk):
    """What the inbox knows stays claimed."""
    table.put(["a", "b", "c"])
    source = desk.claims()
    assert len(source.poll(2, 0).messages) == 2
    desk.known = {"2"}
    source.close()
    waiting = table.rows("id", where="queued_at IS NULL AND claimed_by IS NULL")
    assert waiting == [(1,), (3,)]


def test_closing_gives_back_nothing_of_the_next_life(table: JobTable, desk: Desk):
    """Which has taken over what this one had."""
    table.put(["a"])
    old, new = desk.claims(), desk.claims()
    old.poll(1, 0)
    [message] = new.poll(1, 0).messages
    old.close()
    assert table.rows("claimed_by") == [(message.receipt,)]


def test_conditions(table: JobTable, desk: Desk):
    """Of a column one value or any of several; the others stay for somebody else."""
    table.run(f"ALTER TABLE {table.quoted} ADD COLUMN kind text")
    for kind in ("a", "b", "c", None):
        table.run(f"INSERT INTO {table.quoted} (kind) VALUES (?)", kind)
    assert ids(desk.claims(where={"kind": ["a", "b"], "id": [2, 3, 4]}).poll(9, 0).messages) == [
        "2"
    ]
    assert ids(desk.claims("u2", where={"kind": "c"}).poll(9, 0).messages) == ["3"]


def test_names_are_quoted(desk: Desk, tmp_path: Any):
    """Whatever a publisher calls things: nothing of it is read as SQL."""
    strange = 'my "jobs"; DROP TABLE x --'
    table = JobTable.sqlite(tmp_path, make=False)
    key, state = 'the "key" %s', "it's: queued"
    quoted_key, quoted_state = f'"{key.replace(chr(34), chr(34) * 2)}"', f'"{state}"'
    table.run(
        f'CREATE TABLE "{strange.replace(chr(34), chr(34) * 2)}" ({quoted_key} integer PRIMARY KEY,'
        f' {quoted_state} timestamp, f timestamp, c timestamp, who text, "select" text)'
    )
    table.run(f'INSERT INTO "{strange.replace(chr(34), chr(34) * 2)}" ("select") VALUES (?)', "x")
    states = {"queued_at": state, "finished_at": "f", "cancelled_at": "c", "claimed_by": "who"}
    none = dict.fromkeys(("created_at", "started_at", "run_id", "reason"))
    odd = Desk(table, tmp_path / "odd")
    source = odd.claims(table=strange, key=key, states={**states, **none})
    [message] = source.poll(9, 0).messages
    assert message.body == {key: 1, "select": "x"}
    source.extend([told(message, run_id="r1", started_at=NOW)])
    source.acknowledge([told(message, run_id="r1", state="dead", reason="why", ended_at=NOW)])
    [(cancelled,)] = table.run(f'SELECT c FROM "{strange.replace(chr(34), chr(34) * 2)}"')
    assert cancelled is not None
    odd.close()
    table.close()


def _own_table(table: JobTable, name: str, key: str, claimed_by: str = "text") -> dict[str, Any]:
    """A table without an extra; the settings that read it."""
    table.run(
        f"CREATE TABLE {name} (k {key}, queued_at text, finished_at text, cancelled_at text,"
        f" claimed_by {claimed_by}, reason varchar(20))"
    )
    none = dict.fromkeys(("created_at", "started_at", "run_id"))
    return {"table": name, "key": "k", "states": none}


def test_a_row_whose_key_makes_no_id_stands_in_nobodys_way(table: JobTable, desk: Desk):
    """It is cancelled, and says why; one without any key is left alone, since nothing could be
    told about it."""
    settings = _own_table(table, "odd", "INT PRIMARY KEY")
    for key in (None, "abc", 3.5, 7):
        table.run("INSERT INTO odd (k) VALUES (?)", key)
    source = desk.claims(**settings)
    assert ids(source.poll(9, 0).messages) == ["7"]
    assert source.poll(9, 0).messages == []
    assert table.run("SELECT k, reason FROM odd WHERE cancelled_at IS NOT NULL ORDER BY k") == [
        (3.5, "its key is no whole "),
        ("abc", "its key is no whole "),
    ]
    assert table.run("SELECT queued_at FROM odd WHERE k IS NULL") == [(None,)]
    source.close()
    followed = {"table": "odd", "key": "k"}
    with pytest.raises(SourceRefused, match="its key is no whole number but float"):
        desk.follows(**followed).poll(9, 0)


def test_a_reason_fits_its_column(table: JobTable, desk: Desk):
    """However long it is; otherwise a row would never be told of."""
    source = desk.claims(**_own_table(table, "brief", "INTEGER PRIMARY KEY"))
    table.run("INSERT INTO brief (k) VALUES (1)")
    [message] = source.poll(9, 0).messages
    source.acknowledge([told(message, state="dead", reason="x" * 100, ended_at=NOW)])
    assert table.run("SELECT reason FROM brief") == [("dead: xxxxxxxxxxxxxx",)]


def test_a_column_that_is_too_short_for_a_claim(table: JobTable, desk: Desk):
    """A database that cuts texts off would leave rows of which nobody knows whose they are."""
    settings = _own_table(table, "short", "INTEGER PRIMARY KEY", claimed_by="varchar(20)")
    with pytest.raises(SourceRefused, match="'claimed_by' is too short: 60 characters"):
        desk.claims(**settings).poll(9, 0)


def test_nothing_is_forgotten_before_claims_are_taken_over(table: JobTable, desk: Desk):
    """However long orch was away: a row that an earlier life has claimed may have had its run."""
    table.put(["a", "b"])
    desk.claims().poll(9, 0)
    source = desk.claims()
    assert source.forget_before(None) == 0
    while source.poll(1, 0).messages:
        assert source.forget_before(None) == 0
    assert source.forget_before(None) is None


def test_lag_is_what_waits(table: JobTable, desk: Desk):
    """Counted now and then; nothing is known before the first look."""
    table.put(["a", "b", "c"])
    source = desk.claims()
    assert source.lag() is None
    source.poll(1, 0)
    assert source.lag() == 3


def test_two_threads_claim_each_row_once(table: JobTable, desk: Desk):
    """As do two orchestrators: nothing is handed over twice."""
    table.put([str(n) for n in range(300)])
    found: list[str] = []
    failures: list[Exception] = []

    def read(uid: str) -> None:
        source = desk.claims(uid)
        try:
            while messages := source.poll(7, 0).messages:
                found.extend(ids(messages))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=read, args=(f"u{n}",)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    assert sorted(map(int, found)) == list(range(1, 301))
