"""Group commit: one thread writes, many operations share a transaction and its fsync.

A commit costs the disk's fsync (about a millisecond), whatever it holds. Operations that arrive
while one commit is under way are carried out together in the next. Each stands behind a savepoint,
so that one that fails takes no other with it.

Under load an operation for which nobody waits lets others join it: commits that hold nothing else
are a little apart, which costs the one alone nothing.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import InterfaceError, OperationalError

from orchestrator import metrics
from orchestrator.domain.signals import Signals, Topic
from orchestrator.failpoints import reach
from orchestrator.store.errors import Unavailable

T = TypeVar("T")

_MAX_BATCH = 128  # operations a transaction; keeps the wait of the first one bounded
_APART = 0.05  # seconds between two commits of patient operations alone


@dataclass
class Tx:
    """A transaction under way: its connection, and whom to wake once it is committed."""

    conn: Connection
    topics: set[Topic] = field(default_factory=set[Topic])

    def notify(self, *topics: Topic) -> None:
        """Wake the listeners of `topics` after the commit, and only then."""
        self.topics.update(topics)


@dataclass
class _Item:
    label: str
    operation: Callable[[Tx], Any]
    future: Future[Any]
    patient: bool


class Writer:
    """Runs operations in order on one connection, in as few commits as their arrival allows."""

    def __init__(
        self,
        engine: Engine,
        signals: Signals,
        publish: Callable[[Connection, set[Topic]], None],
        committed: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._signals = signals
        self._publish = publish
        self._committed = committed
        self._items: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._loop, name="store-writer", daemon=True)
        self._thread.start()

    def submit(
        self,
        operation: Callable[[Tx], T],
        label: str,
        then: Callable[[Future[T]], None] | None = None,
        *,
        patient: bool = False,
    ) -> Future[T]:
        """Carry out `operation` in a transaction to come; a `patient` one may wait for others.

        The future has its result once the transaction is committed. It is called again if another
        orchestrator's transaction went first, so it must keep no state outside of its own. `then`
        is called with the future before anyone is woken, in the writer's thread.
        """
        future: Future[T] = Future()
        if then is not None:
            future.add_done_callback(then)
        with self._lock:
            if self._closed:
                raise Unavailable("the store is closed")
            self._items.put(_Item(label, operation, future, patient))
        return future

    def close(self) -> None:
        """Finish what was submitted and end the thread. May be called twice."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._items.put(None)
        self._thread.join()

    def _loop(self) -> None:
        open_ = True
        hurried_from = 0.0  # monotonic: from then on patient operations are committed at once
        while open_:
            batch: list[_Item] = []
            item = self._items.get()
            while item is not None:
                batch.append(item)
                if len(batch) == _MAX_BATCH:
                    break
                patient = all(waiting.patient for waiting in batch)
                rest = hurried_from - time.monotonic() if patient else 0.0
                try:
                    item = self._items.get(rest > 0, max(0.0, rest))
                except queue.Empty:
                    break
            open_ = item is not None
            if batch:
                self._commit(batch)
                if any(done.patient for done in batch):
                    hurried_from = time.monotonic() + _APART

    def _commit(self, batch: list[_Item]) -> None:
        for last in (False, False, True):
            if self._try(batch, last=last):
                return

    def _try(self, batch: list[_Item], *, last: bool) -> bool:
        """Carry out a batch. Returns False if the same batch may do better at once."""
        results: list[tuple[_Item, Any, Exception | None]] = []
        topics: set[Topic] = set()
        metrics.commit_operations.inc(len(batch))
        try:
            with metrics.commit_seconds.time(), self._engine.begin() as conn:
                for item in batch:
                    tx = Tx(conn)
                    result, error = self._carry_out(tx, item, alone=len(batch) == 1)
                    results.append((item, result, error))
                    if error is None:
                        topics |= tx.topics
                if topics:
                    self._publish(conn, topics)
                for item in batch:
                    reach(f"commit.{item.label}.before")
        except Exception as error:  # noqa: BLE001  (the callers get it, whatever it is)
            if not last and _collided(error):
                return False
            failure = _translate(error)
            for item in batch:
                item.future.set_exception(failure)
            return True
        for item in batch:
            reach(f"commit.{item.label}.after")
        # Results before signals: who is woken finds what the callers' callbacks have noted.
        for item, result, error in results:
            if error is None:
                item.future.set_result(result)
            else:
                item.future.set_exception(error)
        self._signals.raise_(topics)
        self._committed()
        return True

    def _carry_out(self, tx: Tx, item: _Item, *, alone: bool) -> tuple[Any, Exception | None]:
        if alone:
            return item.operation(tx), None
        tx.conn.exec_driver_sql("SAVEPOINT operation")
        try:
            result = item.operation(tx)
        except Exception as error:
            if isinstance(error, OperationalError | InterfaceError):
                raise
            tx.conn.exec_driver_sql("ROLLBACK TO SAVEPOINT operation")
            tx.conn.exec_driver_sql("RELEASE SAVEPOINT operation")
            return None, error
        tx.conn.exec_driver_sql("RELEASE SAVEPOINT operation")
        return result, None


def _collided(error: Exception) -> bool:
    """Whether PostgreSQL chose this transaction to give way to another (40P01, 40001)."""
    return getattr(getattr(error, "orig", None), "sqlstate", "") in ("40P01", "40001")


def _translate(error: Exception) -> Exception:
    if not isinstance(error, OperationalError | InterfaceError):
        return error
    unavailable = Unavailable(f"the database does not answer: {error.orig}")
    unavailable.__cause__ = error
    return unavailable
