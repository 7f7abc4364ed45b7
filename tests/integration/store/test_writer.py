"""Group commit: many operations, one transaction, and nobody falls for another."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from orchestrator.domain.signals import Signal, Topic
from orchestrator.store.database import set_meta
from orchestrator.store.errors import Unavailable
from orchestrator.store.schema import meta
from orchestrator.store.writer import Tx
from tests.support.ledger import Ledger


class Gate:
    """Holds the writer in one operation, so that what is submitted meanwhile is one batch."""

    def __init__(self, ledger: Ledger) -> None:
        self._entered, self._open = threading.Event(), threading.Event()
        self._future = ledger.db.submit(self._wait, "test")
        assert self._entered.wait(10)

    def _wait(self, _tx: Tx) -> None:
        self._entered.set()
        assert self._open.wait(10)

    def open(self) -> None:
        self._open.set()
        self._future.result(10)


def put(key: str, value: str = "1") -> Callable[[Tx], str]:
    def operation(tx: Tx) -> str:
        tx.conn.execute(sa.insert(meta).values(key=key, value=value))
        return key

    return operation


def test_an_operation_that_fails_takes_no_other_with_it(ledger: Ledger) -> None:
    """Failures of Python and of the database, in the middle of a batch, undo only themselves."""

    def fail(tx: Tx) -> None:
        set_meta(tx.conn, "undone", "x")
        raise ValueError("no")

    gate = Gate(ledger)
    futures: list[Future[object]] = [
        ledger.db.submit(operation, "test")
        for operation in (put("a"), fail, put("b"), put("a", "2"), put("c"))
    ]
    gate.open()
    outcomes = [future.exception(10) for future in futures]
    assert [type(outcome) for outcome in outcomes] == [
        type(None),
        ValueError,
        type(None),
        IntegrityError,
        type(None),
    ]
    assert [ledger.db.meta(key) for key in ("a", "b", "c", "undone")] == ["1", "1", "1", None]


def test_a_lone_operation_that_fails_is_undone(ledger: Ledger) -> None:
    """The same without companions."""

    def fail(tx: Tx) -> None:
        set_meta(tx.conn, "undone", "x")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        ledger.db.write(fail, "test")
    assert ledger.db.meta("undone") is None
    assert ledger.db.write(put("a"), "test") == "a"


def test_results_come_after_the_commit(sqlite_ledger: Ledger) -> None:
    """Who has a result finds it in the store; who was woken finds the result noted."""
    ledger = sqlite_ledger
    heard = Signal()
    ledger.db.signals.listen(heard, [Topic.READY])
    seen: list[tuple[str | None, int]] = []

    def operation(tx: Tx) -> None:
        put("k")(tx)
        tx.notify(Topic.READY)

    future = ledger.db.submit(operation, "test")
    future.add_done_callback(lambda _: seen.append((ledger.db.meta("k"), heard.seen())))
    future.result(10)
    ledger.db.write(lambda _: None, "test")
    assert seen == [("1", 0)]
    assert heard.seen() == 1


def test_what_failed_wakes_nobody(sqlite_ledger: Ledger) -> None:
    """A signal belongs to its operation's success."""
    ledger = sqlite_ledger
    heard = Signal()
    ledger.db.signals.listen(heard, list(Topic))

    def operation(tx: Tx) -> None:
        tx.notify(Topic.READY)
        raise ValueError("no")

    before = heard.seen()
    with pytest.raises(ValueError, match="no"):
        ledger.db.write(operation, "test")
    assert heard.seen() == before


def test_concurrent_submitters(ledger: Ledger) -> None:
    """Every result goes to the one who asked, and every write is there."""
    wrong: list[str] = []

    def work(name: int) -> None:
        keys = [f"{name}-{n}" for n in range(50)]
        futures = [(key, ledger.db.submit(put(key), "test")) for key in keys]
        wrong.extend(key for key, future in futures if future.result(30) != key)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert ledger.scalar("SELECT count(*) FROM meta WHERE value = '1'") == 400


def test_closing(ledger: Ledger) -> None:
    """What was submitted is finished; afterwards nothing is taken. Twice is once."""
    future = ledger.db.submit(put("last"), "test")
    ledger.db.close()
    assert future.result(0) == "last"
    ledger.db.close()
    with pytest.raises(Unavailable):
        ledger.db.submit(put("later"), "test")


def test_a_read_is_one_view(open_ledger: Callable[..., Ledger]) -> None:
    """Two questions of one `read` see the same store, whatever is committed between them."""
    ledger = open_ledger()
    question = sa.select(sa.func.count()).select_from(meta)
    with ledger.db.read() as conn:
        before = conn.scalar(question)
        ledger.db.write(put("new"), "test")
        assert conn.scalar(question) == before
    with ledger.db.read() as conn:
        assert conn.scalar(question) == (before or 0) + 1


def test_transactions_that_collide_are_repeated(open_ledger: Callable[..., Ledger]) -> None:
    """Two orchestrators that change the same rows in opposite orders both succeed."""
    ledgers = [open_ledger("one"), open_ledger("other")]
    ledgers[0].db.write(put("x", "0"), "test")
    ledgers[0].db.write(put("y", "0"), "test")

    def add(keys: str) -> Callable[[Tx], None]:
        def operation(tx: Tx) -> None:
            for key in keys:
                value = tx.conn.scalar(
                    sa.select(meta.c.value).where(meta.c.key == key).with_for_update()
                )
                set_meta(tx.conn, key, str(int(value or "0") + 1))

        return operation

    for _ in range(20):
        futures = [
            ledgers[0].db.submit(add("xy"), "test"),
            ledgers[1].db.submit(add("yx"), "test"),
        ]
        for future in futures:
            future.result(30)
    assert [ledgers[0].db.meta(key) for key in "xy"] == ["40", "40"]


def test_patient_operations_wait_for_others(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One alone is committed at once; the next ones wait, until another operation will not."""
    monkeypatch.setattr("orchestrator.store.writer._APART", 60.0)
    assert ledger.db.submit(put("a"), "test", patient=True).result(10) == "a"
    waiting = [ledger.db.submit(put(key), "test", patient=True) for key in "bc"]
    assert not any(future.done() for future in waiting)
    assert ledger.db.write(put("d"), "test") == "d"
    assert [future.result(0) for future in waiting] == ["b", "c"]


def test_the_end_waits_for_nobody(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Patient operations are committed when the store is closed."""
    monkeypatch.setattr("orchestrator.store.writer._APART", 60.0)
    ledger.db.submit(put("a"), "test", patient=True).result(10)
    last = ledger.db.submit(put("b"), "test", patient=True)
    ledger.db.close()
    assert last.result(0) == "b"
