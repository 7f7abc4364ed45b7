"""Passes over a bucket whose clock, writers and answers a test decides."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.s3 import cursor as cursors
from connectors.s3.bucket import Bucket, Page, Place
from connectors.s3.cursor import Cursor
from connectors.s3.listing import Listing
from connectors.s3.objects import Found, message
from connectors.s3.settings import S3Settings, parse_settings
from connectors.streams import SourceUnavailable
from connectors.times import SECOND

NOW = 1_780_000_000 * SECOND
LOOK_BACK = 60 * SECOND


class Scripted(Bucket):
    """A bucket in memory."""

    def __init__(self, settings: S3Settings, size: int = 3) -> None:
        super().__init__(settings)
        self.objects: dict[str, Found] = {}
        self.now = NOW
        self.size = size
        self.broken = False

    def put(self, key: str, etag: str, begun: int = 0) -> None:
        """Write an object whose upload was begun so many seconds ago."""
        modified = self.now - begun * SECOND
        self.objects[key] = Found(key=key, etag=etag, size=1, modified=modified)

    def page(self, place: Place) -> Page:
        if self.broken:
            raise SourceUnavailable("away")
        keys = sorted(self.objects)
        begin = bisect.bisect_right(keys, place.key) if place.key else 0
        listed = keys[begin : begin + self.size]
        more = begin + self.size < len(keys)
        return Page(
            objects=[self.objects[key] for key in listed],
            now=self.now // SECOND * SECOND,
            next=Place(key=listed[-1]) if more else None,
            complete=listed[-1] if listed else place.key,
        )


class Watch:
    """Takes steps and remembers what it has seen, for as long as each event asks for."""

    def __init__(self, **given: Any) -> None:
        self.settings = parse_settings({"bucket": "logs", "look_back": "1m", **given})
        self.bucket = Scripted(self.settings)
        self.expires: dict[str, int] = {}
        self.seen: list[tuple[str, str]] = []
        self.cursor: str | None = None
        self.listing = Listing(self.settings, self.bucket, None)

    def step(self, *, crash: bool = False) -> bool:
        """One page; whether the pass has ended. With `crash` it is forgotten again."""
        step = self.listing.look()
        if crash:
            self.restart()
            return False
        now = self.bucket.now
        self.expires = {one: until for one, until in self.expires.items() if until > now}
        for found in step.found:
            if found.id not in self.expires:
                self.seen.append((found.key, found.etag))
                self.expires[found.id] = message(found, self.settings, now).expires or 0
        self.listing.take(step)
        self.cursor = str(step.cursor)
        return step.last

    def whole(self) -> None:
        """To the end of a pass."""
        while not self.step():
            pass

    def restart(self) -> None:
        """Begin again with what was kept."""
        self.listing = Listing(self.settings, self.bucket, self.cursor)


_ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 9), st.integers(0, 50)),
        st.tuples(st.just("remove"), st.integers(0, 9)),
        st.tuples(st.just("wait"), st.integers(0, 200_000)),
        st.tuples(st.sampled_from(["step", "crash", "restart", "break"])),
        st.tuples(st.just("size"), st.integers(1, 4)),
    ),
    max_size=60,
)


@settings(max_examples=500)
@given(_ACTIONS)
def test_the_last_content_is_never_missed_and_none_comes_twice(actions: Sequence[tuple[Any, ...]]):
    """Whatever happens between two pages: writes, late uploads, removals, crashes, an outage,
    pages of other sizes, and pauses of up to three days, for which ids are remembered."""
    watch = Watch()
    bucket = watch.bucket
    away = 0
    for number, (action, *details) in enumerate(actions):
        match action:
            case "put":
                bucket.put(f"k{details[0]}", f"e{number}", begun=details[1])
            case "remove":
                bucket.objects.pop(f"k{details[0]}", None)
            case "wait":
                if away + details[0] > 3 * 86_400:
                    watch.whole()
                    watch.whole()
                    away = 0
                away += details[0]
                bucket.now += details[0] * SECOND
            case "size":
                bucket.size = details[0]
            case "restart":
                watch.restart()
            case "break":
                bucket.broken = True
                with pytest.raises(SourceUnavailable):
                    watch.listing.look()
                bucket.broken = False
            case _:
                watch.step(crash=action == "crash")
    watch.whole()
    watch.whole()
    assert len(set(watch.seen)) == len(watch.seen)
    assert {(one.key, one.etag) for one in bucket.objects.values()} <= set(watch.seen)


def test_an_upload_that_took_too_long_is_missed_and_look_back_is_why():
    """What appears later than `look_back` after its LastModified is not found: the setting says
    how long an upload may take."""
    watch = Watch()
    watch.whole()
    watch.bucket.now += 10_000 * SECOND
    watch.whole()
    watch.bucket.put("a", "1", begun=59)
    watch.bucket.put("b", "1", begun=600)
    watch.whole()
    assert watch.seen == [("a", "1")]


def test_a_pass_that_takes_longer_than_look_back():
    """What is written behind it while it is under way is found by the next one: that looks back
    from the beginning of this one."""
    watch = Watch()
    for n in range(6):
        watch.bucket.put(f"k{n}", "1")
    watch.whole()
    watch.step()
    watch.bucket.put("k0", "2")
    watch.bucket.now += 100_000 * SECOND
    watch.whole()
    assert ("k0", "2") not in watch.seen
    watch.whole()
    assert ("k0", "2") in watch.seen


def test_a_restart_goes_on_behind_the_last_page():
    """Nothing that was taken is listed again for it."""
    watch = Watch()
    for n in range(9):
        watch.bucket.put(f"k{n}", "1")
    watch.step()
    watch.restart()
    assert [found.key for found in watch.listing.look().found] == ["k3", "k4", "k5"]


def test_old_objects_are_not_asked_about_again():
    """A pass looks at what is new, however much is there: the others are passed over by their
    time."""
    watch = Watch()
    for n in range(50):
        watch.bucket.put(f"k{n}", "1")
    watch.whole()
    watch.bucket.now += 10_000 * SECOND
    watch.whole()
    assert all(not watch.listing.look().found for _ in range(3))


def test_a_clock_that_is_set_back():
    """Objects that were written before it was noticed are found all the same."""
    watch = Watch()
    watch.whole()
    watch.bucket.now -= 86_400 * SECOND
    watch.bucket.put("a", "1")
    watch.whole()
    watch.bucket.now += SECOND
    watch.whole()
    assert watch.seen == [("a", "1")]


@pytest.mark.parametrize(("start", "expected"), [("earliest", ["a", "b", "c"]), ("latest", ["c"])])
def test_where_it_starts(start: str, expected: list[str]):
    """The floor is kept: no later pass brings what a trigger did not begin with."""
    watch = Watch(start=start)
    for key in ("a", "b"):
        watch.bucket.put(key, "1", begun=20)
    watch.whole()
    watch.bucket.put("c", "1")
    for _ in range(3):
        watch.restart()
        watch.whole()
        watch.bucket.now += SECOND
    assert [key for key, _ in watch.seen] == expected


def test_a_page_that_was_not_taken_comes_again():
    """Looking changes nothing, so that a failure behind it loses nothing."""
    watch = Watch()
    for n in range(5):
        watch.bucket.put(f"k{n}", "1")
    first = watch.listing.look()
    assert watch.listing.look() == first
    watch.listing.take(first)
    assert watch.listing.look() != first


@given(
    st.builds(
        Cursor,
        floor=st.integers(),
        mark=st.none() | st.integers(),
        began=st.none() | st.integers(),
        after=st.text(),
    )
)
def test_a_cursor_is_read_as_it_was_written(cursor: Cursor):
    """Whatever the key holds."""
    assert cursors.parse(str(cursor)) == cursor


@given(st.text() | st.sampled_from(["null", "1", '{"v":1}', '{"v":true,"floor":0}']))
def test_what_is_no_cursor(text: str):
    """ValueError, and nothing else."""
    with pytest.raises(ValueError):  # noqa: PT011 - json's own is one, too
        cursors.parse(text)
