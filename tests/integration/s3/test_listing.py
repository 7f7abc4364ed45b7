"""Listings of a real bucket: what is there comes once, and what changes comes again."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connectors.queues import Inbox
from connectors.s3 import S3Connector
from connectors.s3.bucket import PAGE
from connectors.streams import SourceContext, SourceRefused, SourceUnavailable
from tests.integration.s3.conftest import Box

Open = Callable[..., Box]


def etag(body: bytes) -> str:
    """What S3 calls a content that was written in one piece."""
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


def backend(bucket: str) -> Any:
    """What moto's server keeps the bucket in: it runs in this process."""
    from moto.s3.models import s3_backends

    found = [one for account in s3_backends.values() for one in account.values()]
    return next(one for one in found if bucket in one.buckets)


def written_at(bucket: str, key: str, moment: datetime) -> None:
    """Let an object have been written then."""
    for one in backend(bucket).buckets[bucket].keys.getlist(key):
        one.last_modified = moment.replace(tzinfo=None)


def filled(bucket: str, keys: Iterable[str], body: bytes) -> None:
    """Put objects there without asking over HTTP for each."""
    put = backend(bucket).put_object
    for key in keys:
        put(bucket, key, body)


def test_what_is_there_comes_once(s3: Any, bucket: str, opened: Open):
    """Each object once, with what S3 knows of it; a second pass and a restart bring nothing."""
    for n in range(5):
        s3.put_object(Bucket=bucket, Key=f"in/{n}.log", Body=b"x" * n)
    s3.put_object(Bucket=bucket, Key="other/1.log", Body=b"y")
    s3.put_object(Bucket=bucket, Key="in/folder/", Body=b"")
    box = opened(prefix="in/")
    box.until(5)
    assert box.rest() == []
    box.reopened()
    assert box.rest() == []
    body = next(m.body for m in box.ids.values() if m.body["key"] == "in/3.log")
    assert (body["size"], body["etag"], body["bucket"]) == (3, etag(b"xxx"), bucket)
    assert box.keys == [f"in/{n}.log" for n in range(5)]


def test_an_overwritten_key_is_a_new_event(s3: Any, bucket: str, opened: Open):
    """Another content comes again, the same one does not."""
    s3.put_object(Bucket=bucket, Key="a", Body=b"1")
    box = opened()
    box.until(1)
    s3.put_object(Bucket=bucket, Key="a", Body=b"1")
    assert box.rest() == []
    s3.put_object(Bucket=bucket, Key="a", Body=b"2")
    box.until(2)
    assert box.contents == {("a", etag(b"1")), ("a", etag(b"2"))}
    assert box.again == 0


def test_odd_keys(s3: Any, bucket: str, opened: Open):
    """Whatever a key holds, it comes as it is, and the listing goes on behind it."""
    keys = ["a b+c", "ä/ö", "x\ty", "100%25", "a&<b>", "../up", "star*", "k" * 1000, "\U0001f600"]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    box = opened()
    box.until(len(keys))
    assert box.rest() == []
    assert box.keys == sorted(keys)


def test_room_and_a_restart_in_mid_pass(s3: Any, bucket: str, opened: Open):
    """No poll hands over more than there is room for, and a restart repeats nothing that is in
    the inbox."""
    filled(bucket, (f"{n:04}" for n in range(1200)), b"x")
    box = opened()
    while len(box.ids) < 1200:
        assert len(box.poll(room=70)) <= 70
        if len(box.ids) // 70 in (3, 16):
            box.reopened()
    assert box.rest() == []
    assert box.again == 0


def test_start_latest(s3: Any, bucket: str, opened: Open):
    """What was there before is left alone, also in later passes and after a restart."""
    s3.put_object(Bucket=bucket, Key="old", Body=b"1")
    written_at(bucket, "old", datetime.now(UTC) - timedelta(minutes=5))
    box = opened(start="latest")
    assert box.rest() == []
    s3.put_object(Bucket=bucket, Key="new", Body=b"2")
    box.reopened()
    box.until(1)
    assert box.rest() == []
    assert box.keys == ["new"]


def test_start_at_a_time(s3: Any, bucket: str, opened: Open):
    """Objects count from that time on, to the second."""
    for n in range(4):
        s3.put_object(Bucket=bucket, Key=str(n), Body=b"x")
        written_at(bucket, str(n), datetime(2026, 3, 29, 1, n, tzinfo=UTC))
    box = opened(start="2026-03-29T01:02:00Z")
    box.until(2)
    assert box.rest() == []
    assert box.keys == ["2", "3"]


def test_an_object_that_appears_late(s3: Any, bucket: str, opened: Open):
    """One whose LastModified lies before the last pass is found, as far as `look_back` reaches."""
    box = opened(look_back="1h")
    s3.put_object(Bucket=bucket, Key="first", Body=b"x")
    box.until(1)
    assert box.rest() == []
    now = datetime.now(UTC)
    for key, age in (("late", timedelta(minutes=50)), ("too-late", timedelta(hours=3))):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
        written_at(bucket, key, now - age)
    box.until(2)
    assert box.rest() == []
    assert box.keys == ["first", "late"]


def test_settle(s3: Any, bucket: str, opened: Open):
    """A young object waits; in the meantime it may be overwritten, and only the last counts."""
    s3.put_object(Bucket=bucket, Key="a", Body=b"1")
    box = opened(settle="1h")
    assert box.rest() == []
    s3.put_object(Bucket=bucket, Key="a", Body=b"2")
    written_at(bucket, "a", datetime.now(UTC) - timedelta(hours=2))
    box.until(1)
    assert box.contents == {("a", etag(b"2"))}


def test_every_version(s3: Any, bucket: str, opened: Open):
    """With `versions` each content of each key comes, removed or not, over pages, with its
    version."""
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for body in (b"1", b"2", b"1"):
        filled(bucket, (f"{n:04}" for n in range(PAGE // 2)), body)
    s3.delete_object(Bucket=bucket, Key="0007")
    box = opened(versions=True)
    box.until(PAGE)
    assert box.rest() == []
    assert box.contents == {
        (f"{n:04}", etag(body)) for n in range(PAGE // 2) for body in (b"1", b"2")
    }
    assert all(message.body["version"] for message in box.ids.values())


@pytest.mark.slow
def test_twenty_thousand_objects_while_others_write(s3: Any, bucket: str, opened: Open):
    """The last content of each key is never missed, and no content comes twice: 500 objects of one
    second, writers that add and overwrite while it is listed, restarts in between."""
    second = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=3)
    last: dict[str, str] = {}
    lock = threading.Lock()

    def write(key: str, body: bytes) -> None:
        s3.put_object(Bucket=bucket, Key=key, Body=body)
        with lock:
            last[key] = etag(body)

    keys = [f"logs/{n % 7}/{n:05}.log" for n in range(20_000)]
    filled(bucket, keys, b"first")
    last.update(dict.fromkeys(keys, etag(b"first")))
    for n in range(500):
        written_at(bucket, f"logs/{n % 7}/{n:05}.log", second)

    def add(seed: int) -> None:
        for n in range(120):
            # Every key belongs to one writer, so that its last content is known.
            write(f"logs/{seed}/new-{n % 40}.log", f"{seed} {n}".encode())
            write(f"logs/{(seed * 31 + n) % 7}/{seed * 1000 + n:05}.log", f"again {n}".encode())

    box = opened(prefix="logs/", match="**/*.log")
    with ThreadPoolExecutor(3) as pool:
        writers = [pool.submit(add, seed) for seed in (2, 3, 4)]
        polls = 0
        while not all(writer.done() for writer in writers) or len(box.ids) < 20_000:
            box.poll(room=400, wait=0.2)
            polls += 1
            if polls % 40 == 0:
                box.reopened()
    for writer in writers:
        writer.result()
    box.rest()
    assert set(last.items()) <= box.contents
    assert len(box.contents) == len(box.ids)
    assert box.again == 0


def test_a_bucket_that_is_not_there(s3: Any, opened: Open):
    """It is said with its name, and once it is there the same source goes on."""
    box = opened(bucket="logs-to-come")
    for _ in range(2):
        with pytest.raises(SourceRefused, match="no bucket 'logs-to-come'"):
            box.poll()
    s3.create_bucket(
        Bucket="logs-to-come",
        CreateBucketConfiguration={"LocationConstraint": "eu-central-1"},
    )
    s3.put_object(Bucket="logs-to-come", Key="a", Body=b"1")
    box.until(1)


def test_nobody_there(context: SourceContext):
    """A service that is away is tried again, and nothing is lost by it."""
    inbox = Inbox(cursor=None, known=lambda ids: set())
    settings = {"bucket": "logs", "endpoint": "http://127.0.0.1:1", "region": "eu-central-1"}
    source = S3Connector().open(settings, context, inbox)
    with pytest.raises(SourceUnavailable, match="does not answer"):
        source.poll(1, 0)
    source.close()


def test_a_cursor_that_is_none(context: SourceContext, bucket: str, endpoint: str):
    """What is kept may be damaged: that is said, and nothing is listed from somewhere."""
    for cursor in ("nonsense", "{}", "[]", '{"v":2,"floor":0,"mark":null,"began":null,"after":""}'):
        inbox = Inbox(cursor=cursor, known=lambda ids: set())
        source = S3Connector().open({"bucket": bucket, "endpoint": endpoint}, context, inbox)
        with pytest.raises(SourceRefused, match="--reset"):
            source.poll(1, 0)
        source.close()


def test_stop_and_close_end_a_poll(opened: Open, context: SourceContext):
    """A poll that waits ends when the trigger stops, and when the source is closed."""
    box = opened(interval="1d")
    while box.cursor is None or '"began":null' not in box.cursor:
        box.poll()
    assert box.source.interval > 3600
    for end in (box.source.close, context.stop.set):
        box.reopened()
        while box.source.interval == 0:
            box.poll(wait=0)
        ended = threading.Event()
        source = box.source

        def wait(source: Any = source, ended: threading.Event = ended) -> None:
            source.poll(1, 3600)
            ended.set()

        thread = threading.Thread(target=wait)
        thread.start()
        end()
        box.source.close()
        assert ended.wait(30)
        thread.join()
