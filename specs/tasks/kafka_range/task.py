"""Reads exactly one range of a Kafka partition, and writes one line of JSON about it.

    {"topic": "logs", "partition": 0, "start": 100, "end": 200,
     "count": 98, "first": 100, "last": 199, "bytes": 19600}

`count` records were visible between `start` and `end` (exclusive); `first` and `last` are offsets,
null where there was none; `bytes` counts keys and values. A count below `end - start` is no loss:
compaction leaves gaps, and the markers of transactions take offsets, too.

Environment, beside what every task of orch gets (ORCH_RUN_ID, ORCH_ATTEMPT, ORCH_DEADLINE):

    KAFKA_BROKERS              host:port, several with commas between
    KAFKA_TOPIC, KAFKA_PARTITION, KAFKA_START, KAFKA_END
    KAFKA_ISOLATION            read_committed (default) or read_uncommitted
    KAFKA_SASL_MECHANISM, KAFKA_SASL_USER, KAFKA_SASL_PASSWORD
    KAFKA_TLS                  any text turns TLS on
    KAFKA_TLS_CA, KAFKA_TLS_CERT, KAFKA_TLS_KEY    PEM files: whom to trust, and who we are
    SINK                       a SQLite file that keeps each range's result exactly once

Exit codes:

    0    the whole range was read
    1    the cluster says no: an unknown topic, a missing right
    2    a variable is missing or makes no sense
    64   the log no longer holds all of the range: it is lost, and another attempt is of no use
    75   nobody answered, or not in time: another attempt may do it
"""

from __future__ import annotations

import json
import os
import sqlite3
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
from kafka.structs import TopicPartition

REFUSED, USAGE, LOST, TRY_AGAIN = 1, 2, 64, 75
POLL_MS = 500
POLL_RECORDS = 5_000
FETCH_BYTES = 4 * 1024 * 1024
DEFAULT_TIME = 300.0
"""Seconds to finish in where nobody has set ORCH_DEADLINE."""


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
    def close(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Range:
    """The offsets from `start` up to `end`, exclusive, of one partition."""

    topic: str
    partition: int
    start: int
    end: int


@dataclass(kw_only=True)
class Tally:
    """What was in the range."""

    count: int = 0
    first: int | None = None
    last: int | None = None
    bytes: int = 0

    def add(self, record: Any) -> None:
        """Process one record: your own work goes here."""
        self.count += 1
        self.first = record.offset if self.first is None else self.first
        self.last = record.offset
        self.bytes += len(record.key or b"") + len(record.value or b"")


def main(
    environment: Mapping[str, str],
    *,
    connect: Callable[[Mapping[str, Any]], Consumer] = lambda options: KafkaConsumer(**options),
    now: Callable[[], float] = time.time,
) -> int:
    """Do it all; returns the exit code."""
    try:
        wanted, deadline = read_range(environment), read_deadline(environment, now())
        tally = Tally()
        if wanted.start < wanted.end:
            with closing(open_consumer(environment, connect)) as consumer:
                read(consumer, wanted, tally, lambda: now() >= deadline)
        if environment.get("SINK"):
            store(environment, wanted, tally)
    except Failed as failure:
        sys.stderr.write(f"{failure}\n")
        return failure.code
    sys.stdout.write(json.dumps({**vars(wanted), **vars(tally)}) + "\n")
    return 0


def read(consumer: Consumer, wanted: Range, tally: Tally, late: Callable[[], bool]) -> None:
    """Add every visible record of the range to the tally. Raises Failed."""
    partition = TopicPartition(wanted.topic, wanted.partition)
    try:
        if wanted.partition not in (consumer.partitions_for_topic(wanted.topic) or ()):
            raise Failed(REFUSED, f"there is no partition {wanted.partition} of {wanted.topic}")
        consumer.assign([partition])
        consumer.seek(partition, wanted.start)
        # The position also moves over offsets at which there is no record to be seen.
        while (consumer.position(partition) or 0) < wanted.end:
            if late():
                raise Failed(TRY_AGAIN, f"not at offset {wanted.end} by ORCH_DEADLINE")
            polled = consumer.poll(timeout_ms=POLL_MS, max_records=POLL_RECORDS)
            for record in polled.get(partition, ()):
                if record.offset < wanted.end:
                    tally.add(record)
    except OffsetOutOfRangeError as error:
        oldest = consumer.beginning_offsets([partition])[partition]
        at = consumer.position(partition) or 0
        if at < oldest:
            raise Failed(
                LOST, f"lost: the log begins at {oldest}, and {at} was to be read"
            ) from error
        raise Failed(REFUSED, f"the log ends before offset {at}: it was cut off") from error
    except KafkaError as error:
        raise failed(error) from error


def failed(error: KafkaError) -> Failed:
    """What a client's error means for the task."""
    return Failed(TRY_AGAIN if error.retriable else REFUSED, str(error))


def store(environment: Mapping[str, str], wanted: Range, tally: Tally) -> bool:
    """Keep the result once, whoever brings it; False where it was there. Raises Failed.

    A repeated run finds its own row. A run that was split finds those of its halves, or they find
    its: whichever was first stands for its offsets, and so none is counted twice.
    """
    run, attempt = required(environment, "ORCH_RUN_ID"), whole(environment, "ORCH_ATTEMPT")
    try:
        with closing(
            sqlite3.connect(environment["SINK"], isolation_level=None, timeout=30)
        ) as sink:
            sink.execute("BEGIN IMMEDIATE")
            with sink:
                sink.execute(
                    "CREATE TABLE IF NOT EXISTS ranges (run TEXT PRIMARY KEY, attempt INTEGER, "
                    "topic TEXT, part INTEGER, first INTEGER, past INTEGER, "
                    "records INTEGER, bytes INTEGER)"
                )
                taken = sink.execute(
                    "SELECT 1 FROM ranges WHERE topic = ? AND part = ? AND first < ? AND past > ? "
                    "AND (run <> ? OR attempt > ?)",
                    (wanted.topic, wanted.partition, wanted.end, wanted.start, run, attempt),
                ).fetchone()
                if taken:
                    return False
                row = (run, attempt, *vars(wanted).values(), tally.count, tally.bytes)
                sink.execute("INSERT OR REPLACE INTO ranges VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
                return True
    except sqlite3.Error as error:
        raise Failed(TRY_AGAIN, f"SINK: {error}") from error


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
        "client_id": environment.get("ORCH_TRIGGER") or "kafka-range",
        "auto_offset_reset": "none",
        "enable_auto_commit": False,
        "kafka_client": make_no_topics,
        "max_partition_fetch_bytes": FETCH_BYTES,
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


def read_range(environment: Mapping[str, str]) -> Range:
    """The range that the environment names. Raises Failed."""
    wanted = Range(
        topic=required(environment, "KAFKA_TOPIC"),
        partition=whole(environment, "KAFKA_PARTITION"),
        start=whole(environment, "KAFKA_START"),
        end=whole(environment, "KAFKA_END"),
    )
    if wanted.start > wanted.end:
        raise Failed(USAGE, "KAFKA_END: the range ends before it starts")
    return wanted


def read_deadline(environment: Mapping[str, str], now: float) -> float:
    """When to give up, in seconds since the epoch. Raises Failed."""
    text = environment.get("ORCH_DEADLINE")
    if not text:
        return now + DEFAULT_TIME
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError as error:
        raise Failed(USAGE, f"ORCH_DEADLINE: {text!r} is not a time in RFC 3339") from error


def whole(environment: Mapping[str, str], name: str) -> int:
    """A variable that is a whole number. Raises Failed."""
    text = required(environment, name)
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
    sys.exit(main(os.environ))
