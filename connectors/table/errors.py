"""What the errors of databases and their drivers mean for a trigger."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from sqlalchemy import exc

from connectors.streams import SourceError, SourceRefused, SourceUnavailable

_LONGEST = 300  # characters of what a database says
_REFUSED_CONNECTION = re.compile(
    r"password authentication failed|no password supplied|pg_hba\.conf|does not exist"
    r"|not permitted|authentication|certificate verify failed",
    re.IGNORECASE,
)
# SQLSTATE: classes of faults that pass, and one of a server that only reads (a failover).
_PASSING = ("08", "40", "53", "55", "57", "58")
_READS_ONLY = "25006"
# MySQL: no more connections, server goes away, lost, lock wait, deadlock, reads only.
_PASSING_CODES = frozenset({1040, 1053, 1203, 1205, 1213, 1290, 1792, 1836, 2006, 2013, 2055})
_CANNOT_CONNECT = frozenset({2002, 2003, 2005, 2026})
_HERE = re.compile(r"locked|busy|interrupted|disk i/o", re.IGNORECASE)


def translate(error: Exception, place: str, secrets: Collection[str] = ()) -> SourceError | None:
    """The error of the contract that this is; None for one that nobody has thought of. `place`
    says where, and no value of `secrets` is shown."""
    if isinstance(error, SourceError):
        return error
    if isinstance(error, ModuleNotFoundError):
        extra = "mysql" if error.name == "pymysql" else "postgres"
        return SourceRefused(
            f"{place}: {error.name} is not installed: pip install 'orch-bacalhau[{extra}]'"
        )
    if isinstance(error, exc.NoSuchTableError):
        return SourceRefused(f"{place}: there is no such table: `orch table-sql` prints one")
    if isinstance(error, (exc.TimeoutError, exc.PendingRollbackError)):
        return SourceUnavailable(f"{place} does not answer")
    original: Any = error.orig if isinstance(error, exc.DBAPIError) else error
    module = type(original).__module__.partition(".")[0]
    if module not in _PASSES and not isinstance(error, exc.StatementError):
        return _of_the_system(error, place)
    said = f"{place}: {_said(original, secrets)}"
    if module in _PASSES and _PASSES[module](original):
        return SourceUnavailable(said)
    return SourceRefused(said)


def _of_the_system(error: Exception, place: str) -> SourceError | None:
    if isinstance(error, OSError):  # a certificate that is not there, a connection that is cut
        return SourceUnavailable(f"{place}: {error.strerror or type(error).__name__}")
    return None


def _passes_postgres(error: Any) -> bool:
    state = getattr(error, "sqlstate", None)
    if state is None:  # libpq itself: no connection, or none any more
        return not _REFUSED_CONNECTION.search(str(error)) and _is(error, "OperationalError")
    return state[:2] in _PASSING or state == _READS_ONLY


def _passes_mysql(error: Any) -> bool:
    code = error.args[0] if error.args else None
    if code in _CANNOT_CONNECT:
        return not _REFUSED_CONNECTION.search(str(error))
    return code in _PASSING_CODES or _is(error, "InterfaceError")


def _passes_sqlite(error: Any) -> bool:
    return _is(error, "OperationalError") and bool(_HERE.search(str(error)))


_PASSES = {"psycopg": _passes_postgres, "pymysql": _passes_mysql, "sqlite3": _passes_sqlite}


def _is(error: Any, name: str) -> bool:
    return any(kind.__name__ == name for kind in type(error).__mro__)


def _said(error: Any, secrets: Collection[str]) -> str:
    """The first line of what it says: the others repeat the statement."""
    words = error.args[1] if len(error.args) > 1 and isinstance(error.args[1], str) else str(error)
    line = words.strip().partition("\n")[0]
    for secret in secrets:
        line = line.replace(secret, "…") if secret else line
    line = "".join(one if one.isprintable() else " " for one in line)
    return line[:_LONGEST] or type(error).__name__
