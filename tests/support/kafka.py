"""A Kafka cluster for tests: topics, records, and things that go wrong.

`make kafka` (`python -m tests.support.kafka`) starts one broker in the foreground, for trying
things.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import signal
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.kafkaprocess import KafkaProcess, admin_client, cluster_id
from tests.support.waiting import until

if TYPE_CHECKING:  # heavy, and most test runs of one directory need no broker
    from confluent_kafka import Producer

_numbers = itertools.count(1)
_FLUSH = 60.0  # seconds


class Kafka:
    """A cluster of one broker or more; `close` ends it and removes its data."""

    def __init__(self, brokers: Sequence[KafkaProcess], directory: Path | None = None) -> None:
        self.brokers = brokers
        self._directory = directory
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    @classmethod
    def single(cls, **options: Any) -> Kafka:
        """One broker; options as KafkaProcess takes them."""
        directory = Path(tempfile.mkdtemp(prefix="orch-kafka-"))
        return cls([KafkaProcess(directory / "1", **options)], directory)

    @classmethod
    def pair(cls) -> Kafka:
        """Two brokers, in rack-1 and rack-2. The first is the controller too; the second may be
        stopped or killed."""
        directory = Path(tempfile.mkdtemp(prefix="orch-kafka-"))
        cluster = cluster_id()
        copies = {
            "offsets.topic.replication.factor": "2",
            "transaction.state.log.replication.factor": "2",
            "replica.selector.class": ("org.apache.kafka.common.replica.RackAwareReplicaSelector"),
        }
        first = KafkaProcess(
            directory / "1", cluster=cluster, settings={**copies, "broker.rack": "rack-1"}
        )
        second = KafkaProcess(
            directory / "2",
            cluster=cluster,
            node_id=2,
            controller=first.controller,
            settings={**copies, "broker.rack": "rack-2"},
        )
        return cls([first, second], directory)

    @property
    def bootstrap(self) -> str:
        """`host:port` of every broker, joined by commas."""
        return ",".join(broker.bootstrap for broker in self.brokers)

    @contextmanager
    def admin(self) -> Iterator[Any]:
        """A KafkaAdminClient for what has no method here."""
        alive = [broker.bootstrap for broker in self.brokers if broker.alive]
        client = admin_client(bootstrap_servers=alive)
        try:
            yield client
        finally:
            client.close()

    def topic(
        self,
        partitions: int = 1,
        *,
        name: str = "",
        configs: Mapping[str, str] | None = None,
        replicas: Mapping[int, Sequence[int]] | None = None,
    ) -> str:
        """Make a topic and wait until it can be used; returns its name.

        `replicas` gives the nodes of each partition, the preferred leader first.
        """
        name = name or f"t{next(_numbers)}-{os.getpid()}"
        options: dict[str, Any] = {"configs": dict(configs or {})}
        if replicas:
            options["assignments"] = replicas
        else:
            options |= {"num_partitions": partitions, "replication_factor": 1}
        with self.admin() as admin:
            admin.create_topics({name: options}, wait_for_metadata=True)
        return name

    def delete_topic(self, name: str) -> None:
        """Delete a topic; its name is free when this returns."""
        with self.admin() as admin:
            admin.delete_topics([name])
            until(lambda: name not in admin.list_topics(), f"the topic {name} is gone")

    def add_partitions(self, topic: str, total: int) -> None:
        """Let a topic have so many partitions."""
        with self.admin() as admin:
            admin.create_partitions({topic: total})
            until(
                lambda: len(admin.describe_topics([topic])[0]["partitions"]) == total,
                f"{topic} has {total} partitions",
            )
            admin.wait_for_topics([topic])

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        """Let the log of a partition start at an offset, as retention would."""
        from kafka.structs import TopicPartition

        with self.admin() as admin:
            admin.delete_records({TopicPartition(topic, partition): before})

    def produce(
        self,
        topic: str,
        partition: int,
        values: Iterable[bytes | None],
        *,
        keys: Iterable[bytes | None] | None = None,
        headers: Sequence[tuple[str, bytes]] = (),
        timestamp_ms: int = 0,
        **settings: Any,
    ) -> None:
        """Append records, in order and once; returns when they are there.

        `timestamp_ms` 0 is now. `settings` are librdkafka's, with underscores for dots.
        """
        producer = self._producer(settings)
        _send(producer, topic, partition, values, keys, headers, timestamp_ms)

    def produce_all(self, topic: str, values: Mapping[int, Iterable[bytes]]) -> None:
        """Append values to several partitions, by one producer; returns when they are there."""
        producer = self._producer({})
        for partition, mine in values.items():
            _send(producer, topic, partition, mine)

    def _producer(self, settings: Mapping[str, Any]) -> Producer:
        from confluent_kafka import Producer

        return Producer(
            {
                "bootstrap.servers": self.bootstrap,
                "enable.idempotence": True,
                "queue.buffering.max.messages": 1_000_000,
                "linger.ms": 5,
                "message.max.bytes": 64 << 20,
                "log_level": 0,
                **{key.replace("_", "."): value for key, value in settings.items()},
            }
        )

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """An open transaction, aborted at the end unless it was committed."""
        producer = self._producer({"transactional.id": f"tx-{next(_numbers)}-{os.getpid()}"})
        producer.init_transactions(_FLUSH)
        transaction = Transaction(producer)
        try:
            yield transaction
        finally:
            if transaction.open:
                transaction.abort()

    def stop(self) -> None:
        """End all brokers in an orderly way; the data stays."""
        for broker in reversed(self.brokers):
            broker.stop()

    def kill(self) -> None:
        """Pull the plug of all; the data stays."""
        for broker in self.brokers:
            broker.kill()

    def start(self) -> None:
        """Start those that do not run, with the same data and addresses."""
        for broker in self.brokers:
            broker.start()

    def restart(self) -> None:
        """Stop and start."""
        self.stop()
        self.start()

    @contextmanager
    def down(self, *, kill: bool = False) -> Iterator[None]:
        """No broker meanwhile; up again afterwards, whatever happens."""
        if kill:
            self.kill()
        else:
            self.stop()
        try:
            yield
        finally:
            self.start()

    def close(self) -> None:
        """End it and remove its data."""
        self.kill()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)


class Transaction:
    """A producer within a transaction. After its end another one may `begin`."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self.open = False
        self.begin()

    def begin(self) -> None:
        """Begin the next one."""
        self._producer.begin_transaction()
        self.open = True

    def send(self, topic: str, partition: int, values: Iterable[bytes | None]) -> None:
        """Append records; returns when the broker has them."""
        _send(self._producer, topic, partition, values)

    def commit(self) -> None:
        """Let them be seen."""
        self._producer.commit_transaction(_FLUSH)
        self.open = False

    def abort(self) -> None:
        """Let them never be seen."""
        self._producer.abort_transaction(_FLUSH)
        self.open = False


def _send(
    producer: Producer,
    topic: str,
    partition: int,
    values: Iterable[bytes | None],
    keys: Iterable[bytes | None] | None = None,
    headers: Sequence[tuple[str, bytes]] = (),
    timestamp_ms: int = 0,
) -> None:
    failed: list[str] = []

    def delivered(error: object, _: object) -> None:
        if error is not None:
            failed.append(str(error))

    more: dict[str, Any] = {"headers": list(headers)} if headers else {}
    if timestamp_ms:
        more["timestamp"] = timestamp_ms
    for value, key in zip(values, keys or itertools.repeat(None), strict=False):
        while True:
            try:
                producer.produce(topic, value, key, partition, on_delivery=delivered, **more)
                break
            except BufferError:
                producer.poll(0.1)
    left = producer.flush(_FLUSH)
    assert not left, f"{left} records were not delivered within {_FLUSH:g} s"
    assert not failed, f"{len(failed)} records were not delivered: {failed[0]}"


def main() -> None:
    """One broker until somebody ends it."""
    parser = argparse.ArgumentParser(description="Start a Kafka broker, for trying things.")
    parser.add_argument("--topic", action="append", default=[], metavar="NAME[:PARTITIONS]")
    arguments = parser.parse_args()
    kafka = Kafka.single()
    try:
        for text in arguments.topic:
            name, _, partitions = text.partition(":")
            kafka.topic(int(partitions or 1), name=name)
        print(f"Kafka listens on {kafka.bootstrap}; Ctrl-C ends it", flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
    finally:
        kafka.close()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    main()
