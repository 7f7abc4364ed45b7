"""Stand-ins for the orchestrator: they run a source as it does, keep what it would keep, and hold
the source to its contract at every step.

What a runner keeps outlives the source: `lose` throws that away, as a crash would.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from connectors.queues import (
    Inbox,
    Message,
    Polled,
    QueueSource,
)
from connectors.streams import (
    END,
    Batch,
    Place,
    SourceContext,
    SourceUnavailable,
    StreamSource,
    Want,
)
from connectors.testing.checks import (
    check_ids,
    check_message,
    check_position,
    check_values,
    delivery_of,
    is_json,
)
from connectors.testing.crashes import Crash, CrashingQueue, CrashingStream, Fuse
from connectors.testing.harness import AnyHarness, LifeHarness, QueueHarness, StreamHarness
from connectors.testing.watching import eventually

Read: TypeAlias = Callable[[Batch], Sequence[str]]
_MAX_PARTITION = 200
_WAIT = 0.2  # seconds
_QUIET = 3
"""Polls in a row that find nothing, after which nothing is there."""


def new_context(harness: AnyHarness, directory: Path) -> SourceContext:
    """What a source gets of whoever runs it."""
    return SourceContext(
        instance="kit",
        trigger="conformance",
        trigger_uid="u0kit",
        secrets=dict(harness.secrets),
        data_dir=directory,
        stop=threading.Event(),
    )


class StreamRunner:
    """Keeps positions. `taken` are the batches that are in the ledger, in order."""

    def __init__(
        self,
        harness: StreamHarness | LifeHarness,
        directory: Path,
        fuse: Fuse | None = None,
    ) -> None:
        self._harness = harness
        self._directory = directory
        self._fuse = fuse
        self.planned: dict[str, str] = {}
        self.taken: list[Batch] = []
        self.identity = ""
        self.context = new_context(harness, directory)
        self._source: StreamSource | None = None
        self._looked = False
        # Reading may be slow. The batch is kept, so that nothing else gets its id.
        self._found: dict[int, tuple[Batch, list[str]]] = {}

    @property
    def source(self) -> StreamSource:
        """The one that is open; opened when it is asked for."""
        if self._source is None:
            self._source = self.fresh()
            self._looked = False
        return self._source

    def fresh(self) -> StreamSource:
        """A source that has just been opened. Whoever asks closes it."""
        self.context = new_context(self._harness, self._directory)
        source = self._harness.connector.open(self._harness.settings(), self.context)
        return source if self._fuse is None else CrashingStream(source, self._fuse)

    def lose(self) -> None:
        """The source is gone, and all that it knew by itself."""
        source, self._source = self._source, None
        if source is not None:
            self.context.stop.set()
            source.close()

    def discover(self) -> Sequence[str]:
        """Take partitions in; returns those that have come up."""
        known = {name: Place(planned=at, done=at) for name, at in self.planned.items()}
        found = self.source.discover(known)
        assert found.identity, "a source says what it is, beyond its name"
        assert found.identity == (self.identity or found.identity), (
            f"the source has not changed, but its identity has: {self.identity!r}, then "
            f"{found.identity!r}"
        )
        self.identity = found.identity
        self._looked = True
        for name, position in found.partitions.items():
            assert name, "a partition has a name"
            assert name.isprintable(), f"{name!r} has characters that nobody can print"
            assert len(name) <= _MAX_PARTITION, f"{name!r} is longer than {_MAX_PARTITION}"
            check_position(position)
        new = [name for name in found.partitions if name not in self.planned]
        for name in new:
            self.planned[name] = found.partitions[name]
        return new

    def wants(self, room: int = 4, until: Mapping[str, str] | None = None) -> list[Want]:
        """What batches may be planned now."""
        return [
            Want(partition=name, position=at, room=room, until=(until or {}).get(name))
            for name, at in self.planned.items()
            if at != END
        ]

    def poll(
        self,
        *,
        room: int = 4,
        wait: float = _WAIT,
        take: bool = True,
        until: Mapping[str, str] | None = None,
    ) -> Sequence[Batch]:
        """One turn: discover where there is a reason to, poll, check, take in."""
        if not self.planned or self.source.stale or not self._looked:
            self.discover()
        wants = self.wants(room, until)
        batches = self.source.poll(wants, wait)
        self._check(batches, wants)
        if take:
            for batch in batches:
                self.planned[batch.partition] = batch.end
            self.taken += batches
        for partition, lag in self.source.lag().items():
            assert lag >= 0, f"{partition} cannot have {lag} events before it"
        return batches

    def try_poll(self, *, room: int = 4) -> Sequence[Batch]:
        """The same as whoever runs it: after a crash a new source, after no answer another try."""
        try:
            batches = self.poll(room=room)
            self.source.commit(dict(self.planned))
        except Crash:
            self.lose()
        except SourceUnavailable:
            pass
        else:
            return batches
        return ()

    def until(self, count: int, read: Read, *, room: int = 4) -> list[str]:
        """Turns until so many events have been taken in; returns them all."""

        def there() -> bool:
            self.try_poll(room=room)
            return len(self.events(read)) >= count

        eventually(there, f"{count} events come", self._harness.patience)
        return self.events(read)

    def quiet(self) -> list[Batch]:
        """Turns until nothing comes; the batches that did."""
        before, quiet = len(self.taken), 0
        while quiet < _QUIET:
            quiet = 0 if self.poll() else quiet + 1
        return self.taken[before:]

    def events(self, read: Read) -> list[str]:
        """What the runs of all batches find."""
        for batch in self.runs:
            if id(batch) not in self._found:
                self._found[id(batch)] = (batch, list(read(batch)))
        return [event for batch in self.runs for event in self._found[id(batch)][1]]

    @property
    def runs(self) -> list[Batch]:
        """The batches that a job is started for."""
        return [batch for batch in self.taken if batch.outcome == "run"]

    def close(self) -> None:
        """Let go of the source."""
        self.lose()

    def _check(self, batches: Sequence[Batch], wants: Sequence[Want]) -> None:
        position = {want.partition: want.position for want in wants}
        room = {want.partition: want.room for want in wants}
        for batch in batches:
            name = batch.partition
            assert name in position, f"nobody asked for events of {name!r}"
            assert batch.start == position[name], (
                f"{name}: a batch begins at {batch.start!r}, the one before it ends at "
                f"{position[name]!r}"
            )
            check_position(batch.end)
            if batch.life is None:
                assert batch.end != batch.start, f"{name}: a batch without events at {batch.start}"
            else:
                assert batch.end == batch.start, "nobody knows yet where a life ends"
            assert batch.count is None or batch.count >= 0
            assert batch.outcome == "run" or batch.reason, "what does not run has a reason"
            check_values(self._harness.connector, batch.values)
            is_json(list(batch.inputs))
            position[name] = batch.end
            room[name] -= 1
        for name, left in room.items():
            assert left >= 0, f"{name}: {-left} batches more than there is room for"


class QueueRunner:
    """Keeps an inbox: ids with their newest receipts, and a cursor."""

    def __init__(self, harness: QueueHarness, directory: Path, fuse: Fuse | None = None) -> None:
        self._harness = harness
        self._directory = directory
        self._fuse = fuse
        self.cursor: str | None = None
        self.events: dict[str, Message] = {}
        """All that is in the ledger, by id, as it was delivered last."""
        self.acknowledged: set[str] = set()
        self.repeated: list[str] = []
        """Ids that came again although they were in the inbox."""
        self.context = new_context(harness, directory)
        self._source: QueueSource | None = None

    @property
    def patience(self) -> float:
        """Seconds within which an event comes."""
        return self._harness.patience

    @property
    def source(self) -> QueueSource:
        """The one that is open; opened when it is asked for."""
        if self._source is None:
            self._source = self.fresh()
        return self._source

    def fresh(self) -> QueueSource:
        """A source that has just been opened. Whoever asks closes it."""
        self.context = new_context(self._harness, self._directory)
        inbox = Inbox(cursor=self.cursor, known=self._known)
        source = self._harness.connector.open(self._harness.settings(), self.context, inbox)
        assert source is not None, "these settings are to bring messages by polling"
        return source if self._fuse is None else CrashingQueue(source, self._fuse)

    def lose(self) -> None:
        """The source is gone, and all that it knew by itself."""
        source, self._source = self._source, None
        if source is not None:
            self.context.stop.set()
            source.close()

    def poll(self, *, room: int = 10, wait: float = _WAIT, take: bool = True) -> Sequence[Message]:
        """One poll, checked, and taken in."""
        polled = self.source.poll(room, wait)
        self._check(polled, room)
        if take:
            for message in polled.messages:
                if message.id in self.events:
                    self.repeated.append(message.id)
                    self.acknowledged.discard(message.id)
                self.events[message.id] = message
            if polled.cursor is not None:
                self.cursor = polled.cursor
        return polled.messages

    def acknowledge(self) -> None:
        """Tell the source of all that it has not been told of."""
        open_ = [m for key, m in self.events.items() if key not in self.acknowledged]
        if open_:
            taken = self.source.acknowledge([delivery_of(message) for message in open_])
            check_ids(taken, open_)
            self.acknowledged |= set(taken)

    def turn(self, *, room: int = 10) -> None:
        """Poll, extend and acknowledge, as whoever runs it: after a crash with a new source."""
        try:
            came = self.poll(room=room)
            if came and self.source.extend_every:
                check_ids(self.source.extend([delivery_of(m) for m in came]), came)
            self.acknowledge()
        except Crash:
            self.lose()
            self._harness.expire()
        except SourceUnavailable:
            pass

    def until(self, count: int, *, room: int = 10) -> list[str]:
        """Turns until so many events are in the ledger and acknowledged; their texts, sorted."""

        def there() -> bool:
            self.turn(room=room)
            return len(self.events) >= count and self.events.keys() <= self.acknowledged

        eventually(there, f"{count} events come, and are acknowledged", self._harness.patience)
        return self.texts()

    def texts(self) -> list[str]:
        """Of all events in the ledger, sorted."""
        return sorted(self._harness.text(message) for message in self.events.values())

    def forget(self, ids: Collection[str]) -> None:
        """These were given back: when they come again they are other runs."""
        for one in ids:
            self.events.pop(one, None)
            self.acknowledged.discard(one)

    def close(self) -> None:
        """Let go of the source."""
        self.lose()

    def _known(self, ids: Collection[str]) -> set[str]:
        return {one for one in ids if one in self.events}

    def _check(self, polled: Polled, room: int) -> None:
        most = room + self._harness.beyond_room
        assert len(polled.messages) <= most, (
            f"{len(polled.messages)} messages, where there is room for {room}"
        )
        assert polled.cursor is None or polled.cursor.isprintable()
        for message in polled.messages:
            check_message(message)
