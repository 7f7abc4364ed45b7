"""Queues of moto's server and of ElasticMQ, over HTTP."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import pytest

from connectors.abc import JSON
from connectors.queues import QueueSource
from connectors.sqs import SqsConnector
from tests.support.sqs import context, inbox

REGION = "eu-central-1"
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    """moto's server."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the test, whatever the machine has."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)


class Moto:
    """moto, and a client of one's own to write with."""

    def __init__(self, endpoint: str) -> None:
        from boto3.session import Session

        self.endpoint = endpoint
        self.client: Any = Session().client(
            "sqs",
            endpoint_url=endpoint,
            region_name=REGION,
            aws_access_key_id="key",
            aws_secret_access_key="hunter2",
        )

    def queue(self, name: str = "", **attributes: str) -> str:
        """Make a queue; returns its name."""
        name = name or f"orders-{next(_numbers)}"
        self.client.create_queue(QueueName=name, Attributes=attributes)
        return name

    def url(self, name: str) -> str:
        return self.client.get_queue_url(QueueName=name)["QueueUrl"]

    def send(self, name: str, bodies: Sequence[str], **options: Any) -> None:
        for body in bodies:
            self.client.send_message(QueueUrl=self.url(name), MessageBody=body, **options)

    def left(self, name: str) -> tuple[int, int]:
        """How many messages wait, and how many are in flight."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = self.client.get_queue_attributes(QueueUrl=self.url(name), AttributeNames=names)
        return int(answer["Attributes"][names[0]]), int(answer["Attributes"][names[1]])


@pytest.fixture
def moto(endpoint: str) -> Iterator[Moto]:
    it = Moto(endpoint)
    yield it
    it.client.close()


class Open(Protocol):
    def __call__(
        self, queue: str, endpoint: str | None = None, cursor: str | None = None, **settings: JSON
    ) -> QueueSource: ...


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Opens sources, as an orchestrator does."""
    sources: list[QueueSource] = []

    def open_(
        queue: str, endpoint: str | None = None, cursor: str | None = None, **settings: JSON
    ) -> QueueSource:
        base: dict[str, JSON] = {"queue": queue, "region": REGION, "wait": "1s"}
        if endpoint is not None:
            base["endpoint"] = endpoint
        source = SqsConnector().open({**base, **settings}, context(tmp_path), inbox(cursor))
        sources.append(source)
        return source

    yield open_
    for source in sources:
        source.close()
