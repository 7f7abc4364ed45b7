"""A queue of moto's server: what its API does, and what becomes of it."""

from __future__ import annotations

import json
import socket
import threading
import time
from typing import Any

import pytest

from connectors.aws.address import parse_queue
from connectors.aws.queue import Queue, QueueGone
from connectors.queues import Message, Polled, QueueSource
from connectors.streams import SourceChanged, SourceError
from tests.integration.sqs.conftest import REGION, Moto, Open
from tests.support.sqs import delivery, drained
from tests.support.waiting import until


def _messages(source: QueueSource, count: int) -> list[Message]:
    return drained(lambda room, wait: source.poll(room, wait).messages, count)


def test_messages_come_with_all_that_they_carry(moto: Moto, opened: Open):
    """Body, attributes of every type, when it was sent and how often it was delivered."""
    queue = moto.queue()
    attributes: Any = {
        "type": {"DataType": "String", "StringValue": "order"},
        "size": {"DataType": "Number", "StringValue": "17"},
        "raw": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
    }
    before = time.time_ns() // 1000 - 2_000_000
    moto.send(queue, [json.dumps({"n": 1})], MessageAttributes=attributes)
    source = opened(queue, moto.endpoint, body="json")
    (message,) = _messages(source, 1)
    assert message.body["body"] == {"n": 1}
    assert message.body["attributes"] == {"type": "order", "size": "17", "raw": "AP8="}
    assert message.body["received"] == 1
    assert message.at is not None
    assert before < message.at <= time.time_ns() // 1000 + 2_000_000


@pytest.mark.parametrize("way", ["name", "arn", "url"])
def test_a_queue_is_found_by_what_names_it(moto: Moto, opened: Open, way: str):
    """And it is the same one."""
    queue = moto.queue()
    moto.send(queue, ["x"])
    arn = moto.client.get_queue_attributes(QueueUrl=moto.url(queue), AttributeNames=["QueueArn"])
    text = {
        "name": queue,
        "arn": arn["Attributes"]["QueueArn"],
        "url": moto.url(queue),
    }[way]
    assert len(_messages(opened(text, moto.endpoint), 1)) == 1


def test_what_is_acknowledged_is_gone(moto: Moto, opened: Open):
    """And only that: the others are in flight."""
    queue = moto.queue()
    moto.send(queue, [str(n) for n in range(25)])
    source = opened(queue, moto.endpoint)
    messages = _messages(source, 25)
    done = source.acknowledge([delivery(message) for message in messages[:23]])
    assert set(done) == {message.id for message in messages[:23]}
    assert moto.left(queue) == (0, 2)


def test_what_is_given_back_comes_again(moto: Moto, opened: Open):
    """The same id with another receipt, counted as another delivery."""
    queue = moto.queue()
    moto.send(queue, ["x"])
    source = opened(queue, moto.endpoint)
    (first,) = _messages(source, 1)
    assert set(source.give_back([delivery(first)])) == {first.id}
    (second,) = _messages(source, 1)
    assert second.id == first.id
    assert second.receipt != first.receipt
    assert second.body["received"] == 2


def test_what_is_extended_stays_away_from_others(moto: Moto, opened: Open):
    """Visibility is 10 s here, the queue's own is nothing at all."""
    queue = moto.queue(VisibilityTimeout="0")
    moto.send(queue, ["x"])
    source = opened(queue, moto.endpoint, visibility="10s")
    (message,) = _messages(source, 1)
    assert source.extend([delivery(message, at=time.time_ns() // 1000)]) == set()
    assert moto.left(queue) == (0, 1)
    answer = moto.client.receive_message(QueueUrl=moto.url(queue))
    assert "Messages" not in answer


def test_receipts_that_are_over_end_in_nothing(moto: Moto, opened: Open):
    """Another consumer has deleted it: acknowledged, extended and given back without a word."""
    queue = moto.queue()
    moto.send(queue, ["x", "y"])
    source = opened(queue, moto.endpoint)
    messages = _messages(source, 2)
    url = moto.url(queue)
    moto.client.delete_message(QueueUrl=url, ReceiptHandle=messages[0].receipt)
    gone = [delivery(message, at=time.time_ns() // 1000) for message in messages]
    assert source.extend(gone) == set()
    assert set(source.give_back(gone)) == {message.id for message in messages}
    assert set(source.acknowledge(gone)) == {message.id for message in messages}


def test_a_queue_that_is_not_there_is_told(moto: Moto, opened: Open):
    """With what to look at; and it is used when it is made."""
    name = "made-later"
    source = opened(name, moto.endpoint)
    with pytest.raises(QueueGone, match="has no queue 'made-later': check its name, `region`"):
        source.poll(10, 5)
    moto.queue(name)
    moto.send(name, ["x"])
    assert len(_messages(source, 1)) == 1


def test_a_queue_that_is_deleted_and_made_again(moto: Moto, opened: Open):
    """First it is gone, then it is another one; what was of it needs no acknowledgement."""
    queue = moto.queue()
    moto.send(queue, ["x"])
    source = opened(queue, moto.endpoint)
    polls: list[Polled] = []
    until(lambda: polls.append(source.poll(10, 0.5)) or polls[-1].messages, "the message came")
    cursor = next(polled.cursor for polled in polls if polled.cursor)
    (message,) = polls[-1].messages
    moto.client.delete_queue(QueueUrl=moto.url(queue))
    with pytest.raises(QueueGone):
        _poll_on(source)
    assert set(source.acknowledge([delivery(message)])) == {message.id}
    moto.queue(queue)
    with pytest.raises(SourceChanged):
        _poll_on(source)
    with pytest.raises(SourceChanged):
        _poll_on(opened(queue, moto.endpoint, cursor=cursor))


def _poll_on(source: QueueSource) -> None:
    for _ in range(50):
        source.poll(10, 0.5)


def test_closing_ends_a_long_poll(moto: Moto, opened: Open):
    """A call that waits 20 s at the queue is nobody's business then."""
    queue = moto.queue()
    source = opened(queue, moto.endpoint, wait="20s")
    ended = threading.Event()

    def wait() -> None:
        source.poll(10, 60)
        ended.set()

    polling = threading.Thread(target=wait)
    polling.start()
    until(lambda: source.lag() is not None, "the queue was looked at")
    source.close()
    assert ended.wait(10)
    polling.join()
    # A message lets that call end, and is not lost.
    moto.send(queue, ["x"])
    until(lambda: moto.left(queue) == (1, 0), "it waits for others")


def test_the_queue_of_another_region_is_not_found(moto: Moto, opened: Open):
    """Names are looked up where the settings say."""
    queue = moto.queue()
    source = opened(queue, moto.endpoint, region="us-east-1")
    with pytest.raises(QueueGone, match="region"):
        source.poll(10, 5)


def test_nobody_answers(opened: Open):
    """Said so, and raised by every call that needs the queue."""
    source = opened("orders", "http://127.0.0.1:9")
    with pytest.raises(SourceError, match="does not answer"):
        source.poll(10, 15)
    with pytest.raises(SourceError, match="does not answer"):
        source.acknowledge([delivery(Message(id="m", body={}, receipt="r"))])


def test_a_server_that_says_nothing_holds_nobody_up(opened: Open):
    """Connections are taken and left without an answer: polls end when they are to, and closing
    does not wait for what is under way."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        source = opened("orders", f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert not source.poll(10, 0.2).messages
        connection, _ = silent.accept()
        source.close()
        assert not source.poll(10, 60).messages
        connection.close()


def test_the_state_of_a_queue(moto: Moto):
    """As it is told: what waits, how long it keeps messages from others, where dead ones go."""
    letters = moto.queue()
    arn = f"arn:aws:sqs:{REGION}:123456789012:{letters}"
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": "3"})
    name = moto.queue(VisibilityTimeout="77", RedrivePolicy=policy)
    moto.send(name, ["x"])
    queue = Queue(parse_queue(name), region=REGION, endpoint=moto.endpoint)
    state = queue.state()
    assert (state.visibility, state.waiting, state.redrives) == (77, 1, True)
    assert state.arn.endswith(f":{name}")
    assert float(state.created) > 1_700_000_000
    queue.close()
    queue.close()
