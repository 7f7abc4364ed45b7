"""One connection to a broker, from CONNECT to its end, with a thread that reads and writes.

A link is not mended: whoever needs another makes another. Only its own thread touches the socket,
so that what several threads send never mixes.
"""

from __future__ import annotations

import os
import select
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

from paho.mqtt.client import ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from connectors.broker.client import Client
from connectors.broker.reasons import BAD_FILTER, BAD_VERSION, TAKEN_OVER, UNSPECIFIED, refused
from connectors.broker.security import Tls, context_of
from connectors.broker.terms import Outgoing, Terms
from connectors.streams import SourceError, SourceRefused, SourceUnavailable

ANSWER = 10.0
"""Seconds within which a broker answers."""
_CONNECT = 5.0
_SLICE = 0.2  # seconds between two looks at the stop signal
_TICK = 1.0
_AT_ONCE = 200  # packets that are read before what they say is written down
_LEAVE = 2.0
_WRITE = 1.0  # seconds in which acknowledgements are written
_LEFT: int = getattr(select, "POLLRDHUP", 0)  # Linux has it
_GONE = select.POLLHUP | select.POLLERR | _LEFT
_OF_OLD = 3  # what paho takes for 3.1.1, where this is said by `clean_session`


def _nothing(*_: object) -> None:
    return


class Link:
    """A connection. Thread-safe."""

    def __init__(
        self,
        terms: Terms,
        stop: threading.Event,
        *,
        name: str,
        received: Callable[[MQTTMessage], None] = _nothing,
        released: Callable[[Sequence[int]], None] = _nothing,
        reads: Callable[[], bool] = lambda: True,
    ) -> None:
        """`received` is called by the link's thread for each message, at QoS 2 too, when it comes;
        `released` with the packets of QoS 2 that the broker has let go, before it is told that
        their ids are free again; while `reads` is false nothing more is read."""
        self.terms = terms
        self._stop = stop
        self._name = name
        self._received, self._released, self._reads = received, released, reads
        self._changed = threading.Condition()
        self._closing = False
        self._over = False
        self._connected: bool | None = None  # once it is: whether there is a session
        self._trouble: SourceError | None = None
        self._answers: dict[int, Sequence[ReasonCode]] = {}
        self._let_go: list[int] = []
        self._thread: threading.Thread | None = None
        self._wakes, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        self._client = self._make()

    @property
    def trouble(self) -> SourceError | None:
        """Why it is over; None while it is not."""
        return self._trouble

    @property
    def alive(self) -> bool:
        """Whether it is connected."""
        return self._connected is not None and self._trouble is None and not self._over

    def open(self) -> bool:
        """Connect; returns whether the broker has a session of ours. Once only. Raises
        SourceError."""
        terms = self.terms
        where = str(terms.address)
        properties = None
        if terms.protocol == "5":
            properties = Properties(PacketTypes.CONNECT)
            if terms.lasting:
                properties.SessionExpiryInterval = terms.session_expiry
            properties.ReceiveMaximum = terms.receive_maximum
        try:
            self._client.connect(
                terms.address.host,
                terms.address.port,
                keepalive=terms.keep_alive,
                clean_start=not terms.lasting if terms.protocol == "5" else _OF_OLD,
                properties=properties,
            )
        except ssl.SSLCertVerificationError as error:
            self._end()
            raise SourceRefused(f"{where}: its certificate is not trusted: {error}") from error
        except (OSError, ValueError) as error:
            self._end()
            raise SourceUnavailable(f"{where} does not answer: {error}") from error
        with self._changed:
            if self._over:  # closed meanwhile, when there was nothing to close yet
                self._cut()
                raise SourceUnavailable(f"{where}: it is closed")
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        self._await(lambda: self._connected is not None, "the connection")
        return bool(self._connected)

    def subscribe(self, filter_: str, qos: int, *, retained: bool) -> int:
        """Ask for messages; returns the QoS that is granted. `retained`: also for those that the
        broker has kept, if the subscription is new (with 3.1.1 they come each time). Raises
        SourceError."""
        if self.terms.protocol == "5":
            handling = (
                SubscribeOptions.RETAIN_SEND_IF_NEW_SUB
                if retained
                else SubscribeOptions.RETAIN_DO_NOT_SEND
            )
            options = SubscribeOptions(qos=qos, retainHandling=handling)
            _, mid = self._client.subscribe(filter_, options=options)
        else:
            _, mid = self._client.subscribe(filter_, qos)
        [code] = self._answer(mid, "the subscription")
        if code.is_failure:
            what = f"the subscription to {filter_!r}"
            # 3.1.1 knows no other code than this one.
            value = BAD_FILTER if code.value == UNSPECIFIED else code.value
            raise refused(str(self.terms.address), what, value, code.getName())
        return code.value

    def unsubscribe(self, filter_: str) -> None:
        """Ask for no more messages. Raises SourceError."""
        _, mid = self._client.unsubscribe(filter_)
        self._answer(mid, "the end of a subscription")

    def acknowledge(self, packets: Sequence[tuple[int, int]]) -> None:
        """Tell the broker that packets (their ids, and QoS 1 or 2) have come; returns once that is
        on its way, or cannot be."""
        for mid, qos in packets:
            if qos == 1:
                self._client.ack(mid, 1)
            else:
                self._client.accept(mid)
        self._wake_up()
        ends = time.monotonic() + _WRITE
        with self._changed:
            while self._client.want_write() and self.alive and not self._closing:
                if (left := ends - time.monotonic()) <= 0:
                    return
                self._changed.wait(min(left, _SLICE))

    def publish(self, messages: Sequence[Outgoing]) -> None:
        """Publish at QoS 1; returns once the broker has them all. Raises SourceError."""
        mids: set[int] = set()
        for message in messages:
            properties = None
            if self.terms.protocol == "5" and message.expiry is not None:
                properties = Properties(PacketTypes.PUBLISH)
                properties.MessageExpiryInterval = message.expiry
            sent = self._client.publish(
                message.topic, message.body, 1, message.retain, properties=properties
            )
            mids.add(sent.mid)
        self._wake_up()
        self._await(lambda: mids <= self._answers.keys(), "what is published")
        with self._changed:
            codes = [code for mid in mids for code in self._answers.pop(mid)]
        for code in codes:
            if code.is_failure:
                where = str(self.terms.address)
                raise refused(where, "what is published", code.value, code.getName())

    def close(self) -> None:
        """Say goodbye, and end. May be called twice, and before it was opened."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            thread = self._thread
            if thread is None:
                self._end()
        if thread is not None and thread is not threading.current_thread():
            self._wake_up()
            thread.join(_LEAVE)
            if thread.is_alive():  # the broker reads nothing: leave without a word
                self._cut()
                thread.join(_LEAVE)

    # -- paho -----------------------------------------------------------------------------------

    def _make(self) -> Client:
        terms = self.terms
        newer = terms.protocol == "5"
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=terms.client_id,
            clean_session=None if newer else not terms.lasting,
            protocol=MQTTProtocolVersion.MQTTv5 if newer else MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.connect_timeout = _CONNECT
        if terms.login is not None:
            client.username_pw_set(terms.login.user, terms.login.password)
        if terms.address.tls:
            cast(Any, client).tls_set_context(context_of(terms.tls or Tls()))
        if terms.will is not None:
            will = terms.will
            client.will_set(will.topic, will.body, will.qos, will.retain)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = lambda _client, _data, message: self._received(message)
        client.on_subscribe = self._on_answers
        client.on_unsubscribe = self._on_answers
        client.on_publish = self._on_published
        client.released = self._let_go.append
        # With it paho leaves writing to us.
        client.on_socket_register_write = self._on_write
        return client

    def _on_connect(
        self, client: Any, data: Any, flags: ConnectFlags, reason: ReasonCode, properties: Any
    ) -> None:
        if reason.is_failure:
            where = str(self.terms.address)
            self._fail(refused(where, "the connection", reason.value, reason.getName()))
            return
        with self._changed:
            self._connected = bool(flags.session_present)
            self._changed.notify_all()

    def _on_disconnect(
        self, client: Any, data: Any, flags: DisconnectFlags, reason: ReasonCode, properties: Any
    ) -> None:
        where = str(self.terms.address)
        if flags.is_disconnect_packet_from_server:
            code = reason.value
            what = f"the session {self.terms.client_id}" if code == TAKEN_OVER else "the connection"
            self._fail(refused(where, what, code, reason.getName()))
        elif self._connected is None and self._client.refused == 1:
            self._fail(refused(where, "the connection", BAD_VERSION, "Unsupported version"))
        else:
            self._fail(SourceUnavailable(f"{where}: the connection was lost"))

    def _on_answers(self, client: Any, data: Any, mid: int, codes: Any, properties: Any) -> None:
        self._answered(mid, codes)

    def _on_published(self, client: Any, data: Any, mid: int, code: Any, properties: Any) -> None:
        self._answered(mid, [code])

    def _on_write(self, client: Any, data: Any, sock: Any) -> None:
        self._wake_up()

    def _answered(self, mid: int, codes: Sequence[ReasonCode]) -> None:
        with self._changed:
            self._answers[mid] = codes
            self._changed.notify_all()

    # -- waiting --------------------------------------------------------------------------------

    def _answer(self, mid: int | None, what: str) -> Sequence[ReasonCode]:
        self._wake_up()
        if mid is None:
            raise self._trouble or SourceUnavailable(f"{self.terms.address}: no connection")
        self._await(lambda: mid in self._answers, what)
        with self._changed:
            return self._answers.pop(mid)

    def _await(self, done: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + ANSWER
        with self._changed:
            while not done():
                if self._trouble is not None:
                    raise self._trouble
                left = deadline - time.monotonic()
                if self._over or self._closing or self._stop.is_set():
                    raise SourceUnavailable(f"{self.terms.address}: it is closed")
                if left <= 0:
                    break
                self._changed.wait(min(left, _SLICE))
            else:
                return
        raise SourceUnavailable(f"{self.terms.address}: {what}: no answer in {ANSWER:.0f} s")

    def _fail(self, trouble: SourceError) -> None:
        with self._changed:
            if self._trouble is None and not self._closing:
                self._trouble = trouble
            self._changed.notify_all()

    # -- the thread -----------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._serve()
        except Exception as error:  # noqa: BLE001 - whoever uses the link is told
            self._fail(SourceUnavailable(f"{self.terms.address}: {type(error).__name__}: {error}"))
        finally:
            self._end()

    def _serve(self) -> None:
        client, said = self._client, False
        pinged = time.monotonic()
        while (sock := client.socket()) is not None:
            if self._closing and not said:
                said = True
                client.disconnect()
            reads = self._reads()
            ready = self._ready(sock, reads=reads, pending=reads and _pending(sock))
            if not reads and ready & _GONE:
                return  # what it has sent and we have not read comes again
            if ready & (select.POLLIN | _GONE) and self._read(sock):
                return
            if client.want_write():
                if client.loop_write() != MQTTErrorCode.MQTT_ERR_SUCCESS:
                    return
                with self._changed:
                    self._changed.notify_all()
            if reads:
                pinged = time.monotonic()
                if client.loop_misc() != MQTTErrorCode.MQTT_ERR_SUCCESS:
                    return
            elif time.monotonic() - pinged >= self.terms.keep_alive / 2:
                pinged = time.monotonic()
                client.stay()

    def _ready(self, sock: Any, *, reads: bool, pending: bool) -> int:
        """What may be done at the socket; waits for it."""
        poll = select.poll()
        wants = select.POLLIN if reads else _LEFT
        wants |= select.POLLOUT if self._client.want_write() else 0
        poll.register(sock, wants)
        poll.register(self._wakes, select.POLLIN)
        found = dict(poll.poll(0 if pending else (_TICK if reads else 0.05) * 1000))
        if found.pop(self._wakes, 0):
            os.read(self._wakes, 4096)
        return (select.POLLIN if pending else 0) | sum(found.values())

    def _read(self, sock: Any) -> bool:
        """Read what there is, some at a time; returns whether the connection is over."""
        over = False
        for _ in range(_AT_ONCE):
            over = self._client.loop_read() != MQTTErrorCode.MQTT_ERR_SUCCESS
            if over or self._client.socket() is None or not self._reads():
                break
            if not _pending(sock) and not _readable(sock):
                break
        if self._let_go:
            mids = list(self._let_go)
            self._let_go.clear()
            self._released(mids)
            for mid in mids:
                self._client.ack(mid, 2)
        return over

    def _wake_up(self) -> None:
        with self._changed:
            if self._over:
                return
            try:
                os.write(self._wake, b"\0")
            except BlockingIOError:  # it is full of them
                return

    def _cut(self) -> None:
        sock: Any = self._client.socket()
        if sock is not None:
            sock.close()

    def _end(self) -> None:
        with self._changed:
            if self._over:
                return
            self._over = True
            if self._trouble is None and not self._closing:
                self._trouble = SourceUnavailable(f"{self.terms.address}: the connection was lost")
            os.close(self._wakes)
            os.close(self._wake)
            self._changed.notify_all()
        self._cut()


def _pending(sock: Any) -> bool:
    """Whether the layer of TLS holds something that was read already."""
    return isinstance(sock, ssl.SSLSocket) and sock.pending() > 0


def _readable(sock: Any) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
