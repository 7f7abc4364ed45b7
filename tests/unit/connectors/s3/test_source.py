"""A source over a bucket in memory: room, memory, what is asked of the inbox."""

from __future__ import annotations

import tracemalloc
from collections.abc import Collection
from typing import Any

import pytest

from connectors.queues import Delivery, Inbox, QueueSource
from connectors.s3 import S3Connector
from connectors.s3.bucket import PAGE, Bucket, Page, Place
from connectors.s3.cursor import Cursor
from connectors.s3.objects import Found, message
from connectors.s3.settings import parse_settings
from connectors.streams import SourceContext, SourceUnavailable
from connectors.times import DAY, SECOND

NOW = 1_780_000_000 * SECOND
COUNT = 200_000


class Large:
    """Answers for a bucket of many objects, which are made as they are asked for."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.now = NOW
        self.asked = 0
        self.broken = False

    def page(self, place: Place) -> Page:
        self.asked += 1
        if self.broken:
            raise SourceUnavailable("away")
        begin = int(place.key or -1) + 1
        end = min(begin + PAGE, self.count)
        found = [
            Found(key=f"{n:08}", etag=f"e{n}", size=n, modified=NOW - 2 * DAY)
            for n in range(begin, end)
        ]
        last = f"{end - 1:08}"
        more = end < self.count
        return Page(
            objects=found, now=self.now, next=Place(key=last) if more else None, complete=last
        )


class Asked:
    """An inbox that counts what it is asked."""

    def __init__(self) -> None:
        self.ids: set[str] = set()
        self.most = 0
        self.total = 0

    def known(self, ids: Collection[str]) -> set[str]:
        self.most = max(self.most, len(ids))
        self.total += len(ids)
        return self.ids.intersection(ids)


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> Large:
    """The bucket that every source of the test sees."""
    bucket = Large(COUNT)
    monkeypatch.setattr(Bucket, "page", bucket.page)
    return bucket


def opened(context: SourceContext, asked: Asked, cursor: str | None = None) -> QueueSource:
    settings: dict[str, Any] = {"bucket": "logs", "interval": "1s", "batch_size": 100}
    source = S3Connector().open(settings, context, Inbox(cursor=cursor, known=asked.known))
    assert source is not None
    return source


def test_a_large_prefix_does_not_fill_memory(large: Large, source_context: SourceContext):
    """200,000 objects pass by a thousand at a time, and the next pass asks the inbox nothing."""
    asked = Asked()
    source = opened(source_context, asked)
    came = 0
    cursor: str | None = None
    try:
        while came < COUNT:
            if came >= COUNT - 20 * PAGE and not tracemalloc.is_tracing():
                # What kept every object would grow by ten megabytes from here on.
                tracemalloc.start()
            polled = source.poll(300, 0)
            assert len(polled.messages) <= 300
            came += len(polled.messages)
            cursor = polled.cursor or cursor
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert came == COUNT
    assert asked.most <= PAGE
    assert peak < 5 * 2**20
    source.close()
    pages, total = large.asked, asked.total
    source = opened(source_context, asked, cursor)
    while large.asked < 2 * pages:
        assert not source.poll(300, 0).messages
    assert asked.total == total
    source.close()


def test_a_failure_in_mid_pass(large: Large, source_context: SourceContext):
    """It goes on with the page that failed: nothing is left out, nothing comes again."""
    large.count = 3 * PAGE
    asked = Asked()
    source = opened(source_context, asked)
    came: list[str] = []
    while len(came) < large.count:
        polled = source.poll(PAGE, 0)
        came += [message.id for message in polled.messages]
        large.broken = True
        if len(came) < large.count:
            with pytest.raises(SourceUnavailable):
                source.poll(PAGE, 0)
        large.broken = False
    assert len(set(came)) == len(came) == large.count
    source.close()


def test_an_inbox_that_fails_loses_no_page(large: Large, source_context: SourceContext):
    """What could not be compared is looked at again."""
    large.count = 10
    asked = Asked()
    failing = [True]

    def known(ids: Collection[str]) -> set[str]:
        if failing:
            raise RuntimeError("no database")
        return asked.known(ids)

    source = S3Connector().open({"bucket": "logs"}, source_context, Inbox(cursor=None, known=known))
    with pytest.raises(RuntimeError):
        source.poll(50, 0)
    failing.clear()
    assert len(source.poll(50, 0).messages) == 10
    source.close()


def test_the_cursor_comes_with_the_last_message_before_it(
    large: Large, source_context: SourceContext
):
    """While some of a page have no room yet, the cursor does not say that they were looked at."""
    large.count = 10
    source = opened(source_context, Asked())
    cursors = [source.poll(4, 0).cursor for _ in range(3)]
    assert [cursor is None for cursor in cursors] == [True, True, False]
    source.close()


def test_between_two_listings(large: Large, source_context: SourceContext):
    """The next one has its time; until then nothing is asked."""
    large.count = 1
    source = opened(source_context, Asked())
    assert source.interval == 0
    source.poll(5, 0)
    assert 0 < source.interval <= 1
    asked = large.asked
    assert not source.poll(5, 0).messages
    assert large.asked == asked
    source.close()


def test_no_room(large: Large, source_context: SourceContext):
    """Nothing is handed over, and nothing is lost by it."""
    large.count = 3
    source = opened(source_context, Asked())
    assert not source.poll(0, 0).messages
    assert len(source.poll(3, 0).messages) == 3
    source.close()


def test_listed_objects_have_nothing_to_acknowledge(large: Large, source_context: SourceContext):
    """They are done with as soon as they are in the ledger."""
    source = opened(source_context, Asked())
    assert source.acknowledges_on_intake
    assert not source.returns_dead
    assert list(source.acknowledge([Delivery(id="a", receipt="")])) == ["a"]
    source.close()


def test_ids_are_needed_until_a_listing_has_gone_beyond_their_objects(source_context: Any):
    """However long nobody listed: an object that the next pass looks at again has an id that is
    known still. Notifications alone look back at nothing."""
    given = {"bucket": "logs", "region": "eu-central-1", "look_back": "2d", "settle": "1m"}
    inbox = Inbox(cursor=None, known=Asked().known)
    source = S3Connector().open(given, source_context, inbox)
    assert source.forget_before(None) == 0, "no pass has ended"
    assert source.forget_before(str(Cursor(floor=0, began=NOW, after="x"))) == 0
    assert source.forget_before("of another version") == 0
    cursor = Cursor(floor=0, mark=NOW)
    before = source.forget_before(str(cursor))
    assert before is not None
    settings = parse_settings(given)
    oldest = Found(key="k", etag="e", size=1, modified=NOW - settings.look_back - settings.settle)
    expires = message(oldest, settings, now=0).expires
    assert expires is not None
    assert before <= expires
    told = {"bucket": "logs", "reconcile": 0, "notifications": {"queue": "new-logs"}}
    alone = S3Connector().open(told, source_context, inbox)
    assert alone.forget_before(str(cursor)) is None
    source.close()
    alone.close()
