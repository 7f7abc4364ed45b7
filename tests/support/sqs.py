"""A queue that gives what it is told to give, and remembers what it was asked."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from connectors.abc import JSON
from connectors.aws.address import parse_queue
from connectors.aws.queue import Fault, Queue, QueueState, Received
from connectors.queues import Delivery, Inbox, Message
from connectors.sqs.settings import parse_settings
from connectors.sqs.source import SqsSource
from connectors.streams import SourceContext

STATE = QueueState(
    arn="arn:aws:sqs:eu-central-1:123456789012:orders",
    created="1750000000",
    visibility=60,
    waiting=0,
    redrives=False,
)
_numbers = itertools.count(1)


def received(body: str = "", group: str = "", **attributes: Mapping[str, Any]) -> Received:
    """A message as the queue delivers it."""
    number = next(_numbers)
    return Received(
        f"m{number}", f"r{number}", body, attributes, 1_750_000_000_000 + number, 1, group
    )


@dataclass
class Asked:
    """One call for messages."""

    most: int
    visibility: int
    attempt: str


@dataclass
class ScriptedQueue(Queue):
    """`messages` are given ten at a time; an exception among `faults` is raised by the next call.

    With nothing to give a call blocks for a moment, or until `release` where `blocks` is set.
    """

    messages: deque[Received] = field(default_factory=deque[Received])
    faults: list[Exception] = field(default_factory=list[Exception])
    refusals: dict[str, Fault] = field(default_factory=dict[str, Fault])
    """By receipt."""
    now: QueueState = STATE
    blocks: bool = False

    def __post_init__(self) -> None:
        super().__init__(parse_queue("orders"), region=None, endpoint=None)
        self.asked: list[Asked] = []
        self.deleted: list[str] = []
        self.changed: list[tuple[str, int]] = []
        self.under_way = 0
        self.most_under_way = 0
        self.outstanding = 0
        self.closed = 0
        self.release = threading.Event()
        self._own = threading.Lock()
        self._pause = threading.Event()

    def state(self) -> QueueState:
        return replace(self.now, waiting=len(self.messages))

    def receive(self, most: int, wait: int, visibility: int, attempt: str = "") -> list[Received]:
        with self._own:
            self.asked.append(Asked(most, visibility, attempt))
            self.under_way += 1
            self.outstanding += most
            self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            if self.blocks:
                self.release.wait(30)
            with self._own:
                if self.faults:
                    raise self.faults.pop(0)
                given = [self.messages.popleft() for _ in range(min(most, len(self.messages)))]
            if not given:
                self._pause.wait(0.01)
            return given
        finally:
            with self._own:
                self.under_way -= 1
                self.outstanding -= most

    def delete(self, receipts: Sequence[str]) -> list[Fault | None]:
        with self._own:
            if self.faults:
                raise self.faults.pop(0)
            self.deleted += [receipt for receipt in receipts if receipt not in self.refusals]
        return [self.refusals.get(receipt) for receipt in receipts]

    def change(self, entries: Sequence[tuple[str, int]]) -> list[Fault | None]:
        with self._own:
            if self.faults:
                raise self.faults.pop(0)
            self.changed += [entry for entry in entries if entry[0] not in self.refusals]
        return [self.refusals.get(receipt) for receipt, _ in entries]

    def close(self) -> None:
        self.closed += 1


def context(directory: Path) -> SourceContext:
    """What a source gets of whoever runs it."""
    return SourceContext(
        instance="i",
        trigger="orders",
        trigger_uid="u-1",
        secrets={},
        data_dir=directory / "data",
        stop=threading.Event(),
    )


def inbox(cursor: str | None = None) -> Inbox:
    """One in which nothing is known."""
    return Inbox(cursor=cursor, known=lambda _: set())


def open_source(
    queue: Queue, directory: Path, *, cursor: str | None = None, **settings: JSON
) -> SqsSource:
    """A source of a queue that is not asked for by boto3."""
    parsed = parse_settings({"queue": "orders", **settings})
    return SqsSource(parsed, context(directory), inbox(cursor), queue)


def delivery(message: Message, at: int = 0) -> Delivery:
    """The message, as its source is told about it."""
    return Delivery(id=message.id, receipt=message.receipt, group=message.group, at=at)


def drained(
    poll: Callable[[int, float], Sequence[Message]], count: int, room: int = 100
) -> list[Message]:
    """Poll until so many have come."""
    found: list[Message] = []
    for _ in range(200 + count):
        found += poll(room, 0.5)
        if len(found) >= count:
            return found
    raise AssertionError(f"{len(found)} of {count} messages came")
