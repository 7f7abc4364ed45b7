"""Buckets and queues of moto's server, over HTTP, and an inbox that stands in for the core's."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors.abc import JSON
from connectors.queues import Delivery, Inbox, Message, QueueSource
from connectors.s3 import S3Connector
from connectors.streams import SourceContext
from tests.support.moto import client as client_of
from tests.support.waiting import until

_REGION = "eu-central-1"
_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def _credentials(aws_credentials: None) -> None:
    """Every test here asks with those of the test."""


@pytest.fixture
def s3(endpoint: str) -> Iterator[Any]:
    """A client of one's own, to write with."""
    client = client_of("s3", endpoint, _REGION)
    yield client
    client.close()


@pytest.fixture
def sqs(endpoint: str) -> Iterator[Any]:
    """The same for queues."""
    client = client_of("sqs", endpoint, _REGION)
    yield client
    client.close()


@pytest.fixture
def bucket(s3: Any) -> str:
    """A bucket of the test's own."""
    name = f"logs-{next(_numbers)}"
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": _REGION})
    return name


@pytest.fixture
def queue(sqs: Any) -> str:
    """The URL of a queue of the test's own."""
    return sqs.create_queue(QueueName=f"events-{next(_numbers)}")["QueueUrl"]


class Box:
    """Does with a source what the core does: takes in, remembers, acknowledges, reopens."""

    def __init__(self, source: Callable[[Inbox], QueueSource]) -> None:
        self._open = source
        self.ids: dict[str, Message] = {}
        self.cursor: str | None = None
        self.again = 0
        """Messages that were delivered though they were known."""
        self.source = self.reopened()

    def reopened(self) -> QueueSource:
        """The source as it is after a restart."""
        if hasattr(self, "source"):
            self.source.close()
        self.source = self._open(Inbox(cursor=self.cursor, known=self._known))
        return self.source

    def poll(self, room: int = 500, wait: float = 0.5) -> list[Message]:
        """One poll, taken in and acknowledged."""
        polled = self.source.poll(room, wait)
        for message in polled.messages:
            self.again += message.id in self.ids
            self.ids.setdefault(message.id, message)
        self.cursor = polled.cursor or self.cursor
        deliveries = [Delivery(id=m.id, receipt=m.receipt) for m in polled.messages]
        assert set(self.source.acknowledge(deliveries)) == {d.id for d in deliveries}
        return list(polled.messages)

    def until(self, count: int) -> None:
        """Poll until so many ids are known."""
        until(lambda: bool(self.poll()) or len(self.ids) >= count, f"{count} events", within=60)
        while len(self.ids) < count:
            until(lambda: bool(self.poll()), f"{count} events, not {len(self.ids)}", within=60)

    def rest(self) -> list[Message]:
        """Whatever comes until two passes in a row have ended without anything."""
        came: list[Message] = []
        quiet = 0
        nothing = True

        def look() -> bool:
            nonlocal quiet, nothing
            mark = self._mark()
            found = self.poll()
            came.extend(found)
            nothing = nothing and not found
            if self._mark() != mark:
                quiet = quiet + 1 if nothing else 0
                nothing = True
            return quiet == 2

        until(look, "two passes without anything", within=300)
        return came

    def _mark(self) -> object:
        """When the last whole pass began."""
        return json.loads(self.cursor)["mark"] if self.cursor else None

    @property
    def contents(self) -> set[tuple[str, str]]:
        """Key and etag of all that came."""
        return {(str(m.body["key"]), str(m.body["etag"])) for m in self.ids.values()}

    @property
    def keys(self) -> list[str]:
        """The keys of all that came, sorted."""
        return sorted(str(m.body["key"]) for m in self.ids.values())

    def _known(self, ids: Collection[str]) -> set[str]:
        return {one for one in ids if one in self.ids}


@pytest.fixture
def context(tmp_path: Path) -> SourceContext:
    """That of a trigger without secrets."""
    return SourceContext(
        instance="i",
        trigger="objects",
        trigger_uid="u-1",
        secrets={},
        data_dir=tmp_path / "data",
        stop=threading.Event(),
    )


@pytest.fixture
def opened(endpoint: str, bucket: str, context: SourceContext) -> Iterator[Callable[..., Box]]:
    """Opens sources of that bucket, as an orchestrator does."""
    boxes: list[Box] = []

    def open_(**settings: JSON) -> Box:
        base: dict[str, JSON] = {"bucket": bucket, "endpoint": endpoint, "region": _REGION}
        if "notifications" not in settings:
            base["interval"] = "1s"
        whole = {**base, **settings}
        boxes.append(Box(lambda inbox: S3Connector().open(whole, context, inbox)))
        return boxes[-1]

    yield open_
    for box in boxes:
        box.source.close()
