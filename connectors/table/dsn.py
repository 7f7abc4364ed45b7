"""Where a table lies: ``postgresql://user@host:5432/database``, without a password in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from connectors.fields import error
from connectors.tables import TableDialect
from connectors.validation import shown

_SCHEMES: Mapping[str, TableDialect] = {
    "postgresql": "postgresql",
    "postgres": "postgresql",
    "postgresql+psycopg": "postgresql",
    "mysql": "mysql",
    "mysql+pymysql": "mysql",
    "mariadb": "mysql",
    "mariadb+pymysql": "mysql",
    "sqlite": "sqlite",
}
_OPTIONS: Mapping[TableDialect, frozenset[str]] = {
    "postgresql": frozenset({"host", "sslmode", "sslrootcert", "sslcert", "sslkey"}),
    "mysql": frozenset({"unix_socket", "ssl_ca", "ssl_cert", "ssl_key", "charset"}),
    "sqlite": frozenset(),
}
_PORTS: Mapping[TableDialect, int] = {"postgresql": 5432, "mysql": 3306, "sqlite": 0}
_EXAMPLE = "write postgresql://USER@HOST/DATABASE, mysql://USER@HOST/DATABASE or sqlite:////PATH"


@dataclass(frozen=True, kw_only=True)
class Address:
    """A database."""

    dialect: TableDialect
    user: str | None
    host: str
    """"" where an option names a socket, and for SQLite."""
    port: int
    database: str
    """Of SQLite: the absolute path of its file."""
    options: Mapping[str, str]

    @property
    def place(self) -> str:
        """It in words for people, without the user."""
        if self.dialect == "sqlite":
            return self.database
        host = self.options.get("host") or self.options.get("unix_socket") or self.host
        port = "" if self.port == _PORTS[self.dialect] else f":{self.port}"
        return f"{host}{port}/{quote(self.database, safe='')}"


def parse_dsn(text: object) -> Address:
    """Raises :class:`connectors.abc.SettingsError`, and never shows what may be a password."""
    if not isinstance(text, str):
        raise error("it is not text", _EXAMPLE)
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as reason:
        raise error("it is not an address", _EXAMPLE) from reason
    if not text.isprintable() or " " in text or parts.fragment:
        raise error("it is not an address: it has characters that belong in none", _EXAMPLE)
    dialect = _SCHEMES.get(parts.scheme)
    if dialect is None:
        raise error(f"{shown(parts.scheme)} is no database that is known", _EXAMPLE)
    if parts.password is not None:
        _password()
    options = _options(dialect, parts.query)
    if dialect == "sqlite":
        return _file(parts.netloc, parts.path)
    database = unquote(parts.path.removeprefix("/"))
    if not database or "/" in database or not database.isprintable():
        raise error("it names no database", _EXAMPLE)
    host = parts.hostname or ""
    socket = "unix_socket" if dialect == "mysql" else "host"
    if not host and socket not in options:
        raise error("it names no host", f"{_EXAMPLE}, or ?{socket}=PATH for a local socket")
    user = unquote(parts.username) if parts.username else None
    if user is not None and not user.isprintable():
        raise error("the user has characters that belong in no name", _EXAMPLE)
    if port == 0:
        raise error("port 0 is none", "write the port at which the database listens")
    return Address(
        dialect=dialect,
        user=user,
        host=host,
        port=_PORTS[dialect] if port is None else port,
        database=database,
        options=options,
    )


def _password() -> NoReturn:
    raise error("a password stands in it", "leave it out, and write password: {secret: NAME}")


def _options(dialect: TableDialect, query: str) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if "pass" in name.lower():
            _password()
        if name not in _OPTIONS[dialect]:
            known = ", ".join(sorted(_OPTIONS[dialect])) or "none"
            raise error(f"it has an option {shown(name)}", f"known for {dialect} are: {known}")
        if name in found or not value or not value.isprintable():
            raise error(f"its option {name!r} has no value, or several", "write one")
        found[name] = value
    return found


def _file(host: str, path: str) -> Address:
    file = unquote(path.removeprefix("/"))
    if host or not file.startswith("/") or file.endswith("/") or not file.isprintable():
        raise error("it is no absolute path", "write four slashes: sqlite:////var/lib/app/jobs.db")
    return Address(dialect="sqlite", user=None, host="", port=0, database=file, options={})
