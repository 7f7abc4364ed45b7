"""A subscription at a broker, while a trigger consumes it."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from paho.mqtt.client import MQTTMessage

from connectors.abc import JSON
from connectors.broker.topics import parse_filter
from connectors.mqtt.delivered import received_from
from connectors.mqtt.journal import Entry, Journal
from connectors.mqtt.messages import Reading, Received
from connectors.mqtt.pace import Pace
from connectors.mqtt.session import Session
from connectors.mqtt.settings import MqttSettings
from connectors.payloads import Payloads
from connectors.queues import Delivery, Described, Gathering, Inbox, Message, Polled, QueueSource
from connectors.streams import SourceContext
from connectors.times import SECOND

_log = logging.getLogger(__name__)
_AHEAD = 64 * 2**20
"""Bytes of messages that lie here, above which nothing more is read."""
_AT_ONCE = 50
"""Messages of QoS 1 whose numbers are freed before the broker is told so."""
_SLICE = 0.2  # seconds between two looks at the stop signal
_RELEASE = 1.0  # seconds in which a broker lets go of messages of QoS 2 that have come


@dataclass(slots=True, kw_only=True)
class _Ready:
    """A message that waits to be handed over."""

    message: Message
    size: int
    ticks: float
    packet: int


class MqttSource(QueueSource):
    """Messages as they come, gathered here and not by whoever runs the source: only here is known
    when the broker has no more to give."""

    def __init__(self, settings: MqttSettings, context: SourceContext, inbox: Inbox) -> None:
        self.settings = settings
        self._context = context
        self._reading = Reading(
            parsed=settings.body == "json", place=settings.id, wanted=settings.filter
        )
        self._filter = parse_filter(settings.topic)
        self._payloads = Payloads(context.trigger_uid, settings.storage, keep_for=settings.keep)
        self._cursor = inbox.cursor
        self._journal = Journal(context.data_dir, inbox.cursor)
        self._own = secrets.token_hex(6)
        self._count = 0
        self._changed = threading.Condition()
        self._came: deque[tuple[str, Received]] = deque()  # with the connection's name
        self._bytes = 0
        self._ready: list[_Ready] = []
        self._open: dict[int, Message] = {}  # by packet, what the broker was not told about
        self._accepted: set[int] = set()  # packets of QoS 2 that it was told have come
        self._pace = Pace()
        self._session = Session(
            settings,
            context,
            self._journal,
            received=self._receive,
            released=self._released,
            reads=self._has_place,
            began=self._began,
        )
        self.filtered = 0
        """Messages that the filter did not want, and retained ones that were skipped."""
        self.strange = 0
        """Messages on topics that were not asked for: an older subscription of the session."""

    @property
    def client_id(self) -> str:
        """What the broker knows the session by."""
        return self._session.client_id

    @property
    def listening(self) -> bool:
        """Whether there is a connection with its subscription."""
        return self._session.listening

    @property
    def ceiling(self) -> int | None:
        """How many messages the broker gives before it hears of them, as far as was learnt."""
        return self._pace.ceiling

    @property
    def interval(self) -> float:
        return 0

    @property
    def gathering(self) -> Gathering:
        return Gathering(size=self.settings.batch_size, bytes=self.settings.batch_bytes or 0)

    @property
    def payloads(self) -> Payloads:
        return self._payloads

    @property
    def acknowledges_on_intake(self) -> bool:
        return self.settings.ack == "on_intake"

    @property
    def remember_for(self) -> int:
        return 0 if self.settings.id is None else self.settings.dedup_window

    def describe(self, messages: Sequence[Message]) -> Described:
        values: dict[str, JSON] = {
            "broker": str(self.settings.address),
            "filter": self.settings.topic,
        }
        if len(messages) == 1:
            body = messages[0].body
            names = ("topic", "levels", "qos", "retained", "properties")
            values |= {name: body[name] for name in names}
        return Described(values={"mqtt": values})

    def poll(self, room: int, wait: float) -> Polled:
        if self._cursor != self._journal.token:
            # Before anything is received the store has to know whose file counts.
            self._cursor = self._journal.token
            return Polled(cursor=self._cursor)
        deadline = time.monotonic() + wait
        while True:
            if not self._context.stop.is_set():
                self._session.keep()
            try:
                self._read()
            except Exception:
                self._session.drop()  # of what was read here nobody else knows
                raise
            if found := self._hand_over(room):
                return Polled(messages=found)
            if (left := deadline - time.monotonic()) <= 0 or self._context.stop.is_set():
                return Polled()
            with self._changed:
                if not self._came:
                    self._changed.wait(min(left, self._patience(), _SLICE))

    def acknowledge(self, deliveries: Sequence[Delivery]) -> Collection[str]:
        connection = self._session.connection
        settled, due = self._sorted(deliveries, connection)
        first = [packet for packet, (qos, _) in due.items() if qos == 1]
        second = [packet for packet, (qos, _) in due.items() if qos == 2]
        with self._changed:
            self._accepted.update(second)
            self._pace.told(time.monotonic())
        self._session.acknowledge(connection, [(packet, 2) for packet in second])
        acknowledged: list[int] = []
        for begin in range(0, len(first), _AT_ONCE):
            if not self._session.alive or connection != self._session.connection:
                break  # these come again as what they are
            # Between the two a crash makes new messages of these: they are few.
            some = first[begin : begin + _AT_ONCE]
            ids = {packet: due[packet][1] for packet in some}
            self._journal.free(some, ids)
            with self._changed:
                for packet, id_ in ids.items():
                    if packet in self._open and self._open[packet].id == id_:
                        del self._open[packet]
            self._session.acknowledge(connection, [(packet, 1) for packet in some])
            acknowledged += some
        with self._changed:
            # An id is the message's until the broker lets go of it.
            ends = time.monotonic() + _RELEASE
            while not self._accepted.isdisjoint(second) and self._session.alive:
                if (left := ends - time.monotonic()) <= 0 or self._context.stop.is_set():
                    break
                self._changed.wait(left)
            freed = [packet for packet in second if packet not in self._accepted]
        return settled | {due[packet][1] for packet in (*acknowledged, *freed)}

    def give_back(self, deliveries: Sequence[Delivery]) -> Collection[str]:
        """MQTT takes nothing back. What it was not told about is here, or comes again once the
        connection does."""
        settled, due = self._sorted(deliveries, self._session.connection)
        with self._changed:
            for packet, (_, id_) in due.items():
                message = self._open.get(packet)
                if message is not None:
                    self._put(message, packet)
                    settled.add(id_)
            self._changed.notify_all()
        return settled

    def lag(self) -> int | None:
        """Those that are here: how many wait at the broker MQTT does not tell."""
        return len(self._came) + len(self._ready)

    def close(self) -> None:
        with self._changed:
            self._changed.notify_all()
        self._session.close()
        self._journal.close()
        self._payloads.close()

    # -- receiving ------------------------------------------------------------------------------

    def _receive(self, connection: str, message: MQTTMessage) -> None:
        """Called by the connection's thread."""
        received = received_from(message)
        with self._changed:
            self._came.append((connection, received))
            self._bytes += len(received.content)
            self._pace.came(time.monotonic(), len(self._open) + len(self._came))
            self._changed.notify_all()

    def _has_place(self) -> bool:
        waiting = len(self._came) + len(self._ready)
        return waiting <= self.settings.max_inflight and self._bytes < _AHEAD

    def _began(self, present: bool) -> None:
        """A connection begins. What was on its way comes again, unless the broker has lost the
        session: then what is here is all that there is of it."""
        with self._changed:
            self._accepted.clear()
            self._open.clear()
            if present:
                mine = self._session.connection
                self._came = deque(came for came in self._came if came[0] == mine)
                self._ready = [one for one in self._ready if not one.packet]
            self._bytes = sum(one.size for one in self._ready)
            self._bytes += sum(len(received.content) for _, received in self._came)
            self._pace = Pace()

    def _read(self) -> None:
        with self._changed:
            came = list(self._came)
            self._came.clear()
        notes: list[tuple[int, Entry]] = []
        unwanted: list[tuple[int, int]] = []
        mine = self._session.connection
        for connection, given in came:
            # Of a session that the broker has lost: there is nobody to be told.
            received = given if connection == mine else replace(given, packet=0)
            message = None if self._skips(received) else self._message(connection, received, notes)
            with self._changed:
                if message is not None:
                    if received.packet:
                        self._open[received.packet] = message
                    self._put(message, received.packet, len(received.content))
                    continue
                self._bytes -= len(received.content)
            if received.packet:
                unwanted.append((received.packet, received.qos))
        self._journal.note(notes)
        if unwanted:
            self._journal.free([packet for packet, qos in unwanted if qos == 1])
            with self._changed:
                self._accepted.update(packet for packet, qos in unwanted if qos == 2)
            self._session.acknowledge(mine, unwanted)

    def _skips(self, received: Received) -> bool:
        if not self._filter.matches(received.topic):
            if not self.strange:
                _log.warning(
                    "the session has messages on %r, which %r does not ask for: they are skipped",
                    received.topic,
                    self.settings.topic,
                )
            self.strange += 1
            return True
        if received.retained and self.settings.retained == "skip":
            self.filtered += 1
            return True
        return False

    def _message(
        self, connection: str, received: Received, notes: list[tuple[int, Entry]]
    ) -> Message | None:
        content = self._reading.read(received)
        if content is None:
            self.filtered += 1
            return None
        id_, receipt = content.id, ""
        if received.packet:
            digest = received.digest()
            before = self._journal.entry(received.packet) if received.again else None
            if before is None or before.digest != digest:
                before = Entry(digest=digest, id=id_ or self._new_id())
                notes.append((received.packet, before))
            id_ = before.id
            receipt = f"{received.packet}.{received.qos}.{connection}"
        return Message(id=id_ or self._new_id(), body=content.body, receipt=receipt)

    def _new_id(self) -> str:
        self._count += 1
        return f"mqtt-{self._own}-{self._count}"

    # -- handing over ---------------------------------------------------------------------------

    def _put(self, message: Message, packet: int, size: int = 0) -> None:
        ready = _Ready(message=message, size=size, ticks=time.monotonic(), packet=packet)
        self._ready.append(ready)

    def _patience(self) -> float:
        """Seconds until the window of the first message ends."""
        if not self._ready:
            return _SLICE
        ends = self._ready[0].ticks + self.settings.batch_window / SECOND
        return max(0.001, ends - time.monotonic())

    def _hand_over(self, room: int) -> list[Message]:
        """Whole batches; a part of one once its time is up, or when no more comes."""
        now, settings = time.monotonic(), self.settings
        with self._changed:
            if not self._ready:
                return []
            open_ = len(self._open)
            late = now - self._ready[0].ticks >= settings.batch_window / SECOND
            full = self._pace.ceiling is not None and open_ >= self._pace.ceiling
            count = len(self._ready)
            if not (late or full):
                heavy = sum(one.size for one in self._ready) >= settings.limit
                count = count if heavy else count - count % settings.batch_size
            count = min(count, room)
            if count <= 0:
                return []
            if count % settings.batch_size:
                self._pace.went(now, open_)
            taken, self._ready = self._ready[:count], self._ready[count:]
            self._bytes -= sum(one.size for one in taken)
        return [one.message for one in taken]

    # -- telling --------------------------------------------------------------------------------

    def _sorted(
        self, deliveries: Sequence[Delivery], connection: str
    ) -> tuple[set[str], dict[int, tuple[int, str]]]:
        """The ids about which there is nothing to be done, and the packets of which the broker can
        be told now, with their QoS and id. The others come again, with another receipt."""
        settled: set[str] = set()
        due: dict[int, tuple[int, str]] = {}
        for delivery in deliveries:
            packet, qos, of = _receipt(delivery.receipt)
            entry = self._journal.entry(packet) if packet else None
            if entry is None or entry.id != delivery.id:
                settled.add(delivery.id)
            elif of == connection and packet in self._open and self._session.alive:
                due[packet] = qos, delivery.id
        return settled, due

    def _released(self, packets: Sequence[int]) -> None:
        """Called by the connection's thread: these numbers are about to be free."""
        try:
            self._journal.free(packets)
        finally:
            with self._changed:
                for packet in packets:
                    self._accepted.discard(packet)
                    self._open.pop(packet, None)
                self._changed.notify_all()


def _receipt(text: str) -> tuple[int, int, str]:
    """Packet, QoS and connection; 0 for what is no receipt of ours."""
    packet, _, rest = text.partition(".")
    qos, _, connection = rest.partition(".")
    if not (packet.isascii() and packet.isdecimal() and qos in ("1", "2") and len(packet) < 6):
        return 0, 0, ""
    return int(packet), int(qos), connection
