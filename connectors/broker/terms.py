"""How to connect to a broker, and what to publish there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from connectors.broker.address import Address
from connectors.broker.security import Login, Tls

Protocol: TypeAlias = Literal["5", "3.1.1"]


@dataclass(frozen=True, kw_only=True)
class Will:
    """What the broker publishes for us when we are gone without a word."""

    topic: str
    body: bytes
    qos: int = 0
    retain: bool = False


@dataclass(frozen=True, kw_only=True)
class Terms:
    """How to connect. Spans in seconds."""

    address: Address
    client_id: str
    protocol: Protocol = "5"
    keep_alive: int = 30
    lasting: bool = True
    """Whether the broker keeps the session while we are away."""
    session_expiry: int = 0
    """For how long; MQTT 5."""
    receive_maximum: int = 100
    """Messages that it delivers before it hears of them; MQTT 5."""
    login: Login | None = None
    tls: Tls | None = None
    """For an address with TLS."""
    will: Will | None = None


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """A message to publish, at least once."""

    topic: str
    body: bytes
    retain: bool = False
    expiry: int | None = None
    """Seconds for which the broker keeps it; MQTT 5."""
