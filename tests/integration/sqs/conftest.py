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
from tests.support.moto import client as client_of
from tests.support.sqs import context, inbox

REGION = "eu-central-1"
_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def _credentials(aws_credentials: None) -> None:
    """Every test here asks with those of the test."""


class Moto:
    """moto, and a client of one's own to write with."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.client: Any = client_of("sqs", endpoint, REGION)

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
