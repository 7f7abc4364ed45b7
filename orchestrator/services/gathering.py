"""Gathering: messages become batches, by count, size and age; those of a group stay by themselves.

Pure: holds what has been received and is in no run yet. A process that ends here loses nothing,
because the source has not been told of it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from connectors.queues import Gathering, Message
from orchestrator.domain.clock import SECOND


@dataclass(frozen=True, kw_only=True)
class Line:
    """A message and the line that its task will read."""

    message: Message
    text: bytes


@dataclass(kw_only=True)
class _Open:
    since: float  # monotonic
    lines: list[Line] = field(default_factory=list[Line])
    size: int = 0
    weight: int = 0


def to_line(message: Message) -> Line:
    """A message with its body as a line of JSON."""
    text = json.dumps(message.body, ensure_ascii=False, separators=(",", ":"))
    # Lone surrogates are in JSON from outside, but in no UTF-8.
    return Line(message=message, text=text.encode(errors="replace") + b"\n")


class Gatherer:
    """Of one source. One thread at a time."""

    def __init__(self, gathering: Gathering, limit: int) -> None:
        """`limit` is how many bytes one run may be given."""
        self._size = max(1, gathering.size)
        self._bytes = min(limit, gathering.bytes or limit)
        self._weight = gathering.weight
        self._window = gathering.window / SECOND
        self._open: dict[str, _Open] = {}
        self._closed: list[list[Line]] = []
        self._held: dict[str, str] = {}  # id: group

    @property
    def held(self) -> int:
        """Messages that are in no run yet."""
        return len(self._held)

    def add(self, messages: Iterable[Message], ticks: float) -> None:
        """Take messages in. One that is here already only has its newer receipt noted."""
        for message in messages:
            if message.id in self._held:
                self._renew(message)
                continue
            self._held[message.id] = message.group
            self._put(to_line(message), ticks)

    def _put(self, line: Line, ticks: float) -> None:
        group = line.message.group
        batch = self._open.get(group)
        if batch is not None and not self._has_room(batch, line):
            self._close(group)
            batch = None
        if batch is None:
            batch = self._open[group] = _Open(since=ticks)
        batch.lines.append(line)
        batch.size += len(line.text)
        batch.weight += line.message.weight
        full = len(batch.lines) >= self._size or batch.size >= self._bytes
        if full or (self._weight and batch.weight >= self._weight):
            self._close(group)

    def _has_room(self, batch: _Open, line: Line) -> bool:
        if batch.size + len(line.text) > self._bytes:
            return False
        return not self._weight or batch.weight + line.message.weight <= self._weight

    def _close(self, group: str) -> None:
        self._closed.append(self._open.pop(group).lines)

    def _renew(self, message: Message) -> None:
        places = [batch.lines for batch in self._open.values()] + self._closed
        for lines in places:
            for index, line in enumerate(lines):
                if line.message.id == message.id:
                    lines[index] = Line(message=message, text=line.text)
                    return

    def take(self, ticks: float, at_most: int) -> Sequence[Sequence[Line]]:
        """The first batches that are complete, or whose first message has waited long enough. They
        are held until `taken`, or `put_back`."""
        for group, batch in list(self._open.items()):
            if ticks - batch.since >= self._window:
                self._close(group)
        closed, self._closed = self._closed[:at_most], self._closed[at_most:]
        return closed

    def taken(self, batches: Iterable[Sequence[Line]]) -> None:
        """These are in runs."""
        for lines in batches:
            for line in lines:
                self._held.pop(line.message.id, None)

    def put_back(self, batches: Sequence[Sequence[Line]], known: Collection[str] = ()) -> None:
        """These could not be runs now: they are the first to be taken again, without those that
        are `known` to be in another run."""
        kept = [[line for line in lines if line.message.id not in known] for lines in batches]
        for id_ in known:
            self._held.pop(id_, None)
        self._closed = [lines for lines in kept if lines] + self._closed

    def due(self, ticks: float) -> float | None:
        """Seconds until a batch is complete by its age; None while nothing waits."""
        if self._closed:
            return 0.0
        if not self._open:
            return None
        first = min(batch.since for batch in self._open.values())
        return max(0.0, first + self._window - ticks)

    def clear(self) -> None:
        """Give everything up."""
        self._open.clear()
        self._closed.clear()
        self._held.clear()
