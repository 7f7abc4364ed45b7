"""What all tests share: servers that are started once, and a word on what was left out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NoReturn

import pytest
from hypothesis import HealthCheck, settings

from tests.support.elasticmq import ElasticMq, NoElasticMq
from tests.support.kafka import Kafka
from tests.support.kafkajars import NoKafka
from tests.support.kafkasecure import SecureKafka
from tests.support.postgres import NoPostgres, PostgresServer

# How long an example takes says nothing about the code on a busy machine.
settings.register_profile(
    "orch", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("orch")

_LEFT_OUT = pytest.StashKey[dict[str, str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_LEFT_OUT] = {}


def _leave_out(config: pytest.Config, service: str, error: Exception) -> NoReturn:
    """A service is missing: a failure if ORCH_REQUIRE_SERVICES=1, else told at the end."""
    if os.environ.get("ORCH_REQUIRE_SERVICES") == "1":
        pytest.fail(f"{service} is required here: {error}")
    config.stash[_LEFT_OUT][service] = str(error)
    pytest.skip(f"no {service}: {error}")


@pytest.fixture(scope="session")
def postgres_server(pytestconfig: pytest.Config) -> Iterator[PostgresServer]:
    """The server."""
    try:
        server = PostgresServer()
    except NoPostgres as error:
        _leave_out(pytestconfig, "PostgreSQL", error)
    yield server
    server.close()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> str:
    """The URL of an empty database."""
    return postgres_server.new_database()


@pytest.fixture(scope="session")
def kafka(pytestconfig: pytest.Config) -> Iterator[Kafka]:
    """One broker for the whole run: a test makes topics of its own, and leaves it running."""
    try:
        cluster = Kafka.single()
    except NoKafka as error:
        _leave_out(pytestconfig, "Kafka", error)
    yield cluster
    cluster.close()


@pytest.fixture(scope="module")
def secure_kafka(pytestconfig: pytest.Config) -> Iterator[SecureKafka]:
    """A broker with passwords, TLS and rights."""
    try:
        cluster = SecureKafka()
    except NoKafka as error:
        _leave_out(pytestconfig, "Kafka", error)
    yield cluster
    cluster.close()


@pytest.fixture(scope="module")
def kafka_pair(pytestconfig: pytest.Config) -> Iterator[Kafka]:
    """Two brokers, for leaders that move: `brokers[1]` may be stopped."""
    try:
        cluster = Kafka.pair()
    except NoKafka as error:
        _leave_out(pytestconfig, "Kafka", error)
    yield cluster
    cluster.close()


@pytest.fixture(scope="session")
def elasticmq(pytestconfig: pytest.Config) -> Iterator[ElasticMq]:
    """One server for the whole run: a test makes queues of its own, and leaves it running."""
    try:
        server = ElasticMq()
    except NoElasticMq as error:
        _leave_out(pytestconfig, "ElasticMQ", error)
    yield server
    server.close()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    for service, reason in config.stash[_LEFT_OUT].items():
        terminalreporter.section("left out", yellow=True)
        terminalreporter.line(f"everything that needs {service}: {reason}")
