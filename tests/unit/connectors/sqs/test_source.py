"""A source of a queue, as whoever runs it sees it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from connectors.aws.queue import Fault
from connectors.queues import Delivery
from connectors.sqs.source import SqsSource
from connectors.streams import SourceChanged, SourceRefused, SourceUnavailable
from tests.support.sqs import STATE, ScriptedQueue, delivery, drained, open_source, received
from tests.support.waiting import until

HOUR = 3_600_000_000
TYPE = {"DataType": "String", "StringValue": "order"}


class Opened:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.queue = ScriptedQueue()
        self.sources: list[SqsSource] = []

    def __call__(self, **options: Any) -> SqsSource:
        self.sources.append(open_source(self.queue, self.directory, **options))
        return self.sources[-1]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    it = Opened(tmp_path)
    yield it
    for source in it.sources:
        source.close()
        source.close()


def _now() -> int:
    return time.time_ns() // 1000


def test_settings_become_what_is_asked_of_it(opened: Opened):
    """What is gathered, when it is acknowledged, what becomes of the dead, how long ids count."""
    source = opened(batch_size=500, dedup_window="1h", storage="/srv/orch", keep="2d")
    assert (source.gathering.size, source.interval) == (500, 0)
    assert source.remember_for == HOUR
    assert source.payloads is source.payloads
    assert source.payloads.keep_for == 48 * HOUR
    assert not source.acknowledges_on_intake
    assert not source.returns_dead
    assert opened(ack="on_intake").acknowledges_on_intake
    assert opened(dead="return").returns_dead


def test_the_queue_is_told_by_the_cursor(opened: Opened):
    """Once, with the first messages; opened again on it, nothing is told anew."""
    opened.queue.messages += [received() for _ in range(3)]
    source = opened()
    until(lambda: source.poll(10, 0.5).cursor == STATE.identity, "the queue is told")
    assert source.poll(10, 0.01).cursor is None
    again = opened(cursor=STATE.identity)
    opened.queue.messages.append(received())
    assert again.poll(10, 5).cursor is None


def test_a_queue_that_was_made_again_is_another_one(opened: Opened):
    """The same name and address, made later: somebody has to say that it is meant."""
    opened.queue.now = replace(STATE, created="1750000001")
    opened.queue.messages.append(received())
    source = opened(cursor=STATE.identity)
    for _ in range(2):
        with pytest.raises(SourceChanged, match="not the one that was registered"):
            source.poll(10, 5)
    assert len(opened.queue.messages) == 1


def test_a_queue_without_redrive_takes_nothing_back(opened: Opened):
    """Messages of dead runs would come for ever."""
    with pytest.raises(SourceRefused, match="no redrive policy"):
        opened(dead="return").poll(10, 5)
    opened.queue.now = replace(STATE, redrives=True)
    opened.queue.messages.append(received())
    assert len(opened(dead="return").poll(10, 5).messages) == 1


def test_what_is_not_wanted_is_deleted_at_once(opened: Opened):
    """And counted; what is wanted stays until it is acknowledged."""
    wanted = [received("x", type=TYPE) for _ in range(2)]
    others = [received("y") for _ in range(3)]
    opened.queue.messages += [*wanted, *others]
    source = opened(filter={"attribute": {"type": "order"}})
    found = drained(lambda room, wait: source.poll(room, wait).messages, 2)
    assert [message.id for message in found] == [one.id for one in wanted]
    assert sorted(opened.queue.deleted) == sorted(one.receipt for one in others)
    assert source.filtered == 3
    assert source.acknowledge([delivery(message) for message in found]) == {
        message.id for message in found
    }


def test_what_is_not_wanted_and_cannot_be_deleted_holds_nothing_up(
    opened: Opened, caplog: pytest.LogCaptureFixture
):
    """It comes again; what came with it is handed over."""
    opened.queue.messages += [received("x", type=TYPE), received("y")]
    opened.queue.blocks = True
    source = opened(filter={"attribute": {"type": "order"}})
    source.poll(10, 0.01)
    until(lambda: opened.queue.under_way, "a call is under way")
    deletes = opened.queue.delete
    opened.queue.delete = lambda receipts: _away()  # type: ignore[method-assign]
    opened.queue.release.set()
    assert len(drained(lambda room, wait: source.poll(room, wait).messages, 1)) == 1
    assert "1 messages that are not wanted stay: away" in caplog.text
    opened.queue.delete = deletes  # type: ignore[method-assign]


def _away() -> list[Fault | None]:
    raise SourceUnavailable("away")


def test_messages_are_kept_from_others_while_their_run_lives(opened: Opened):
    """By the time that is set, told anew every third of it."""
    source = opened(visibility="90s")
    assert source.extend_every == 30_000_000
    waiting = [Delivery(id="m", receipt="r", at=_now())]
    assert source.extend(waiting) == set()
    assert opened.queue.changed == [("r", 90)]
    opened.queue.messages.append(received())
    source.poll(1, 5)
    assert opened.queue.asked[0].visibility == 91


def test_messages_are_kept_from_others_while_they_are_gathered(opened: Opened):
    """They are in no ledger yet, so nobody extends their time; SQS takes twelve hours at most."""
    for settings, hidden in (
        ({"visibility": "30s", "batch_window": "10m"}, 630),
        ({"visibility": "12h", "batch_window": "1h"}, 12 * 3600),
        ({"visibility": "30s", "batch_window": 0}, 30),
    ):
        opened.queue.messages.append(received())
        opened(**settings).poll(1, 5)
        assert opened.queue.asked[-1].visibility == hidden


def test_without_a_setting_it_is_the_queues_own(opened: Opened):
    """But never so little that a run could not be kept alive."""
    source = opened()
    source.poll(1, 0.05)
    until(lambda: source.extend_every == 20_000_000, "the queue was looked at")
    source.close()  # or it may be the one that asks
    opened.queue.now = replace(STATE, visibility=0)
    short = opened()
    opened.queue.messages.append(received())
    short.poll(1, 5)
    assert short.extend_every == 10_000_000
    assert opened.queue.asked[-1].visibility == 31


def test_what_sqs_will_not_keep_any_longer_is_acknowledged(opened: Opened):
    """Past eleven hours; shortly before, no more is asked for than SQS gives."""
    source = opened(visibility="12h")
    deliveries = [
        Delivery(id="old", receipt="r1", at=_now() - 11 * HOUR),
        Delivery(id="late", receipt="r2", at=_now() - 11 * HOUR + HOUR // 60),
        Delivery(id="new", receipt="r3", at=_now()),
    ]
    assert source.extend(deliveries) == {"old"}
    asked = dict(opened.queue.changed)
    assert set(asked) == {"r2", "r3"}
    assert 3500 < asked["r2"] <= 3600
    assert asked["r3"] <= 12 * 3600 - 60


def test_a_message_that_goes_back_is_delivered_at_once(opened: Opened):
    """Its time in flight ends."""
    source = opened()
    deliveries = [Delivery(id="m1", receipt="r1"), Delivery(id="m2", receipt="r2")]
    opened.queue.refusals = {"r2": Fault("InternalError", "oh")}
    assert source.give_back(deliveries) == {"m1"}
    assert opened.queue.changed == [("r1", 0)]


def test_lag_is_what_nobody_has_received(opened: Opened):
    """As far as is known: nothing before the queue was looked at."""
    source = opened()
    assert source.lag() is None
    opened.queue.messages += [received() for _ in range(7)]
    source.poll(1, 5)
    assert source.lag() == 7


def test_values_name_the_queue(opened: Opened):
    """Region from the settings, or where the queue was found."""
    assert opened(region="eu-west-1").describe([]).values == {
        "sqs": {"queue": "orders", "region": "eu-west-1"}
    }
    source = opened()
    assert source.describe([]).values == {"sqs": {"queue": "orders", "region": ""}}
    source.poll(1, 0.05)
    until(
        lambda: (
            source.describe([]).values == {"sqs": {"queue": "orders", "region": "eu-central-1"}}
        ),
        "the queue was looked at",
    )
