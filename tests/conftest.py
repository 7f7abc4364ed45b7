"""What all tests share: a PostgreSQL server, and a word on what was left out without one."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.support.postgres import NoPostgres, PostgresServer

# How long an example takes says nothing about the code on a busy machine.
settings.register_profile(
    "orch", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("orch")

_LEFT_OUT = pytest.StashKey[dict[str, str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_LEFT_OUT] = {}


@pytest.fixture(scope="session")
def postgres_server(pytestconfig: pytest.Config) -> Iterator[PostgresServer]:
    """The server. Without one: a failure if ORCH_REQUIRE_SERVICES=1, else told at the end."""
    try:
        server = PostgresServer()
    except NoPostgres as error:
        if os.environ.get("ORCH_REQUIRE_SERVICES") == "1":
            pytest.fail(f"PostgreSQL is required here: {error}")
        pytestconfig.stash[_LEFT_OUT]["PostgreSQL"] = str(error)
        pytest.skip(f"no PostgreSQL: {error}")
    yield server
    server.close()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> str:
    """The URL of an empty database."""
    return postgres_server.new_database()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    for service, reason in config.stash[_LEFT_OUT].items():
        terminalreporter.section("left out", yellow=True)
        terminalreporter.line(f"everything that needs {service}: {reason}")
