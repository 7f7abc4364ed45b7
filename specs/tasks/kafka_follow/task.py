"""Consumes a Kafka partition for a while, commits how far it is, and leaves in time.

It begins at KAFKA_START, whatever the group has committed: orch keeps the truth. Commits go to
KAFKA_GROUP with the metadata `<ORCH_RUN_ID>/<ORCH_ATTEMPT>`, by which orch knows whose they are,
and each says that everything before it is done. Shortly before ORCH_DEADLINE it commits for the
last time, writes one line of JSON, and leaves:

    {"topic": "logs", "partition": 0, "start": 100, "end": 200,
     "count": 98, "first": 100, "last": 199, "bytes": 19600, "left": "time"}

`end` is what was committed last; `left` is `time`, `idle` or `asked` (SIGTERM).

Environment, beside what every task of orch gets (ORCH_RUN_ID, ORCH_ATTEMPT, ORCH_DEADLINE):

    KAFKA_BROKERS              host:port, several with commas between
    KAFKA_TOPIC, KAFKA_PARTITION, KAFKA_START, KAFKA_GROUP
    KAFKA_IDLE_EXIT            leaves after so many seconds without a record; 0: stays
    KAFKA_ISOLATION            read_committed (default) or read_uncommitted
    KAFKA_SASL_MECHANISM, KAFKA_SASL_USER, KAFKA_SASL_PASSWORD
    KAFKA_TLS                  any text turns TLS on
    KAFKA_TLS_CA, KAFKA_TLS_CERT, KAFKA_TLS_KEY    PEM files: whom to trust, and who we are

Exit codes:

    0    left in time, with everything committed
    1    the cluster says no: an unknown topic, a missing right
    2    a variable is missing or makes no sense
    64   the log no longer holds the offset that is next: records are lost
    75   nobody answered: what was not committed is read again by the next life
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from typing import Any, Protocol

from kafka import KafkaConsumer
from kafka.errors import KafkaError, OffsetOutOfRangeError
from kafka.structs import OffsetAndMetadata, TopicPartition

REFUSED, USAGE, LOST, TRY_AGAIN = 1, 2, 64, 75
POLL_MS = 200
POLL_RECORDS = 2_000
COMMIT_EVERY = 1.0
"""Seconds between commits."""
COMMIT_RECORDS = 10_000
"""So many records are committed before that."""
COMMIT_TIMEOUT_MS = 3_000
MARGIN = 4.0
"""Seconds before ORCH_DEADLINE at which the last commit begins: it needs its own timeout."""


class Failed(Exception):
    """The task ends with this exit code; the text is for people."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        super().__init__(text)


class Consumer(Protocol):
    """What is used of kafka-python's consumer."""

    def assign(self, partitions: Sequence[Any]) -> None: ...
    def seek(self, partition: Any, offset: int) -> None: ...
    def position(self, partition: Any) -> int | None: ...
    def poll(self, *, timeout_ms: int, max_records: int) -> Mapping[Any, Sequence[Any]]: ...
    def partitions_for_topic(self, topic: str) -> set[int] | None: ...
    def beginning_offsets(self, partitions: Sequence[Any]) -> Mapping[Any, int]: ...
    def commit(self, offsets: Mapping[Any, Any], timeout_ms: int) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Life:
    """What one life of a consumer is told. Times are seconds since the epoch."""

    topic: str
    partition: int
    start: int
    who: str
    """The metadata of its commits."""
    leave_at: float
    idle_exit: float
    """Seconds; 0: never."""


@dataclass(kw_only=True)
class Tally:
    """What it has consumed, and how far it has committed."""

    end: int
    count: int = 0
    first: int | None = None
    last: int | None = None
    bytes: int = 0

    def add(self, record: Any) -> None:
        """Process one record: your own work goes here, and is done when this returns."""
        self.count += 1
        self.first = record.offset if self.first is None else self.first
        self.last = record.offset
        self.bytes += len(record.key or b"") + len(record.value or b"")


def main(
    environment: Mapping[str, str],
    *,
    asked: Callable[[], bool] = lambda: False,
    connect: Callable[[Mapping[str, Any]], Consumer] = lambda options: KafkaConsumer(**options),
    now: Callable[[], float] = time.time,
) -> int:
    """Live one life; returns the exit code. `asked` says whether to leave at once."""
    try:
        life = read_life(environment)
        tally = Tally(end=life.start)
        with closing(open_consumer(environment, connect)) as consumer:
            left = follow(consumer, life, tally, asked, now)
    except Failed as failure:
        sys.stderr.write(f"{failure}\n")
        return failure.code
    told = {"topic": life.topic, "partition": life.partition, "start": life.start}
    sys.stdout.write(json.dumps({**told, **vars(tally), "left": left}) + "\n")
    return 0


def follow(
    consumer: Consumer,
    life: Life,
    tally: Tally,
    asked: Callable[[], bool],
    now: Callable[[], float],
) -> str:
    """Consume until it is time to leave; returns why. Raises Failed."""
    partition = TopicPartition(life.topic, life.partition)
    try:
        if life.partition not in (consumer.partitions_for_topic(life.topic) or ()):
            raise Failed(REFUSED, f"there is no partition {life.partition} of {life.topic}")
        # Assigned by hand: a group would wait for members that died, and share partitions out.
        consumer.assign([partition])
        consumer.seek(partition, life.start)
        seen_at = committed_at = now()
        pending = 0
        while True:
            at = now()
            left = why_leave(life, at, seen_at, asked)
            # The position also moves over offsets at which there is no record to be seen.
            position = consumer.position(partition) or tally.end
            due = pending >= COMMIT_RECORDS or at - committed_at >= COMMIT_EVERY
            if position > tally.end and (due or left):
                marked = OffsetAndMetadata(position, life.who, -1)
                consumer.commit({partition: marked}, timeout_ms=COMMIT_TIMEOUT_MS)
                tally.end, committed_at, pending = position, at, 0
            if left:
                return left
            polled = consumer.poll(timeout_ms=POLL_MS, max_records=POLL_RECORDS)
            records = polled.get(partition, ())
            for record in records:
                tally.add(record)
            if records:
                seen_at = now()
                pending += len(records)
    except OffsetOutOfRangeError as error:
        oldest = consumer.beginning_offsets([partition])[partition]
        at = consumer.position(partition) or 0
        if at < oldest:
            raise Failed(LOST, f"lost: the log begins at {oldest}, and {at} was next") from error
        raise Failed(REFUSED, f"the log ends before offset {at}: it was cut off") from error
    except KafkaError as error:
        raise failed(error) from error


def why_leave(life: Life, at: float, seen_at: float, asked: Callable[[], bool]) -> str:
    """Why to leave now, or nothing."""
    if asked():
        return "asked"
    if at >= life.leave_at:
        return "time"
    return "idle" if 0 < life.idle_exit <= at - seen_at else ""


def failed(error: KafkaError) -> Failed:
    """What a client's error means for the task."""
    return Failed(TRY_AGAIN if error.retriable else REFUSED, str(error))


def open_consumer(
    environment: Mapping[str, str], connect: Callable[[Mapping[str, Any]], Consumer]
) -> Consumer:
    """A consumer that never jumps to another offset by itself. Raises Failed."""
    sasl, tls = environment.get("KAFKA_SASL_MECHANISM"), environment.get("KAFKA_TLS")
    options = {
        "bootstrap_servers": required(environment, "KAFKA_BROKERS").split(","),
        "security_protocol": ("SASL_" if sasl else "") + ("SSL" if tls else "PLAINTEXT"),
        "sasl_mechanism": sasl,
        "sasl_plain_username": environment.get("KAFKA_SASL_USER"),
        "sasl_plain_password": environment.get("KAFKA_SASL_PASSWORD"),
        "ssl_cafile": environment.get("KAFKA_TLS_CA"),
        "ssl_certfile": environment.get("KAFKA_TLS_CERT"),
        "ssl_keyfile": environment.get("KAFKA_TLS_KEY"),
        "isolation_level": environment.get("KAFKA_ISOLATION") or "read_committed",
        "client_id": environment.get("ORCH_TRIGGER") or "kafka-follow",
        "group_id": required(environment, "KAFKA_GROUP"),
        "auto_offset_reset": "none",
        "enable_auto_commit": False,
        "kafka_client": make_no_topics,
        "bootstrap_timeout_ms": 10_000,
        "metrics_enabled": False,
    }
    try:
        return connect(options)
    except KafkaError as error:
        raise failed(error) from error
    except (OSError, ValueError) as error:
        raise Failed(USAGE, f"KAFKA_…: {error}") from error


def make_no_topics(**options: Any) -> Any:
    """What the consumer speaks through. Its own option for this, `allow_auto_create_topics`, does
    not get that far, and a topic that is deleted while we read would be made again."""
    client: Any = import_module("kafka.net.compat").KafkaNetClient(**options)
    client.cluster.config["allow_auto_create_topics"] = False
    return client


def read_life(environment: Mapping[str, str]) -> Life:
    """What the environment tells. Raises Failed."""
    deadline = required(environment, "ORCH_DEADLINE")
    try:
        leave_at = datetime.fromisoformat(deadline).timestamp() - MARGIN
    except ValueError as error:
        raise Failed(USAGE, f"ORCH_DEADLINE: {deadline!r} is no time in RFC 3339") from error
    return Life(
        topic=required(environment, "KAFKA_TOPIC"),
        partition=whole(environment, "KAFKA_PARTITION"),
        start=whole(environment, "KAFKA_START"),
        who=f"{required(environment, 'ORCH_RUN_ID')}/{required(environment, 'ORCH_ATTEMPT')}",
        leave_at=leave_at,
        idle_exit=whole(environment, "KAFKA_IDLE_EXIT", default="0"),
    )


def whole(environment: Mapping[str, str], name: str, default: str = "") -> int:
    """A variable that is a whole number. Raises Failed."""
    text = environment.get(name) or default or required(environment, name)
    if not text.isdecimal():
        raise Failed(USAGE, f"{name}: {text!r} is not a whole number")
    return int(text)


def required(environment: Mapping[str, str], name: str) -> str:
    """A variable that must be there. Raises Failed."""
    value = environment.get(name, "").strip()
    if not value:
        raise Failed(USAGE, f"{name} is not set")
    return value


if __name__ == "__main__":
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stopped.append(number))
    sys.exit(main(os.environ, asked=lambda: bool(stopped)))
