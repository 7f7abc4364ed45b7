"""Listing a bucket again and again so that no object is missed and few are looked at twice.

A *pass* lists every key below the prefix, a page at a time. What counts is what was modified since
the pass before it began, less `look_back`: an object that appears late is still within that, as
long as it appears less than `look_back` after its LastModified. Those within it that were seen
before are told apart by their ids, which is up to whoever uses this.

LastModified is compared with the service's clock alone. Were that set back, objects written within
`look_back` of the change would be found all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from connectors.fields import rfc3339
from connectors.s3.bucket import Bucket, Page, Place
from connectors.s3.cursor import Cursor, parse
from connectors.s3.objects import MARGIN, Found
from connectors.s3.settings import S3Settings
from connectors.streams import SourceRefused


@dataclass(frozen=True, kw_only=True)
class Step:
    """One page of a pass."""

    found: Sequence[Found]
    """What counts, and may have been seen before. No two have the same id."""
    cursor: Cursor
    """How far the listing has come once all of it is in the ledger."""
    next: Place
    """Where the next step goes on."""
    last: bool
    """Whether the pass ends with it."""


class Listing:
    """Where the listing of one bucket stands. `look` changes nothing until `take`."""

    def __init__(self, settings: S3Settings, bucket: Bucket, cursor: str | None) -> None:
        self._settings = settings
        self._bucket = bucket
        self._kept = cursor
        self._cursor: Cursor | None = None
        self._place: Place | None = None

    def look(self) -> Step:
        """The next page; the same one again where it was not taken."""
        if self._place is None:
            self._cursor = self._parsed()
            self._place = Place(key=self._cursor.after if self._cursor else "")
        page = self._bucket.page(self._place)
        cursor = self._begun(page.now)
        after = replace(cursor, after=max(page.complete, cursor.after))
        done = Cursor(floor=cursor.floor, mark=cursor.began)
        return Step(
            found=self._wanted(page, cursor),
            cursor=done if page.next is None else after,
            next=page.next or Place(),
            last=page.next is None,
        )

    def take(self, step: Step) -> None:
        """Go on behind a step."""
        self._cursor, self._place = step.cursor, step.next

    def _parsed(self) -> Cursor | None:
        try:
            return parse(self._kept) if self._kept else None
        except ValueError as error:
            raise SourceRefused(f"{error}: begin anew with --reset") from error

    def _begun(self, now: int) -> Cursor:
        """The cursor of the pass under way, or of the one that begins now."""
        cursor = self._cursor
        if cursor is None:
            match self._settings.start:
                case "earliest":
                    floor = 0
                case "latest":
                    floor = now
                case time:
                    floor = rfc3339(time)
            cursor = Cursor(floor=floor)
        return cursor if cursor.began is not None else replace(cursor, began=now)

    def _wanted(self, page: Page, cursor: Cursor) -> Sequence[Found]:
        settings = self._settings
        since = cursor.floor
        if cursor.mark is not None:
            late = settings.look_back + settings.settle + MARGIN
            since = max(since, cursor.mark - late)
        until = page.now - settings.settle if settings.settle else None
        # Of several versions with one etag the newest comes first, and stands for all.
        wanted: dict[str, Found] = {}
        for found in page.objects:
            in_time = found.modified >= since and (until is None or found.modified <= until)
            if in_time and not found.is_folder and settings.wants(found.key):
                wanted.setdefault(found.id, found)
        return list(wanted.values())
