"""A MariaDB server for tests: the one that ORCH_TEST_MYSQL names, or one of our own."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pymysql

from tests.support.kafkaprocess import free_port
from tests.support.waiting import until

_START = 60.0  # seconds
_numbers = itertools.count()


class NoMariaDb(Exception):
    """There is no server and none can be started; the text says why."""


class MariaDb:
    """Makes databases. `close` drops them, and ends the server if it was started here."""

    def __init__(self) -> None:
        self._made: list[str] = []
        self._directory: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        given = os.environ.get("ORCH_TEST_MYSQL")
        if given:
            parts = urlsplit(given)
            self.host, self.port = parts.hostname or "127.0.0.1", parts.port or 3306
            self.user, self.password = unquote(parts.username or ""), unquote(parts.password or "")
            self.ask("SELECT 1")
        else:
            self.host, self.port, self.user, self.password = (
                "127.0.0.1",
                free_port(),
                "orch",
                "s3cret",
            )
            self._install()
            self.start()

    def _install(self) -> None:
        install = shutil.which("mariadb-install-db")
        self._server = shutil.which("mariadbd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if install is None or self._server is None:
            raise NoMariaDb("ORCH_TEST_MYSQL is not set (apt-get install mariadb-server)")
        self._user: list[str] = []
        self._directory = Path(tempfile.mkdtemp(prefix="orch-mariadb-"))
        if os.geteuid() == 0:
            user = next((u for u in ("mysql", "nobody") if _exists(u)), None)
            if user is None:
                raise NoMariaDb("MariaDB does not run as root, and there is no other user")
            self._user = [f"--user={user}"]
            shutil.chown(self._directory, user)
        done = subprocess.run(
            [
                *(install, "--no-defaults", f"--datadir={self._directory / 'db'}", *self._user),
                *("--skip-test-db", "--auth-root-authentication-method=normal"),
            ],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
        if done.returncode:
            raise NoMariaDb(f"it cannot be set up: {done.stdout.decode(errors='replace')[-500:]}")
        grants = (
            f"CREATE USER '{self.user}'@'127.0.0.1' IDENTIFIED BY '{self.password}';\n"
            f"GRANT ALL ON *.* TO '{self.user}'@'127.0.0.1' WITH GRANT OPTION;\n"
        )
        (self._directory / "init.sql").write_text(grants)
        (self._directory / "init.sql").chmod(0o644)
        self._grants = [f"--init-file={self._directory / 'init.sql'}"]

    def start(self) -> None:
        """Start the server of our own, after `kill`."""
        assert self._directory is not None
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(str(self._server), "--no-defaults", *self._user, *self._grants),
                    f"--datadir={self._directory / 'db'}",
                    f"--socket={self._directory / 'socket'}",
                    f"--pid-file={self._directory / 'pid'}",
                    *("--bind-address=127.0.0.1", f"--port={self.port}", "--skip-name-resolve"),
                    # What is written is the operating system's business: no plug is pulled here.
                    *("--innodb-flush-log-at-trx-commit=2", "--innodb-buffer-pool-size=64M"),
                    *("--skip-log-bin", "--performance-schema=OFF"),
                ],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        self._grants = []
        until(self._answers, "MariaDB answers", within=_START, show=self._log)

    def kill(self) -> None:
        """End the server of our own as a crash would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise NoMariaDb(f"it has ended: {self._log()}")
        try:
            self.ask("SELECT 1")
        except pymysql.err.OperationalError:
            return False
        return True

    def _log(self) -> str:
        if self._directory is None:
            return ""
        return (self._directory / "log").read_text(errors="replace")[-1000:]

    def connect(self, database: str | None = None) -> Any:
        """A connection of the driver's own; each statement is a transaction."""
        return pymysql.connect(
            host=self.host, port=self.port, user=self.user, password=self.password,
            database=database, autocommit=True, connect_timeout=5,
        )  # fmt: skip

    def ask(self, statement: str) -> None:
        """One statement, of nobody's database."""
        connection = self.connect()
        try:
            connection.cursor().execute(statement)
        finally:
            connection.close()

    def new_database(self) -> str:
        """Make an empty database; returns its name."""
        name = f"orch_test_{os.getpid()}_{next(_numbers)}"
        self.ask(f"CREATE DATABASE {name}")
        self._made.append(name)
        return name

    def dsn(self, database: str) -> str:
        """Its address as a trigger has it: the password is `password`."""
        return f"mysql://{self.user}@{self.host}:{self.port}/{database}"

    def close(self) -> None:
        """End what was begun here."""
        if self._directory is None:
            for name in self._made:
                self.ask(f"DROP DATABASE IF EXISTS {name}")
            return
        self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True
