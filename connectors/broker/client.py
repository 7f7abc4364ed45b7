"""paho's client, but for QoS 2: a message is handed over when it comes, and said to have come when
somebody says so.

paho answers PUBREC by itself as soon as a message of QoS 2 arrives, and hands it over at PUBREL:
the broker has forgotten the message by then, and a process that dies in between has lost it. Here
PUBREC waits until the message is durable. https://docs.oasis-open.org/mqtt/mqtt/v5.0/os 4.3.3
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Callable

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTErrorCode


def _nothing(_: int) -> None:
    return


class Client(paho.Client):
    """Made with ``manual_ack``."""

    released: Callable[[int], None] = staticmethod(_nothing)
    """Called with the id of a packet of QoS 2 that the broker lets go; `ack` frees the id."""

    refused: int = 0
    """The code with which a broker has refused the connection, as the packet has it: paho does not
    tell of 1, that of an unknown version, in 3.1.1."""

    def accept(self, mid: int) -> None:
        """Say that a message of QoS 2 has come: the broker need not keep it."""
        super()._send_pubrec(mid)

    def stay(self) -> None:
        """Let the broker know that we are there, although we read nothing."""
        self._send_pingreq()

    def _send_pubrec(self, mid: int) -> MQTTErrorCode:
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _ssl_wrap_socket(self, tcp_sock: socket.socket) -> ssl.SSLSocket:
        # paho leaves the socket open where the other side is not trusted.
        context: ssl.SSLContext | None = getattr(self, "_ssl_context", None)
        if context is None:
            raise ValueError("there is no context for TLS")
        sock = context.wrap_socket(
            tcp_sock, server_hostname=self._host, do_handshake_on_connect=False
        )
        try:
            sock.settimeout(self.connect_timeout)
            sock.do_handshake()
        except BaseException:
            sock.close()
            raise
        return sock

    def _handle_connack(self) -> MQTTErrorCode:
        self.refused = self._in_packet["packet"][1]
        return super()._handle_connack()

    def _handle_publish(self) -> MQTTErrorCode:
        code = super()._handle_publish()
        with self._in_message_mutex:
            came = list(self._in_messages.values())
            self._in_messages.clear()
        for message in came:
            self._handle_on_message(message)
        return code

    def _handle_pubrel(self) -> MQTTErrorCode:
        (mid,) = struct.unpack_from("!H", self._in_packet["packet"])
        self.released(mid)
        return MQTTErrorCode.MQTT_ERR_SUCCESS
