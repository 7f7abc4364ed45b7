"""The session of one trigger at its broker: one connection after the other under one name."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Sequence

from paho.mqtt.client import MQTTMessage

from connectors.broker.link import Link
from connectors.broker.terms import Terms, Will
from connectors.mqtt.journal import Journal
from connectors.mqtt.settings import MqttSettings
from connectors.streams import SourceContext, SourceRefused, SourceUnavailable
from connectors.times import SECOND

_MAX_NAME = 40  # characters of a trigger's name in a client id
_SHORT = 3.0  # seconds of a connection that was ended at once
_OFTEN = 3


class Session:
    """Connects when it is asked to. `keep` is for one thread, the rest for any."""

    def __init__(
        self,
        settings: MqttSettings,
        context: SourceContext,
        journal: Journal,
        *,
        received: Callable[[str, MQTTMessage], None],
        released: Callable[[Sequence[int]], None],
        reads: Callable[[], bool],
        began: Callable[[bool], None],
    ) -> None:
        """`received` gets the name of the connection with each message; `began` is told when there
        is a new connection, and whether the session before it goes on."""
        self._settings = settings
        self._context = context
        self._journal = journal
        self._received, self._released = received, released
        self._reads, self._began = reads, began
        self._lock = threading.Lock()
        self._closed = False
        self._link: Link | None = None
        self._subscribed = False
        self._since = 0.0
        self._short = 0
        self.connection = ""
        """The name of the latest connection."""

    @property
    def client_id(self) -> str:
        """What the broker knows the session by: the same for ever."""
        context = self._context
        own = f"orch-{context.instance}-{context.trigger[:_MAX_NAME]}-{context.trigger_uid}"
        return self._settings.client_id or own

    @property
    def alive(self) -> bool:
        """Whether there is a connection."""
        link = self._link
        return link is not None and link.alive

    @property
    def listening(self) -> bool:
        """Whether its subscription is there, too."""
        return self.alive and self._subscribed

    def keep(self) -> None:
        """See to it that there is a connection. Raises SourceError."""
        link = self._link
        if link is not None and link.trouble is None:
            return
        if link is not None:
            self._lost(link)
        self._connect()

    def acknowledge(self, connection: str, packets: Sequence[tuple[int, int]]) -> None:
        """Tell the broker that packets (their ids, and QoS) of a connection have come: in another
        one the same numbers may be those of other messages."""
        with self._lock:
            link = self._link if connection == self.connection else None
        if link is not None and link.alive:
            link.acknowledge(packets)

    def drop(self) -> None:
        """End the connection: what the broker was not told about comes again in the next."""
        with self._lock:
            link, self._link = self._link, None
        if link is not None:
            link.close()

    def close(self) -> None:
        """End the connection; the broker keeps the session. May be called twice."""
        with self._lock:
            self._closed = True
        self.drop()

    def _lost(self, link: Link) -> None:
        """Raises what has to be seen, and not only mended."""
        trouble = link.trouble
        link.close()
        self._link = None
        if isinstance(trouble, SourceRefused):
            raise trouble
        self._short = self._short + 1 if time.monotonic() - self._since < _SHORT else 0
        if self._short >= _OFTEN:
            self._short = 0
            raise SourceUnavailable(
                f"{trouble}, again and again: does another client use the id {self.client_id!r}?"
            )

    def _connect(self) -> None:
        name = secrets.token_hex(4)
        link = Link(
            self._terms(),
            self._context.stop,
            name=f"mqtt-{self._context.trigger}",
            received=lambda message: self._received(name, message),
            released=self._released,
            # Answers come behind whatever the broker delivers at once.
            reads=lambda: not self._subscribed or self._reads(),
        )
        with self._lock:
            if self._closed:
                link.close()
                raise SourceUnavailable("the source is closed")
            self._link, self.connection, self._subscribed = link, name, False
        try:
            present = link.open()
            if not present:
                self._journal.begin()
            self._began(present)
            self._subscribe(link, present=present)
        except BaseException:
            link.close()
            with self._lock:
                self._link = None
            raise
        self._since = time.monotonic()
        self._subscribed = True

    def _subscribe(self, link: Link, *, present: bool) -> None:
        wanted = self._settings.topic
        mark = f"{self._settings.qos} {wanted}"
        known = self._journal.subscribed
        for other in known:
            if other.partition(" ")[2] != wanted:
                link.unsubscribe(other.partition(" ")[2])
        # With 3.1.1 asking once more brings all retained messages once more.
        if self._settings.protocol == "5" or not present or mark not in known:
            retained = self._settings.retained == "take"
            link.subscribe(wanted, self._settings.qos, retained=retained)
        if list(known) != [mark]:
            self._journal.subscribes([mark])

    def _terms(self) -> Terms:
        settings, secrets_ = self._settings, self._context.secrets
        will = None
        if settings.will is not None:
            given = settings.will
            will = Will(
                topic=given.topic, body=given.body.encode(), qos=given.qos, retain=given.retain
            )
        address = settings.address
        return Terms(
            address=address,
            client_id=self.client_id,
            protocol=settings.protocol,
            keep_alive=settings.keep_alive // SECOND,
            session_expiry=min(settings.session_expiry // SECOND, 2**32 - 1),
            receive_maximum=settings.max_inflight,
            login=settings.security.open_login(secrets_),
            tls=settings.security.open_tls(secrets_) if address.tls else None,
            will=will,
        )
