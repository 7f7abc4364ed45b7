"""The contract of connectors whose events have no order that matters, or one per group.

A *message* is one event with an id that is the same in every delivery. Whoever runs a source keeps
an inbox with a row for each id: a message that comes again joins the run that it is in already, and
only its newest *receipt* counts. A source acknowledges nothing by itself: it is told once the
message's run has succeeded, or once the message is in the ledger (``ack: on_intake``).

Two threads use a source: one calls `poll`, another one everything else. Exceptions that a source
raises are those of :mod:`connectors.streams` (`SourceUnavailable`, `SourceRefused`,
`SourceChanged`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from connectors.abc import JSON, SourceConnector
from connectors.payloads import NO_STORAGE, Payloads
from connectors.streams import SourceContext

MAX_ID = 1024  # characters
MAX_GROUP = 200  # characters


@dataclass(frozen=True, kw_only=True)
class Message:
    """One event."""

    id: str
    """The same in every delivery, another for every other event: 1 to 1,024 printable characters.
    """
    body: Mapping[str, JSON]
    """What the task gets: a line of ``/orch/batch.ndjson``, and ``event`` in the values of a run
    that is for this message alone."""
    receipt: str = ""
    """What acknowledges this delivery; "" where there is nothing to acknowledge."""
    group: str = ""
    """Messages of one group run one after the other, in the order in which they came; "" is no
    group. At most 200 printable characters."""
    at: int | None = None
    """When the event happened, microseconds since the epoch; None: now."""
    weight: int = 0
    """What counts towards `Gathering.weight`, such as the bytes of the object that it tells of."""
    expires: int | None = None
    """Until when the source may deliver it again, microseconds since the epoch: so long its id is
    remembered, at least. None: `QueueSource.remember_for` after its run has ended."""


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """A message that its source is to be told about."""

    id: str
    receipt: str
    group: str = ""
    at: int = 0
    """When it came in, microseconds since the epoch."""
    round: int = 0
    """How often it was given back, this time included."""
    run_id: str = ""
    """The run that it is in; "" where that is not known any more."""
    state: str = ""
    """That run's: ``pending``, ``submitting``, ``running``, ``succeeded``, ``dead``, ``skipped`` or
    ``cancelled``; "" as above."""
    reason: str = ""
    """Why, for a run that did not succeed."""
    started_at: int | None = None
    """When its first attempt began, microseconds since the epoch."""
    ended_at: int | None = None


@dataclass(frozen=True, kw_only=True)
class Polled:
    """What a poll has found."""

    messages: Sequence[Message] = ()
    cursor: str | None = None
    """How far the source has looked, once all these messages (and those before them) are in the
    ledger: it gets the last one back when it is opened again. None: as before."""


@dataclass(frozen=True, kw_only=True)
class Described:
    """What a run for some messages gets beside their bodies."""

    values: Mapping[str, JSON] = field(default_factory=dict[str, JSON])
    """What ``${{ }}`` may name: the connector's own roots, such as ``object``."""
    inputs: Sequence[Mapping[str, JSON]] = ()
    """Bacalhau input sources of things that stay where they are (objects in a bucket)."""


@dataclass(frozen=True, kw_only=True)
class Inbox:
    """What a source may ask of whoever runs it, beside the `SourceContext`."""

    cursor: str | None
    """The last one that was kept; None at first, and after ``--reset``."""
    known: Callable[[Collection[str]], set[str]]
    """Which of these ids are in the inbox. For sources that see everything again in each poll and
    hand over only what is new."""


@dataclass(frozen=True, kw_only=True)
class Gathering:
    """When messages become a run: whichever comes first."""

    size: int = 1
    """So many messages."""
    bytes: int = 0
    """So many bytes of them; 0: what fits into a run."""
    weight: int = 0
    """So much weight of them; 0: whatever they weigh."""
    window: int = 0
    """The first of them has waited so long, microseconds."""


class QueueSource(ABC):
    """An open source of one trigger."""

    @property
    @abstractmethod
    def interval(self) -> float:
        """Seconds to wait before `poll` is called again after it had nothing; 0 for a source
        whose `poll` waits by itself."""

    @abstractmethod
    def poll(self, room: int, wait: float) -> Polled:
        """New messages: not many more than ``room``, because more cannot start now; waits up to
        ``wait`` seconds for the first one. Ends early when the context's stop is set."""

    @property
    def gathering(self) -> Gathering:
        """How messages are put together."""
        return Gathering()

    def describe(self, messages: Sequence[Message]) -> Described:
        """What a run for these messages gets beside them. No I/O."""
        return Described()

    @property
    def payloads(self) -> Payloads:
        """Where the bodies of messages travel. One object for as long as the source is open."""
        return NO_STORAGE

    @property
    def acknowledges_on_intake(self) -> bool:
        """Whether a message is acknowledged once it is in the ledger, and not only when its run
        has succeeded."""
        return False

    @property
    def returns_dead(self) -> bool:
        """Whether messages of a dead run go back to the source, which has its own place for what
        nobody can handle. Otherwise the dead run holds them, and they are acknowledged."""
        return False

    @property
    def remember_for(self) -> int:
        """How long ids are known after their run has ended, microseconds."""
        return 0

    def forget_before(self, cursor: str | None) -> int | None:
        """The expiry before which ids need not be known any more, by the cursor that was kept last,
        microseconds since the epoch: what is looked at behind it are no events of such ids. None:
        now. For sources that look back, wherever they were before. No I/O; called by either thread.
        """
        return None

    @property
    def extend_every(self) -> int:
        """How often `extend` is to be called for a message that is not acknowledged yet,
        microseconds; 0: never."""
        return 0

    def acknowledge(self, deliveries: Sequence[Delivery]) -> Collection[str]:
        """Let the source forget messages; returns the ids that need no further try, also because
        there is nothing to be done about them. The others are tried again soon."""
        return [delivery.id for delivery in deliveries]

    def give_back(self, deliveries: Sequence[Delivery]) -> Collection[str]:
        """Let the source deliver messages again, soon; returns ids as `acknowledge` does."""
        return [delivery.id for delivery in deliveries]

    def extend(self, deliveries: Sequence[Delivery]) -> Collection[str]:
        """Let the source wait longer before it delivers messages again. Returns the ids of those
        that are to be acknowledged now, because the source will not wait any longer."""
        return ()

    def lag(self) -> int | None:
        """Messages that wait at the source, as far as is known. No I/O."""
        return None

    @abstractmethod
    def close(self) -> None:
        """Let go of connections and threads. May be called twice, and while `poll` is under way,
        which then ends."""


class QueueConnector(SourceConnector):
    """A connector of messages."""

    @abstractmethod
    def open(
        self, settings: Mapping[str, JSON], context: SourceContext, inbox: Inbox
    ) -> QueueSource | None:
        """A source, or None where these settings bring messages in another way alone (see
        :mod:`connectors.push`). Connects on first use: opening does no I/O."""
