"""A PostgreSQL server for tests: the one that ORCH_TEST_POSTGRES names, or one of our own."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import psycopg

_numbers = itertools.count()
_BINARIES = "/usr/lib/postgresql"


class NoPostgres(Exception):
    """There is no server and none can be started; the text says why."""


class PostgresServer:
    """Makes databases. `close` drops them, and ends the server if it was started here."""

    def __init__(self) -> None:
        self._made: list[str] = []
        self._data: Path | None = None
        self._user = ""
        given = os.environ.get("ORCH_TEST_POSTGRES")
        if given:
            self._admin = given.replace("postgresql+psycopg://", "postgresql://")
            self._ask("SELECT 1")
        else:
            self._start()

    def _start(self) -> None:
        found = sorted(Path(_BINARIES).glob("*/bin/initdb")) if Path(_BINARIES).is_dir() else []
        if not found:
            raise NoPostgres(
                f"ORCH_TEST_POSTGRES is not set and {_BINARIES} has no server "
                "(apt-get install postgresql)"
            )
        self._bin = found[-1].parent
        if os.geteuid() == 0:
            self._user = next((u for u in ("postgres", "nobody") if _exists(u)), "")
            if not self._user or not shutil.which("runuser"):
                raise NoPostgres("PostgreSQL does not run as root, and there is no other user")
        self._data = Path(tempfile.mkdtemp(prefix="orch-postgres-"))
        if self._user:
            shutil.chown(self._data, self._user)
        self._command("initdb", "-D", str(self._data / "db"), "-U", "orch", "-A", "trust", "-N")
        options = f"-c listen_addresses='' -c unix_socket_directories='{self._data}'"
        # fsync is the operating system's business here: these tests pull no plug.
        options += " -c fsync=off -c max_connections=200"
        self._command(
            "pg_ctl", "-D", str(self._data / "db"), "-w", "-o", options,
            "-l", str(self._data / "log"), "start",
        )  # fmt: skip
        self._admin = f"postgresql://orch@/postgres?host={self._data}"

    def _command(self, program: str, *arguments: str) -> None:
        line = [str(self._bin / program), *arguments]
        if self._user:
            line = ["runuser", "-u", self._user, "--", *line]
        done = subprocess.run(
            line, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        if done.returncode:
            raise NoPostgres(f"{program} failed: {done.stdout.decode(errors='replace')[-500:]}")

    def _ask(self, statement: str) -> None:
        try:
            with psycopg.connect(self._admin, autocommit=True, connect_timeout=10) as conn:
                conn.execute(statement.encode())
        except psycopg.OperationalError as error:
            raise NoPostgres(f"the server does not answer: {error}") from error

    def new_database(self, template: str = "template1") -> str:
        """Make an empty database, or a copy of one that nobody uses; returns its URL."""
        name = f"orch_test_{os.getpid()}_{next(_numbers)}"
        source = template.partition("?")[0].rpartition("/")[2]
        self._ask(f'CREATE DATABASE "{name}" TEMPLATE "{source}"')
        self._made.append(name)
        base, slash, rest = self._admin.rpartition("/postgres?")
        if slash:
            return f"{base}/{name}?{rest}"
        head, _, query = self._admin.partition("?")
        url = head.rpartition("/")[0] + "/" + name
        return f"{url}?{query}" if query else url

    def close(self) -> None:
        """End what was begun here."""
        if self._data is None:
            for name in self._made:
                self._ask(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            return
        self._command("pg_ctl", "-D", str(self._data / "db"), "-m", "immediate", "-w", "stop")
        shutil.rmtree(self._data, ignore_errors=True)


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True
