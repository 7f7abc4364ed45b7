"""What differs between databases, as one contract. `sqlite.py` and `postgres.py` fulfil it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, Table

from orchestrator.domain.signals import Topic


class Companion:
    """What works beside the writer; nothing, unless a database needs it."""

    def committed(self) -> None:
        """Called after each commit, by the writer's thread."""
        return

    def close(self) -> None:
        """Called once the writer has ended. May be called twice."""
        return


class Dialect(ABC):
    """One kind of database."""

    name: str

    def __init__(self) -> None:
        self._compiled: dict[tuple[int, tuple[str, ...]], tuple[Any, Any]] = {}

    @abstractmethod
    def engines(self, url: str) -> tuple[Engine, Engine]:
        """Return the engine that writes (one connection) and the one that reads."""

    @abstractmethod
    def lock_claims(self, conn: Connection) -> None:
        """Let one orchestrator at a time claim runs, until the transaction ends."""

    @abstractmethod
    def now(self, conn: Connection) -> int:
        """The clock that leases go by: the database's own where several share it."""

    def execute_many(
        self, conn: Connection, statement: Any, rows: Sequence[Mapping[str, Any]]
    ) -> int:
        """Run a statement once per row of parameters; returns how many rows it matched in all.

        For the paths where thousands of rows a second go by: the statement is compiled once, and
        the driver gets plain values without another look at their types.
        """
        compiled = self._compile(conn, statement, tuple(rows[0]))
        return conn.exec_driver_sql(compiled.string, self._parameters(compiled, rows)).rowcount

    def _compile(self, conn: Connection, statement: Any, keys: tuple[str, ...]) -> Any:
        known = self._compiled.get((id(statement), keys))
        if known is None:
            compiled = statement.compile(dialect=conn.dialect, column_keys=list(keys))
            # The statement is kept with it, so that its id is not given to another.
            known = self._compiled[id(statement), keys] = (compiled, statement)
        return known[0]

    @abstractmethod
    def _parameters(self, compiled: Any, rows: Sequence[Mapping[str, Any]]) -> Any:
        """Rows in the driver's own style, with the constants of the statement."""

    @abstractmethod
    def update_many(
        self, conn: Connection, statement: Any, rows: Sequence[Mapping[str, Any]]
    ) -> list[bool]:
        """Run a conditional UPDATE once per row of parameters; tell for each whether it matched.

        Each update must match one row of the table or none.
        """

    @abstractmethod
    def insert_ignore(
        self, conn: Connection, table: Table, rows: Sequence[Mapping[str, Any]]
    ) -> int:
        """Insert rows, leave out those whose unique keys exist; return how many went in."""

    @abstractmethod
    def publish(self, conn: Connection, topics: set[Topic]) -> None:
        """Tell other orchestrators, once the transaction commits."""

    @abstractmethod
    def subscribe(self, url: str, heard: Callable[[set[Topic]], None]) -> Callable[[], None]:
        """Hear what other orchestrators publish; returns what ends it."""

    @abstractmethod
    def announces(self, conn: Connection) -> bool:
        """Whether the database writes a row of `announcements` for each run that changes."""

    @abstractmethod
    def announcing(self, on: bool) -> Sequence[str]:
        """The statements that make it do so, or no more."""

    def companion(self, url: str) -> Companion:
        """Start what works beside the writer."""
        return Companion()
