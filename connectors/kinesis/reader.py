"""Reads one shard onward, from a position that may be days old.

Kinesis does not say when records have expired: an iterator for a place that is gone silently
stands at the oldest record. So a reader that goes on behind a record asks for that record once
more. If it comes, nothing is missing. If it has expired, records behind it may have, too, unless
the position was at the tip of the shard within the time that records are kept. Then the stretch is
reported as lost: nobody can tell whether there was anything in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from connectors.kinesis.client import (
    MAX_LIMIT,
    Client,
    IteratorExpired,
    Page,
    Record,
    Shard,
    ShardGone,
)
from connectors.kinesis.positions import TRIM_HORIZON, Position, after, at
from connectors.streams import SourceUnavailable


@dataclass(frozen=True, kw_only=True)
class Horizon:
    """What is known about the age of records."""

    oldest: int
    """Whatever arrived before this may have expired, milliseconds since 1970."""
    created: int
    """Nothing arrived before this."""


@dataclass(frozen=True, kw_only=True)
class Read:
    """What one read has brought."""

    records: Sequence[Record] = ()
    lost: str | None = None
    """Why a stretch before these records (or before the end) counts as lost."""
    ended: bool = False
    """The shard is closed, and these are its last records."""
    behind: int = 0
    """Milliseconds to the tip; 0: caught up."""


class ShardReader:
    """One shard. Holds an iterator and nothing that could not be read again."""

    def __init__(self, client: Client, shard: str) -> None:
        self._client = client
        self.shard = shard
        self.seek(TRIM_HORIZON, seen=0)

    def seek(self, position: Position, *, seen: int) -> None:
        """Go on from here. `seen`: when it was last known that no unread record had arrived
        behind the position (milliseconds since 1970); 0 where nobody knows."""
        self._position = position
        self._seen = seen
        self._iterator: str | None = None
        self._unproven = position.kind != "TRIM_HORIZON"

    @property
    def proven(self) -> bool:
        """Whether nothing can be missing between the position and the next record."""
        return not self._unproven

    def read(self, limit: int, horizon: Horizon, listed: Shard | None, *, seen: int = 0) -> Read:
        """Read once. `listed` is the shard in a list that was made before; None: it was not there.

        `seen` replaces that of `seek` for a fresh iterator. Raises what :class:`Client` raises,
        except that an expired iterator is made anew; afterwards it may be called again.
        """
        self._seen = max(self._seen, seen)
        try:
            page = self._page(limit)
        except ShardGone:
            if listed is not None:
                self._iterator = None
                raise SourceUnavailable(f"{self.shard} is listed, but cannot be read") from None
            lost = f"{self.shard} has expired before it was read to its end"
            return Read(lost=lost, ended=True)
        self._iterator = page.next
        records = self._onward(page.records)
        ended = page.next is None or self._nothing_follows(page, listed)
        lost = self._judge(records, horizon, ended=ended)
        if records:
            self._position = after(records[-1].sequence)
        return Read(records=records, lost=lost, ended=ended, behind=page.behind)

    def _page(self, limit: int) -> Page:
        if self._iterator is not None:
            try:
                return self._client.read(self._iterator, limit)
            except IteratorExpired:
                self._iterator = None
        self._unproven = self._position.kind != "TRIM_HORIZON"
        place = self._position
        # One more, because the record before the position comes again.
        extra = 1 if place.kind == "after" else 0
        iterator = self._client.iterator(self.shard, at(place.number) if extra else place)
        return self._client.read(iterator, min(limit + extra, MAX_LIMIT))

    def _onward(self, records: Sequence[Record]) -> Sequence[Record]:
        """The records from the position on. Iterators by time may be as coarse as a second."""
        place = self._position
        match place.kind:
            # Not only the first page may begin with it: a service may give empty ones before.
            case "after" if records and records[0].sequence == place.number:
                self._unproven = False
                return records[1:]
            case "at" if self._unproven and records and records[0].sequence == place.number:
                self._unproven = False
            case "time":
                older = 0
                while older < len(records) and records[older].arrived < place.number:
                    older += 1
                if older:  # what is older is still there, so nothing behind it has expired
                    self._unproven = False
                return records[older:]
            case _:
                pass
        return records

    def _nothing_follows(self, page: Page, listed: Shard | None) -> bool:
        """Whether a closed shard is at its end although its iterator goes on, as some services
        that stand in for Kinesis have it."""
        if listed is None or listed.last is None or page.records or page.behind:
            return False
        return self._position.kind != "after" or self._position.number >= listed.last

    def _judge(self, records: Sequence[Record], horizon: Horizon, *, ended: bool) -> str | None:
        if not self._unproven:
            return None
        place = self._position
        floor = max(horizon.created, self._seen, place.number if place.kind == "time" else 0)
        if floor >= horizon.oldest:
            self._unproven = False
            return None
        if not records and not ended:
            return None  # the next record tells from where on there is something
        self._unproven = False
        if place.kind == "time":
            return "the start lies before the oldest records that are kept; what came first is gone"
        what = "this record" if place.kind == "at" else "the record before it"
        return f"{what} has expired; Kinesis does not tell whether others behind it have, too"
