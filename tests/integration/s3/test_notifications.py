"""Objects that S3 tells of in a queue, reconciled with listings."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from connectors.queues import Delivery
from connectors.streams import SourceRefused
from tests.integration.s3.conftest import Box
from tests.support.waiting import until

Open = Callable[..., Box]


def arn_of(sqs: Any, queue: str) -> str:
    """The queue's ARN."""
    return sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"][
        "QueueArn"
    ]


def left(sqs: Any, queue: str) -> int:
    """Messages in the queue, received or not."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
    return sum(int(found[name]) for name in names)


@pytest.fixture
def told(s3: Any, sqs: Any, bucket: str, queue: str) -> None:
    """The bucket tells the queue, which begins with S3's test event."""
    s3.put_bucket_notification_configuration(
        Bucket=bucket,
        NotificationConfiguration={
            "QueueConfigurations": [
                {"QueueArn": arn_of(sqs, queue), "Events": ["s3:ObjectCreated:*"]}
            ]
        },
    )


@pytest.mark.usefixtures("told")
def test_new_objects_are_told_of(s3: Any, sqs: Any, bucket: str, queue: str, opened: Open):
    """Each comes once, by its notification; every version does; the queue is empty afterwards."""
    box = opened(notifications={"queue": queue}, reconcile=0, prefix="in/", match="*.log")
    for body in (b"1", b"2"):
        s3.put_object(Bucket=bucket, Key="in/a b+ä.log", Body=body)
    s3.put_object(Bucket=bucket, Key="in/a.txt", Body=b"3")
    s3.put_object(Bucket=bucket, Key="out/a.log", Body=b"4")
    box.until(2)
    until(lambda: not box.poll() and left(sqs, queue) == 0, "an empty queue", within=30)
    assert box.keys == ["in/a b+ä.log"] * 2
    assert len(box.contents) == 2


@pytest.mark.usefixtures("told")
def test_a_listing_and_a_notification_name_an_object_alike(
    s3: Any, sqs: Any, bucket: str, queue: str, opened: Open
):
    """What a listing has found is known when it is told of, and the other way round; what nobody
    was told of is found by the listing."""
    s3.put_object(Bucket=bucket, Key="both", Body=b"1")
    box = opened(notifications={"queue": queue})
    box.until(1)
    until(lambda: bool(box.poll()) or left(sqs, queue) == 0, "an empty queue", within=30)
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})
    s3.put_object(Bucket=bucket, Key="silent", Body=b"2")
    box.reopened()  # which lists at once
    box.until(2)
    assert box.keys == ["both", "silent"]


def test_garbage_wedges_nothing(
    s3: Any, sqs: Any, bucket: str, queue: str, opened: Open, caplog: pytest.LogCaptureFixture
):
    """What is no event of the bucket is said and taken out, and what follows it comes."""
    record = {
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": bucket}, "object": {"key": "a", "size": 1, "eTag": "e"}},
    }
    bad = ["nonsense", "[]", "{}", json.dumps({"Records": [{"x": 1}]}), "[" * 5000]
    mixed = json.dumps({"Records": [{"x": 1}, record]})
    for body in [*bad, json.dumps({"Event": "s3:TestEvent"}), mixed, *bad]:
        sqs.send_message(QueueUrl=queue, MessageBody=body)
    box = opened(notifications={"queue": queue}, reconcile=0)
    box.until(1)
    until(lambda: not box.poll() and left(sqs, queue) == 0, "an empty queue", within=30)
    assert box.keys == ["a"]
    dropped = [r for r in caplog.records if "are dropped" in r.getMessage()]
    assert len(dropped) == 2 * len(bad) + 1
    assert "nonsense" in caplog.text


def test_a_message_is_deleted_when_all_of_it_is_in_the_ledger(
    sqs: Any, bucket: str, queue: str, opened: Open
):
    """One that tells of three objects stays until the third one is acknowledged, whatever room
    there was, and a restart loses none of them."""
    records = [
        {
            "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": bucket}, "object": {"key": k, "size": 1, "eTag": "e"}},
        }
        for k in "abc"
    ]
    sqs.send_message(QueueUrl=queue, MessageBody=json.dumps({"Records": records}))
    box = opened(notifications={"queue": queue}, reconcile=0)
    until(lambda: bool(box.poll(room=1)), "the first", within=30)
    assert len(box.ids) == 1
    assert left(sqs, queue) == 1
    while len(box.ids) < 3:
        assert left(sqs, queue) == 1
        box.poll(room=1)
    assert left(sqs, queue) == 0


def test_two_messages_that_tell_of_one_object(sqs: Any, bucket: str, queue: str, opened: Open):
    """S3 tells of some twice. Once the object is in the ledger both are done with."""
    record = {
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": bucket}, "object": {"key": "a", "size": 1, "eTag": "e"}},
    }
    for _ in range(2):
        sqs.send_message(QueueUrl=queue, MessageBody=json.dumps({"Records": [record]}))
    box = opened(notifications={"queue": queue}, reconcile=0)
    found: list[Any] = []
    until(lambda: bool(found.extend(box.source.poll(5, 0.5).messages) or found), "it", within=30)
    found += box.source.poll(5, 0.5).messages
    assert {one.id for one in found} == {found[0].id}
    delivery = Delivery(id=found[0].id, receipt=found[0].receipt)
    assert set(box.source.acknowledge([delivery])) == {found[0].id}
    assert left(sqs, queue) == 0


def test_what_was_received_before_a_restart_is_left_to_come_again(
    sqs: Any, bucket: str, queue: str, opened: Open
):
    """A receipt from before is no reason to delete: not all of its message may be in the ledger."""
    record = {
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": bucket}, "object": {"key": "a", "size": 1, "eTag": "e"}},
    }
    sqs.send_message(QueueUrl=queue, MessageBody=json.dumps({"Records": [record]}))
    box = opened(notifications={"queue": queue}, reconcile=0)
    found: list[Any] = []
    until(lambda: bool(found.extend(box.source.poll(5, 0.5).messages) or found), "it", within=30)
    source = box.reopened()
    delivery = Delivery(id=found[0].id, receipt=found[0].receipt)
    assert set(source.acknowledge([delivery])) == {found[0].id}
    assert left(sqs, queue) == 1


@pytest.mark.parametrize("raw", [False, True])
def test_through_sns(
    s3: Any, sqs: Any, endpoint: str, bucket: str, queue: str, opened: Open, raw: bool
):
    """A topic between bucket and queue wraps events, or hands them on as they are."""
    import boto3

    sns = boto3.client("sns", endpoint_url=endpoint, region_name="eu-central-1")
    topic = sns.create_topic(Name=f"t-{queue.rpartition('/')[2]}")["TopicArn"]
    sns.subscribe(
        TopicArn=topic,
        Protocol="sqs",
        Endpoint=arn_of(sqs, queue),
        Attributes={"RawMessageDelivery": str(raw).lower()},
    )
    sns.close()
    s3.put_bucket_notification_configuration(
        Bucket=bucket,
        NotificationConfiguration={
            "TopicConfigurations": [{"TopicArn": topic, "Events": ["s3:ObjectCreated:*"]}]
        },
    )
    s3.put_object(Bucket=bucket, Key="a+b c", Body=b"1")
    box = opened(notifications={"queue": queue}, reconcile=0)
    box.until(1)
    assert box.keys == ["a+b c"]


def test_through_eventbridge(
    s3: Any, sqs: Any, endpoint: str, bucket: str, queue: str, opened: Open
):
    """A rule of the default bus hands on S3's events in their other form."""
    import boto3

    events = boto3.client("events", endpoint_url=endpoint, region_name="eu-central-1")
    rule = f"r-{bucket}"
    events.put_rule(Name=rule, EventPattern=json.dumps({"source": ["aws.s3"]}))
    events.put_targets(Rule=rule, Targets=[{"Id": "1", "Arn": arn_of(sqs, queue)}])
    s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    s3.put_object(Bucket=bucket, Key="a+b c", Body=b"1")
    s3.delete_object(Bucket=bucket, Key="a+b c")
    box = opened(notifications={"queue": queue}, reconcile=0)
    box.until(1)
    events.remove_targets(Rule=rule, Ids=["1"])
    events.delete_rule(Name=rule)
    events.close()
    until(lambda: not box.poll() and left(sqs, queue) == 0, "an empty queue", within=30)
    assert box.keys == ["a+b c"]


def test_a_queue_that_is_not_there_does_not_keep_listings_back(
    s3: Any, bucket: str, endpoint: str, opened: Open
):
    """It is said, and what a listing finds comes all the same."""
    s3.put_object(Bucket=bucket, Key="a", Body=b"1")
    box = opened(notifications={"queue": "not-there", "endpoint": endpoint})

    said: list[str] = []

    def refused() -> bool:
        try:
            box.poll()
        except SourceRefused as error:
            said.append(str(error))
        return bool(said) and box.keys == ["a"]

    until(refused, "the object, and a word about the queue", within=30)
    assert "no queue 'not-there'" in said[0]


@pytest.mark.usefixtures("told")
def test_a_bucket_that_cannot_be_listed_does_not_keep_notifications_back(
    s3: Any, sqs: Any, bucket: str, queue: str, opened: Open, monkeypatch: pytest.MonkeyPatch
):
    """The right to list may be missing: that is said, and notifications go on."""
    from connectors.s3.bucket import Bucket

    def refuse(*_: object) -> None:
        raise SourceRefused("S3 does not allow it")

    monkeypatch.setattr(Bucket, "page", refuse)
    box = opened(notifications={"queue": queue})
    with pytest.raises(SourceRefused):
        box.poll()
    s3.put_object(Bucket=bucket, Key="a", Body=b"1")
    box.until(1)
    assert box.keys == ["a"]


@pytest.mark.usefixtures("told")
def test_how_many_wait(s3: Any, bucket: str, queue: str, opened: Open):
    """The queue's own number is the lag; without a queue nobody knows one."""
    assert opened().source.lag() is None
    box = opened(notifications={"queue": queue}, reconcile=0)
    assert box.source.lag() is None
    s3.put_object(Bucket=bucket, Key="a", Body=b"1")
    box.until(1)
    assert box.source.lag() == 2  # the object and S3's test event
