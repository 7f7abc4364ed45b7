"""What all tests share: servers that are started once, and a word on what was left out."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import NoReturn

import pytest
from hypothesis import HealthCheck, settings

from tests.support import moto
from tests.support.elasticmq import ElasticMq, NoElasticMq
from tests.support.kafka import Kafka
from tests.support.kafkajars import NoKafka
from tests.support.kafkasecure import SecureKafka
from tests.support.mariadb import MariaDb, NoMariaDb
from tests.support.mosquitto import Mosquitto, NoMosquitto
from tests.support.postgres import NoPostgres, PostgresServer

# How long an example takes says nothing about the code on a busy machine.
settings.register_profile(
    "orch", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("orch")

_LONG_FIRST = ("crash", "integration", "docs", "conformance", "properties")
_LEFT_OUT = re.compile(r"Skipped: there is no (?P<service>[^:]+) here: (?P<reason>.*)", re.DOTALL)


def _leave_out(service: str, error: Exception) -> NoReturn:
    """A service is missing: a failure if ORCH_REQUIRE_SERVICES=1, else told at the end."""
    if os.environ.get("ORCH_REQUIRE_SERVICES") == "1":
        pytest.fail(f"{service} is required here: {error}")
    pytest.skip(f"there is no {service} here: {error}")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The server."""
    try:
        server = PostgresServer()
    except NoPostgres as error:
        _leave_out("PostgreSQL", error)
    yield server
    server.close()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> str:
    """The URL of an empty database."""
    return postgres_server.new_database()


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDb]:
    """One server for the whole run: a test makes databases of its own, and leaves it running."""
    try:
        server = MariaDb()
    except NoMariaDb as error:
        _leave_out("MariaDB", error)
    yield server
    server.close()


@pytest.fixture(scope="session")
def kafka() -> Iterator[Kafka]:
    """One broker for the whole run: a test makes topics of its own, and leaves it running."""
    try:
        cluster = Kafka.single()
    except NoKafka as error:
        _leave_out("Kafka", error)
    yield cluster
    cluster.close()


@pytest.fixture(scope="module")
def secure_kafka() -> Iterator[SecureKafka]:
    """A broker with passwords, TLS and rights."""
    try:
        cluster = SecureKafka()
    except NoKafka as error:
        _leave_out("Kafka", error)
    yield cluster
    cluster.close()


@pytest.fixture(scope="module")
def kafka_pair() -> Iterator[Kafka]:
    """Two brokers, for leaders that move: `brokers[1]` may be stopped."""
    try:
        cluster = Kafka.pair()
    except NoKafka as error:
        _leave_out("Kafka", error)
    yield cluster
    cluster.close()


@pytest.fixture(scope="session")
def elasticmq() -> Iterator[ElasticMq]:
    """One server for the whole run: a test makes queues of its own, and leaves it running."""
    try:
        server = ElasticMq()
    except NoElasticMq as error:
        _leave_out("ElasticMQ", error)
    yield server
    server.close()


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    """The address of moto, one server for the whole run: a test makes what it needs by names of its
    own."""
    with moto.serve() as url:
        yield url


@pytest.fixture
def aws_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment has those of the test, and no others."""
    moto.use_credentials(monkeypatch)


@pytest.fixture(scope="session")
def mosquitto() -> Iterator[Mosquitto]:
    """One broker for the whole run: a test has topics of its own, and leaves it running."""
    try:
        broker = Mosquitto()
    except NoMosquitto as error:
        _leave_out("Mosquitto", error)
    yield broker
    broker.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long goes first, so that no worker is left alone with it at the end."""
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    _, _, within = item.nodeid.partition("/")
    folder = within.partition("/")[0]
    return _LONG_FIRST.index(folder) if folder in _LONG_FIRST else len(_LONG_FIRST)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Which services were missing. Read off the reports: workers have memories of their own."""
    missing: dict[str, tuple[str, int]] = {}
    for report in terminalreporter.stats.get("skipped", []):
        found = _LEFT_OUT.match(report.longrepr[2])
        if found is not None:
            _, count = missing.get(found["service"], ("", 0))
            missing[found["service"]] = found["reason"], count + 1
    if missing:
        terminalreporter.section("left out", yellow=True)
    for service, (reason, count) in missing.items():
        terminalreporter.line(f"{count} tests that need {service}: {reason}")
