"""A queue in memory that a test fills and breaks, and the connector that reads it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import pydantic

from connectors.abc import JSON, Overlap
from connectors.payloads import Payloads
from connectors.push import PushConnector, PushRefused, PushRequest, Receiver, Taken
from connectors.queues import Delivery, Described, Gathering, Inbox, Message, Polled, QueueSource
from connectors.registry import Registration, Registry
from connectors.streams import SourceContext
from connectors.validation import validate

SECOND = 1_000_000


@dataclass
class Waiting:
    """A message at the queue."""

    id: str
    group: str
    body: Mapping[str, JSON]
    out: bool = False  # delivered, and not to be seen until `show`
    receipt: str = ""
    deliveries: int = 0


@dataclass
class MemoryQueue:
    """What exists outside, and what goes wrong. A list beside it is read by a cursor, in the
    order in which it grew, and takes nothing back."""

    messages: dict[str, Waiting] = field(default_factory=dict[str, Waiting])
    listed: list[str] = field(default_factory=list[str])
    acknowledged: list[str] = field(default_factory=list[str])
    returned: list[str] = field(default_factory=list[str])
    extended: list[str] = field(default_factory=list[str])
    gives_up: set[str] = field(default_factory=set[str])
    refuses: set[str] = field(default_factory=set[str])
    """What it cannot acknowledge now."""
    faults: dict[str, Callable[[], None]] = field(default_factory=dict[str, Callable[[], None]])
    """By the name of the method, called before it does anything."""
    rooms: list[int] = field(default_factory=list[int])
    opened: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def put(self, *ids: str, group: str = "", **body: JSON) -> None:
        """More messages."""
        with self.lock:
            for id_ in ids:
                self.messages[id_] = Waiting(id=id_, group=group, body={"id": id_, **body})

    def show(self, *ids: str) -> None:
        """Let messages be delivered again, as after their visibility."""
        with self.lock:
            for id_ in ids:
                self.messages[id_].out = False

    def fault(self, name: str) -> None:
        """What a test wants to happen in this call."""
        if name in self.faults:
            self.faults[name]()

    def receive(self, room: int) -> list[Message]:
        """Those that are visible, in their order."""
        found: list[Message] = []
        with self.lock:
            self.rooms.append(room)
            for waiting in self.messages.values():
                if len(found) >= room:
                    break
                if waiting.out:
                    continue
                waiting.deliveries += 1
                waiting.out = True
                waiting.receipt = f"{waiting.id}#{waiting.deliveries}"
                found.append(
                    Message(
                        id=waiting.id,
                        body=waiting.body,
                        receipt=waiting.receipt,
                        group=waiting.group,
                    )
                )
        return found


class QueueSettings(pydantic.BaseModel):
    """Settings of the kind `queue`."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    queue: str
    batch_size: int = 1
    window_ms: int = 0
    on_intake: bool = False
    returns: bool = False
    remember_ms: int = 0
    extend_ms: int = 0
    storage: str | None = None
    keep_ms: int = 0
    listing: bool = False
    hook: bool = False


class MemorySource(QueueSource):
    """Reads a `MemoryQueue`."""

    def __init__(
        self, queue: MemoryQueue, settings: QueueSettings, context: SourceContext, inbox: Inbox
    ) -> None:
        self._queue = queue
        self._settings = settings
        self._context = context
        self._place = int(inbox.cursor or 0)
        self._payloads = Payloads(
            context.trigger_uid, settings.storage, keep_for=settings.keep_ms * 1000
        )
        queue.opened += 1

    @property
    def interval(self) -> float:
        return 0.02

    def poll(self, room: int, wait: float) -> Polled:
        self._queue.fault("poll")
        if not self._settings.listing:
            return Polled(messages=self._queue.receive(room))
        ids = self._queue.listed[self._place : self._place + room]
        self._place += len(ids)
        messages = [Message(id=id_, body={"id": id_}) for id_ in ids]
        return Polled(messages=messages, cursor=str(self._place) if ids else None)

    @property
    def gathering(self) -> Gathering:
        window = self._settings.window_ms * 1000
        return Gathering(size=self._settings.batch_size, window=window)

    def describe(self, messages: Sequence[Message]) -> Described:
        self._queue.fault("describe")
        return Described()

    @property
    def payloads(self) -> Payloads:
        return self._payloads

    @property
    def acknowledges_on_intake(self) -> bool:
        return self._settings.on_intake

    @property
    def returns_dead(self) -> bool:
        return self._settings.returns

    @property
    def remember_for(self) -> int:
        return self._settings.remember_ms * 1000

    @property
    def extend_every(self) -> int:
        return self._settings.extend_ms * 1000

    def acknowledge(self, deliveries: Sequence[Delivery]) -> Collection[str]:
        self._queue.fault("acknowledge")
        with self._queue.lock:
            taken = [one for one in deliveries if one.id not in self._queue.refuses]
            for delivery in taken:
                self._queue.acknowledged.append(delivery.receipt)
                waiting = self._queue.messages.get(delivery.id)
                if waiting is not None and waiting.receipt == delivery.receipt:
                    del self._queue.messages[delivery.id]
        return [delivery.id for delivery in taken]

    def give_back(self, deliveries: Sequence[Delivery]) -> Collection[str]:
        self._queue.fault("give_back")
        with self._queue.lock:
            for delivery in deliveries:
                self._queue.returned.append(delivery.receipt)
                self._queue.messages[delivery.id].out = False
        return [delivery.id for delivery in deliveries]

    def extend(self, deliveries: Sequence[Delivery]) -> Collection[str]:
        self._queue.fault("extend")
        with self._queue.lock:
            self._queue.extended += [delivery.id for delivery in deliveries]
        return {delivery.id for delivery in deliveries} & self._queue.gives_up

    def lag(self) -> int | None:
        return len(self._queue.messages)

    def close(self) -> None:
        self._queue.fault("close")


class MemoryReceiver(Receiver):
    """A message from the header `id`, or one from each word of the body."""

    max_body = 1000

    def __init__(self, queue: MemoryQueue) -> None:
        self._queue = queue

    def receive(self, request: PushRequest) -> Taken:
        self._queue.fault("receive")
        if "id" not in request.headers:
            raise PushRefused(401, "who are you?")
        ids = request.body.decode().split() or [request.headers["id"]]
        return Taken(messages=[Message(id=id_, body={"id": id_}) for id_ in ids])


class MemoryConnector(PushConnector):
    """The connector; `queues` stands for what its sources reach over the network."""

    kind: ClassVar[str] = "queue"
    version: ClassVar[str] = "0"
    summary: ClassVar[str] = "messages in memory"
    settings_model: ClassVar[type[pydantic.BaseModel]] = QueueSettings
    default_overlap: ClassVar[Overlap] = "queue"
    value_paths: ClassVar[frozenset[str]] = frozenset({"event.*", "batch.count"})

    def __init__(self) -> None:
        self.queues: dict[str, MemoryQueue] = {}

    def check(self, settings: Mapping[str, JSON]) -> None:
        validate(QueueSettings, settings)

    def identity(self, settings: Mapping[str, JSON]) -> Mapping[str, JSON]:
        return {"queue": settings.get("queue")}

    def open(
        self, settings: Mapping[str, JSON], context: SourceContext, inbox: Inbox
    ) -> QueueSource | None:
        parsed = validate(QueueSettings, settings)
        if parsed.hook:
            return None
        return MemorySource(self.queues[parsed.queue], parsed, context, inbox)

    def receiver(self, settings: Mapping[str, JSON], context: SourceContext) -> Receiver | None:
        parsed = validate(QueueSettings, settings)
        return MemoryReceiver(self.queues[parsed.queue]) if parsed.hook else None


def queue_registry(connector: MemoryConnector) -> Registry:
    """A registry with the kind `queue`."""
    target = "tests.support.queuesource:MemoryConnector"
    return Registry(
        [Registration(kind="queue", origin="tests", target=target, connector=connector)]
    )
