"""The contract of connectors to which others bring their events, by HTTP.

``POST /hooks/{trigger}`` is handed to the receiver of the trigger's connector. It decides whether
the request is what it says it is; its messages are in the ledger before the sender gets an answer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from connectors.abc import JSON
from connectors.payloads import NO_STORAGE, Payloads
from connectors.queues import Described, Message, QueueConnector
from connectors.streams import SourceContext


class PushRefused(Exception):
    """A request that is not taken. The text goes to the sender: it holds no secret, and does not
    help to guess one."""

    def __init__(self, status: int, reason: str) -> None:
        """`status` is the HTTP status code of the answer, 4xx or 503."""
        self.status = status
        self.reason = reason
        super().__init__(reason)


@dataclass(frozen=True, kw_only=True)
class PushRequest:
    """A request as it came, its body whole and of at most `Receiver.max_body` bytes."""

    headers: Mapping[str, str]
    """Names in lower case. Of a header that came several times: joined by ", "."""
    query: Mapping[str, str]
    body: bytes
    sender: str
    """The address of the peer. For messages to people: nothing may be allowed because of it."""
    at: int
    """When it came, microseconds since the epoch."""


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What a request brings. Without messages it is answered at once."""

    messages: Sequence[Message] = ()
    status: int = 202
    """Of the answer, once the messages are in the ledger."""
    answer: Mapping[str, JSON] = field(default_factory=dict[str, JSON])
    fixed: Sequence[str] = ()
    """Fields of the messages' bodies that no later request with the same id may change: one that
    does is refused with 422. Otherwise it joins the run of the earlier one, whatever it says."""


class Receiver(ABC):
    """Takes the requests of one trigger. Several threads use it at once."""

    max_body: int = 1 << 20
    """Bytes; a longer body is refused with 413 before it has been read."""

    @abstractmethod
    def receive(self, request: PushRequest) -> Taken:
        """Check a request. Raises PushRefused. May do I/O that is bounded in time."""

    def describe(self, messages: Sequence[Message]) -> Described:
        """What the run for a message gets beside it. No I/O."""
        return Described()

    @property
    def payloads(self) -> Payloads:
        """Where the bodies of messages travel. One object for as long as the receiver is open."""
        return NO_STORAGE

    @property
    def remember_for(self) -> int:
        """How long ids are known after their run has ended, microseconds: a request that comes
        again within that time makes no second run."""
        return 24 * 3600 * 1_000_000

    def close(self) -> None:
        """Let go of connections. May be called twice."""
        return


class PushConnector(QueueConnector):
    """A connector to which events are brought."""

    @abstractmethod
    def receiver(self, settings: Mapping[str, JSON], context: SourceContext) -> Receiver | None:
        """What takes requests, or None where these settings take none."""
