"""A broker of MQTT for tests: Mosquitto, on a port of its own, with what it keeps on disk.

`python -m tests.support.mosquitto` starts one in the foreground, for trying things.
"""

from __future__ import annotations

import queue
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.support.certificates import Certificates
from tests.support.kafkaprocess import free_port
from tests.support.waiting import until

_CONFIG = """\
listener {port} 127.0.0.1
allow_anonymous {anonymous}
log_dest stderr
log_type error
log_type warning
log_type notice
log_type subscribe
persistence true
persistence_location {place}/
autosave_interval 1800
set_tcp_nodelay true
max_queued_messages 0
{more}
"""


class NoMosquitto(Exception):
    """There is no such broker here; the text says why."""


def _binary() -> str:
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    if found is None:
        raise NoMosquitto("it is not installed (apt-get install mosquitto)")
    return found


class Mosquitto:
    """One directory and one port; any number of processes, one after the other."""

    def __init__(
        self,
        *,
        inflight: int = 0,
        users: Mapping[str, str] | None = None,
        acl: str = "",
        certificates: Certificates | None = None,
        more: str = "",
    ) -> None:
        """`inflight` is how many messages it gives before it hears of them (0: as many as are
        asked for), `users` are passwords, `acl` the text of an access list."""
        self._program = _binary()
        self.directory = Path(tempfile.mkdtemp(prefix="orch-mosquitto-"))
        # It gives up the rights of root for those of a user of its own.
        self.directory.chmod(0o777)
        self.port = free_port()
        self.url = f"{'mqtts' if certificates else 'mqtt'}://127.0.0.1:{self.port}"
        self._users = dict(users or {})
        self._certificates = certificates
        lines = [f"max_inflight_messages {inflight}", more]
        if users:
            lines.append(f"password_file {self._passwords()}")
        if acl:
            lines.append(f"acl_file {self._file('acl', acl)}")
        if certificates is not None:
            server = self._file("server.pem", certificates.server.read_text())
            authority = self._file("ca.pem", certificates.authority.read_text())
            lines += [f"cafile {authority}", f"certfile {server}", f"keyfile {server}"]
        text = _CONFIG.format(
            port=self.port,
            anonymous=str(not users).lower(),
            place=self.directory,
            more="\n".join(lines),
        )
        self._config = self._file("mosquitto.conf", text)
        self._log = self.directory / "log"
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    def _file(self, name: str, text: str) -> Path:
        place = self.directory / name
        place.write_text(text)
        place.chmod(0o644)
        return place

    def _passwords(self) -> Path:
        place = self._file("passwords", "")
        for user, password in self._users.items():
            command = ["mosquitto_passwd", "-b", str(place), user, password]
            subprocess.run(command, check=True, capture_output=True)
        return place

    def start(self) -> None:
        """Start it; returns when it serves."""
        with self._log.open("ab") as log:
            command = [self._program, "-c", str(self._config)]
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        self._process = process

        def serves() -> bool:
            if process.poll() is not None:
                raise NoMosquitto(f"it ended: {self.said()}")
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return True
            return False

        until(serves, "Mosquitto serves", within=20, show=self.said)

    def stop(self) -> None:
        """End it as an operator would: what it keeps is on disk afterwards."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Pull the plug: it is back at what it wrote last."""
        self._end(signal.SIGKILL)

    def save(self) -> None:
        """Let it write down what it keeps."""
        if self._process is not None:
            self._process.send_signal(signal.SIGUSR1)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(how)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def said(self) -> str:
        """The end of its log."""
        return self._log.read_text(errors="replace")[-2000:] if self._log.exists() else ""

    def subscribed(self, filter_: str) -> bool:
        """Whether somebody has subscribed to a filter since it was made."""
        return self._log.exists() and f" {filter_}\n" in self._log.read_text(errors="replace")

    def peer(self, client_id: str = "", **options: Any) -> Peer:
        """A client past the connector, with the rights of the first user."""
        login = next(iter(self._users.items()), None)
        ca = None if self._certificates is None else str(self._certificates.authority)
        return Peer(self.port, client_id, login=login, ca=ca, **options)

    def close(self) -> None:
        """End it, and remove what it has kept."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


class Peer:
    """A client that publishes and listens. A session that lasts is one with a `client_id`."""

    def __init__(
        self,
        port: int,
        client_id: str = "",
        *,
        login: tuple[str, str] | None = None,
        ca: str | None = None,
        newer: bool = True,
    ) -> None:
        self.messages: queue.SimpleQueue[paho.MQTTMessage] = queue.SimpleQueue()
        self._newer = newer
        self._subscribed = threading.Event()
        connected = threading.Event()
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id,
            clean_session=None if newer else not client_id,
            protocol=MQTTProtocolVersion.MQTTv5 if newer else MQTTProtocolVersion.MQTTv311,
        )
        if login is not None:
            client.username_pw_set(*login)
        if ca is not None:
            client.tls_set(ca)
        client.max_queued_messages_set(0)
        client.reconnect_delay_set(1, 1)
        client.on_message = lambda _client, _data, message: self.messages.put(message)
        client.on_connect = lambda *_: connected.set()
        client.on_subscribe = lambda *_: self._subscribed.set()
        properties = None
        if newer:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = 3600 if client_id else 0
        start = (not client_id) if newer else 3
        client.connect("127.0.0.1", port, clean_start=start, properties=properties)
        client.loop_start()
        self.client = client
        assert connected.wait(20), "the broker answers"

    def subscribe(self, filter_: str, qos: int = 1) -> None:
        """Listen; returns once the broker knows."""
        self._subscribed.clear()
        self.client.subscribe(filter_, qos)
        assert self._subscribed.wait(20), "the subscription is there"

    def publish(
        self,
        topic: str,
        bodies: Iterable[str | bytes],
        *,
        qos: int = 1,
        retain: bool = False,
        properties: Sequence[tuple[str, str]] = (),
        within: float = 60.0,
    ) -> None:
        """Publish; returns once the broker has it all."""
        sent = [
            self.send(topic, body, qos=qos, retain=retain, properties=properties) for body in bodies
        ]
        for one in sent:
            one.wait_for_publish(within)
            assert one.is_published(), "the broker has it"

    def send(
        self,
        topic: str,
        body: str | bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        properties: Sequence[tuple[str, str]] = (),
    ) -> paho.MQTTMessageInfo:
        """Publish, and wait for nothing."""
        told = None
        if properties:
            told = Properties(PacketTypes.PUBLISH)
            told.UserProperty = list(properties)
        return self.client.publish(topic, body, qos, retain, properties=told)

    def close(self) -> None:
        """Leave."""
        self.client.disconnect()
        self.client.loop_stop()


def main() -> None:
    """The command."""
    broker = Mosquitto()
    print(broker.url, flush=True)
    try:
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
    finally:
        broker.close()


if __name__ == "__main__":
    main()
