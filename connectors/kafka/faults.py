"""What went wrong at a Kafka cluster, in words for a person: one table for both clients.

Both clients know the protocol's error codes (https://kafka.apache.org/protocol#protocol_error_codes).
What never reached a broker has a code of librdkafka or none.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from connectors.kafka.cluster import TopicPartition
from connectors.kafka.connection import Connection
from connectors.streams import SourceError, SourceRefused, SourceUnavailable

UNKNOWN_TOPIC_OR_PARTITION = 3
TOPIC_AUTHORIZATION_FAILED = 29
SASL_AUTHENTICATION_FAILED = 58
TLS_FAILED = -181  # librdkafka's own numbers from here on
NOT_TAKEN = -186

_REMEDIES = {
    UNKNOWN_TOPIC_OR_PARTITION: (
        "there is no such topic or partition",
        "check the name; topics are made by their owner, not by orch",
    ),
    17: ("that is no name of a topic", "letters, digits, '.', '_' and '-', at most 249"),
    22: ("the group has members", "let other consumers use a group of their own"),
    24: ("the broker does not take the name of the group", "check the name of the instance"),
    25: ("the group has members", "let other consumers use a group of their own"),
    TOPIC_AUTHORIZATION_FAILED: (
        "the user has no right to the topic",
        "allow it Describe and Read on the topic",
    ),
    30: ("the user has no right to the group", "allow it Read on groups that begin with 'orch.'"),
    31: ("the user has no right to the cluster", "allow it Describe on the cluster"),
    33: ("the broker does not offer this SASL mechanism", "set one that its listener offers"),
    34: ("the broker's listener wants no password", "check the port, or leave out sasl"),
    35: ("the broker is too old for this question", "use Kafka 2.1 or later"),
    SASL_AUTHENTICATION_FAILED: (
        "the broker does not accept the user or the password",
        "check both, and the mechanism",
    ),
    TLS_FAILED: (
        "no trust between us and the broker (TLS)",
        "check ca, cert and key, and that the port is one with TLS",
    ),
    NOT_TAKEN: ("we cannot connect like that", "check the files of ca, cert and key"),
    68: ("the group has members", "let other consumers use a group of their own"),
}
_TELLING = (TLS_FAILED, NOT_TAKEN, SASL_AUTHENTICATION_FAILED)
_OF_LIBRDKAFKA = {  # its own codes for what the protocol has a code for
    -169: SASL_AUTHENTICATION_FAILED,
    -188: UNKNOWN_TOPIC_OR_PARTITION,
    -190: UNKNOWN_TOPIC_OR_PARTITION,
}


def asking(partitions: Collection[TopicPartition]) -> str:
    """What an error about many partitions begins with."""
    return f"offsets of {', '.join(sorted({partition.topic for partition in partitions}))}"


def fault(doing: str, connection: Connection, code: int | None, detail: str) -> SourceError:
    """The error to raise for a code of the protocol or of librdkafka; None: nobody answered."""
    code = _OF_LIBRDKAFKA.get(code or 0, code)
    known = _REMEDIES.get(code or 0)
    if known is None:
        return SourceUnavailable(f"{doing}: Kafka at {connection}: {detail}")
    words, remedy = known
    said = f": {detail}" if code in _TELLING and detail else ""
    return SourceRefused(f"{doing}: Kafka at {connection}: {words}{said} ({remedy})")


def from_kafka_python(doing: str, connection: Connection, error: Exception) -> SourceError:
    """For an exception of kafka-python, or of the network below it."""
    # Of its errors only those that a broker sent have a number, and an OSError has another kind.
    code: int | None = None if isinstance(error, OSError) else getattr(error, "errno", None)
    detail = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, FileNotFoundError | PermissionError):
        code = NOT_TAKEN
    elif code is None and "SSL" in detail:
        code = TLS_FAILED
    return fault(doing, connection, code, detail)


def from_librdkafka(doing: str, connection: Connection, error: Any) -> SourceError:
    """For a ``KafkaError`` of confluent-kafka."""
    code, detail = error.code(), " ".join(error.str().split())
    if "SSL routines" in detail and code != NOT_TAKEN:  # the broker hung up because of ours
        code = TLS_FAILED
    return fault(doing, connection, code, detail)
