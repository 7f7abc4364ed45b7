"""A Kafka broker as a process of its own (KRaft), to be stopped, killed and started again."""

from __future__ import annotations

import random
import signal
import socket
import subprocess
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tests.support.kafkajars import NoKafka, classpath, java
from tests.support.waiting import until

_START = 150.0  # seconds; on an idle machine it takes three
# Little memory, quick to notice what retention and compaction have to do, and no waiting for
# groups to form. One copy of everything. A topic that is asked for carelessly is made, as it is by
# every broker that nobody told otherwise.
_SETTINGS = {
    "offsets.topic.num.partitions": "4",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    "log.initial.task.delay.ms": "500",
    "log.retention.check.interval.ms": "500",
    "log.cleaner.backoff.ms": "300",
    "log.cleaner.dedupe.buffer.size": "8388608",
    "log.segment.delete.delay.ms": "0",
    "num.network.threads": "2",
    "num.io.threads": "4",
    "message.max.bytes": "67108864",
    "controlled.shutdown.enable": "true",
    "broker.heartbeat.interval.ms": "500",
    "broker.session.timeout.ms": "3000",
}
# Half the processor time of a start goes into code that is compiled twice.
_JVM = ("-Xms128m", "-Xmx1g", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses, and that no outgoing connection will be given.

    A broker keeps its ports while it is down, so they lie below those that the system hands out.
    """
    while True:
        port = random.randrange(15_000, 32_000)
        with closing(socket.socket()) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


def cluster_id() -> str:
    """A new name for a cluster."""
    # One that begins with "-" would be taken for an option.
    first, *rest = uuid.uuid4().bytes
    return urlsafe_b64encode(bytes([first & 0x7F, *rest])).decode().rstrip("=")


class KafkaProcess:
    """One data directory and fixed ports; any number of processes, one after the other."""

    def __init__(
        self,
        directory: Path,
        *,
        cluster: str = "",
        node_id: int = 1,
        controller: str = "",
        settings: Mapping[str, str] | None = None,
        listeners: Mapping[str, str] | None = None,
        format_options: Sequence[str] = (),
    ) -> None:
        """`listeners` gives names and security protocols beside the listener PLAINTEXT, and
        `controller` is another node's id and address, where it is not this one."""
        self._java, self._classpath = java(), classpath()
        self.directory = directory
        self._log = directory / "log"
        directory.mkdir(parents=True)
        names = {"PLAINTEXT": "PLAINTEXT", **(listeners or {})}
        self.addresses = {name: f"127.0.0.1:{free_port()}" for name in names}
        own = {} if controller else {"CONTROLLER": f"127.0.0.1:{free_port()}"}
        self.controller = controller or f"{node_id}@{own['CONTROLLER']}"
        bound = self.addresses | own
        protocols = {**names, "CONTROLLER": "PLAINTEXT"}
        values = {
            **_SETTINGS,
            "node.id": str(node_id),
            "process.roles": "broker" if controller else "broker,controller",
            "controller.quorum.voters": self.controller,
            "controller.listener.names": "CONTROLLER",
            "listeners": ",".join(f"{name}://{address}" for name, address in bound.items()),
            "advertised.listeners": ",".join(f"{n}://{a}" for n, a in self.addresses.items()),
            "listener.security.protocol.map": ",".join(f"{n}:{p}" for n, p in protocols.items()),
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": str(directory / "data"),
            **(settings or {}),
        }
        self._properties = directory / "server.properties"
        self._properties.write_text("".join(f"{key}={value}\n" for key, value in values.items()))
        self._process: subprocess.Popen[bytes] | None = None
        self._format(cluster or cluster_id(), format_options)

    @property
    def bootstrap(self) -> str:
        """The address of the listener PLAINTEXT."""
        return self.addresses["PLAINTEXT"]

    def _command(self, main: str, *arguments: str) -> list[str]:
        return [self._java, *_JVM, "-cp", self._classpath, main, *arguments]

    def _format(self, cluster: str, options: Sequence[str]) -> None:
        command = self._command(
            "kafka.tools.StorageTool",
            *("format", "-t", cluster, "-c", str(self._properties), *options),
        )
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode:
            raise NoKafka(f"the broker's directory was not made: {done.stdout.decode()[-500:]}")

    def start(self) -> None:
        """Start it; returns when it serves."""
        if self.alive:
            return
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                self._command("kafka.Kafka", str(self._properties)),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._process = process

        def ready() -> bool:
            if process.poll() is not None:
                raise NoKafka(f"the broker ended: {self.said()}")
            return _serves(self.bootstrap)

        until(ready, "the broker serves", within=_START, show=self.said)

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def said(self) -> str:
        """The end of its log."""
        return self._log.read_text(errors="replace")[-3000:]

    def stop(self) -> None:
        """End it as an operator would; its data stays."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """It takes connections and answers nobody meanwhile."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Pull the plug; its data stays."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def admin_client(**options: Any) -> Any:
    """A KafkaAdminClient. Untyped: the stubs that pyright brings describe an older one."""
    from kafka import admin

    from connectors.kafka.cluster_python import Network
    from connectors.kafka.sockets import DIRECT

    tidy = {"kafka_client": Network().make, "proxy_url": DIRECT}
    return admin.KafkaAdminClient(**tidy, **options)


def _serves(address: str) -> bool:
    """Whether a broker answers there and counts itself among those that serve."""
    from kafka.errors import KafkaError

    host, _, port = address.rpartition(":")
    try:
        # kafka-python leaves a socket open for each connection that is refused.
        socket.create_connection((host, int(port)), timeout=1).close()
        admin = admin_client(bootstrap_servers=address, bootstrap_timeout_ms=1000)
    except (KafkaError, OSError):
        return False
    try:
        brokers = admin.describe_cluster()["brokers"]
    except (KafkaError, OSError):
        return False
    finally:
        admin.close()
    return any(f"{broker['host']}:{broker['port']}" == address for broker in brokers)
