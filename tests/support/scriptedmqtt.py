"""A broker that says what it is told to say, packet by packet, to one client at a time."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass

from tests.support.waiting import until

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = 1, 2, 3, 4, 5, 6, 7
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, DISCONNECT = 8, 9, 10, 11, 12, 14


@dataclass(frozen=True)
class Packet:
    """What a client has sent."""

    kind: int
    body: bytes

    @property
    def mid(self) -> int:
        """The packet's id, where it begins with one."""
        return int.from_bytes(self.body[:2], "big")


class ScriptedBroker:
    """Answers CONNECT, SUBSCRIBE, UNSUBSCRIBE and PINGREQ by itself; the rest is the test's."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"mqtt://127.0.0.1:{self._server.getsockname()[1]}"
        self.present = False
        """Whether there is a session of whoever comes."""
        self.code = 0
        """The answer to CONNECT."""
        self.granted = b"\1"
        """The answer to SUBSCRIBE."""
        self.newer = False
        """Whether it speaks MQTT 5, and not 3.1.1."""
        self.ends_at_once = False
        self.silent = False
        """Whether CONNECT stays without an answer."""
        self.said: list[Packet] = []
        self.connections = 0
        self._client: socket.socket | None = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._server.accept()
                with self._lock:
                    self._client = client
                    self.connections += 1
                with suppress(OSError, ValueError):
                    self._talk(client)
                with self._lock:
                    self._client = None
                    client.close()

    def _talk(self, client: socket.socket) -> None:
        file = client.makefile("rb")
        while head := file.read(1):
            length = shift = 0
            while True:
                [byte] = file.read(1)
                length |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    break
            packet = Packet(head[0] >> 4, file.read(length))
            self.said.append(packet)
            if packet.kind == CONNECT and not self.silent:
                answer = bytes([self.present, self.code, *([0] if self.newer else [])])
                client.sendall(bytes([CONNACK << 4, len(answer)]) + answer)
                if self.ends_at_once:
                    return
            elif packet.kind == SUBSCRIBE:
                answer = packet.body[:2] + (b"\0" if self.newer else b"") + self.granted
                client.sendall(bytes([SUBACK << 4, len(answer)]) + answer)
            elif packet.kind == UNSUBSCRIBE:
                client.sendall(bytes([UNSUBACK << 4, 2]) + packet.body[:2])
            elif packet.kind == PINGREQ:
                client.sendall(b"\xd0\0")

    def send(self, content: bytes) -> None:
        """Send bytes to whoever is connected."""
        client = until(lambda: self._client, "a client is connected", within=20)
        client.sendall(content)

    def publish(
        self, topic: str, body: bytes, mid: int, *, qos: int = 1, dup: bool = False
    ) -> None:
        """Deliver a message."""
        name = topic.encode()
        rest = struct.pack("!H", len(name)) + name + (struct.pack("!H", mid) if qos else b"") + body
        head = (PUBLISH << 4) | (dup << 3) | (qos << 1)
        assert len(rest) < 128
        self.send(bytes([head, len(rest)]) + rest)

    def release(self, mid: int) -> None:
        """Let go of a message of QoS 2."""
        self.send(bytes([(PUBREL << 4) | 2, 2]) + struct.pack("!H", mid))

    def heard(self, kind: int) -> list[int]:
        """The ids of packets of a kind that have come."""
        return [packet.mid for packet in self.said if packet.kind == kind]

    def drop(self) -> None:
        """Cut the connection."""
        with self._lock:
            if self._client is not None:
                with suppress(OSError):  # it has gone by itself
                    self._client.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End it."""
        self.drop()
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join(5)
