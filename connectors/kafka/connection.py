"""Where a Kafka cluster is and who we are to it, in the words of both clients.

Equal connections are one: they share a client (see :func:`connectors.kafka.cluster.shared`).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

Mechanism: TypeAlias = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
Flavour: TypeAlias = Literal["kafka-python", "confluent"]
"""Which client library speaks: ``confluent`` needs the extra ``kafka-fast``."""

CLIENT_ID = "orch"


@dataclass(frozen=True, kw_only=True)
class Sasl:
    """A user and how its password is proven."""

    mechanism: Mechanism
    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Tls:
    """Encrypted connections. Files are PEM; with ``cert`` the client proves itself, too (mTLS)."""

    ca: str | None = None
    """Path of the authorities to trust; None: those of the system."""
    cert: str | None = None
    """Path of the client's certificate, with its chain."""
    key: str | None = None
    """Path of its private key; None: it stands in the file of the certificate."""
    password: str | None = field(default=None, repr=False)
    """Of the private key."""
    check_hostname: bool = True


@dataclass(frozen=True, kw_only=True)
class Connection:
    """A cluster and how to speak to it. Hashable; shows no secret."""

    brokers: tuple[str, ...]
    """``host:port``, from which the others are learnt."""
    client_id: str = CLIENT_ID
    rack: str = ""
    """Where we are: readers fetch from a replica in the same rack."""
    sasl: Sasl | None = None
    tls: Tls | None = None

    @property
    def protocol(self) -> str:
        """``PLAINTEXT``, ``SSL``, ``SASL_PLAINTEXT`` or ``SASL_SSL``."""
        transport = "SSL" if self.tls else "PLAINTEXT"
        return f"SASL_{transport}" if self.sasl else transport

    def __str__(self) -> str:
        """The brokers, for messages."""
        return ", ".join(self.brokers)


def kafka_python_options(connection: Connection) -> dict[str, Any]:
    """What every client of kafka-python takes; a consumer also takes ``client_rack``.

    It also silences the library: at DEBUG it logs its options, the password among them, and what
    fails is said by whoever asked. Raises OSError for files of TLS that are not as they should.
    """
    from connectors.kafka.sockets import DIRECT, tls_context

    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    options: dict[str, Any] = {
        "bootstrap_servers": list(connection.brokers),
        "client_id": connection.client_id,
        "security_protocol": connection.protocol,
        "proxy_url": DIRECT,
    }
    if connection.sasl:
        options |= {
            "sasl_mechanism": connection.sasl.mechanism,
            "sasl_plain_username": connection.sasl.user,
            "sasl_plain_password": connection.sasl.password,
        }
    if connection.tls:
        options["ssl_context"] = tls_context(connection.tls)
    return options


def librdkafka_options(connection: Connection) -> dict[str, Any]:
    """What every client of librdkafka takes (confluent-kafka).

    https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md
    """
    options: dict[str, Any] = {
        "bootstrap.servers": ",".join(connection.brokers),
        "client.id": connection.client_id,
        "client.rack": connection.rack,
        "security.protocol": connection.protocol,
    }
    if connection.sasl:
        options |= {
            "sasl.mechanism": connection.sasl.mechanism,
            "sasl.username": connection.sasl.user,
            "sasl.password": connection.sasl.password,
        }
    if tls := connection.tls:
        files = {
            "ssl.ca.location": tls.ca,
            "ssl.certificate.location": tls.cert,
            "ssl.key.location": tls.key or tls.cert,
            "ssl.key.password": tls.password,
        }
        options |= {name: value for name, value in files.items() if value is not None}
        options["ssl.endpoint.identification.algorithm"] = "https" if tls.check_hostname else "none"
    return options
