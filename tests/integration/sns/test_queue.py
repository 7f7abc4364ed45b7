"""Topics and queues of moto's server: subscribed by the source itself, and read."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from connectors.abc import JSON
from connectors.queues import Delivery, Inbox, Message, QueueSource
from connectors.sns import SnsConnector
from connectors.sns import source as source_module
from connectors.streams import SourceChanged, SourceContext, SourceRefused

REGION = "eu-central-1"
_numbers = itertools.count(1)


class Aws:
    """moto, clients of one's own, and sources."""

    def __init__(self, endpoint: str, tmp_path: Path) -> None:
        from boto3.session import Session

        self.endpoint = endpoint
        self.tmp_path = tmp_path
        keys = {"aws_access_key_id": "key", "aws_secret_access_key": "hunter2"}
        session = Session(region_name=REGION, **keys)
        self.sns: Any = session.client("sns", endpoint_url=endpoint)
        self.sqs: Any = session.client("sqs", endpoint_url=endpoint)
        self.name = f"sns-orders-{next(_numbers)}"
        self.topic = self.new_topic(self.name)
        self.stop = threading.Event()
        self.opened: list[QueueSource] = []

    def new_topic(self, name: str, **attributes: str) -> str:
        return self.sns.create_topic(Name=name, Attributes=attributes)["TopicArn"]

    def open(self, cursor: str | None = None, **settings: JSON) -> QueueSource:
        """A source, as the orchestrator opens it."""
        context = SourceContext(
            instance="i",
            trigger="orders",
            trigger_uid="u1",
            secrets={},
            data_dir=self.tmp_path,
            stop=self.stop,
        )
        given: dict[str, JSON] = {
            "topics": [self.topic],
            "via": "sqs",
            "queue": self.name,
            "subscribe": True,
            "endpoint": self.endpoint,
            **settings,
        }
        connector = SnsConnector()
        connector.check(given)
        assert connector.receiver(given, context) is None
        source = connector.open(given, context, Inbox(cursor=cursor, known=lambda _: set()))
        assert source is not None
        self.opened.append(source)
        return source

    def publish(self, text: str, **options: Any) -> str:
        return self.sns.publish(TopicArn=self.topic, Message=text, **options)["MessageId"]

    def url(self) -> str:
        return self.sqs.get_queue_url(QueueName=self.name)["QueueUrl"]

    def attributes(self) -> Mapping[str, str]:
        return self.sqs.get_queue_attributes(QueueUrl=self.url(), AttributeNames=["All"])[
            "Attributes"
        ]

    def subscriptions(self) -> list[Any]:
        found = self.sns.list_subscriptions_by_topic(TopicArn=self.topic)["Subscriptions"]
        return [
            self.sns.get_subscription_attributes(SubscriptionArn=one["SubscriptionArn"])[
                "Attributes"
            ]
            for one in found
        ]


@pytest.fixture
def aws(endpoint: str, aws_credentials: None, tmp_path: Path) -> Iterator[Aws]:
    """A topic of the test's own."""
    made = Aws(endpoint, tmp_path)
    yield made
    for source in made.opened:
        source.close()
    made.sns.close()
    made.sqs.close()


def subscribed(source: QueueSource) -> QueueSource:
    """A source that is, after its first polls."""
    deadline = time.monotonic() + 30
    while source.poll(10, 0.1).cursor is None:
        assert time.monotonic() < deadline
    return source


def polled(source: QueueSource, count: int) -> Sequence[Message]:
    """So many messages."""
    found: list[Message] = []
    deadline = time.monotonic() + 30
    while len(found) < count and time.monotonic() < deadline:
        found += source.poll(100, 1.0).messages
    assert len(found) == count
    return found


def deliveries(messages: Sequence[Message]) -> list[Delivery]:
    """What the source is told about."""
    return [Delivery(id=message.id, receipt=message.receipt) for message in messages]


def test_a_queue_is_made_subscribed_and_read(aws: Aws):
    """Nothing has to be there but the topic; what succeeded is deleted."""
    source = subscribed(aws.open(body="json", attributes=True))
    attributes = {"kind": {"DataType": "String", "StringValue": "new"}}
    published = aws.publish('{"order": 7}', Subject="An order", MessageAttributes=attributes)
    (message,) = polled(source, 1)
    sent_at = message.body["sent_at"]
    assert message.body == {
        "id": published,
        "topic": aws.topic,
        "subject": "An order",
        "body": {"order": 7},
        "sent_at": sent_at,
        "attributes": {"kind": "new"},
    }
    assert message.id == published
    assert message.receipt
    assert aws.attributes()["ApproximateNumberOfMessagesNotVisible"] == "1"
    assert set(source.acknowledge(deliveries([message]))) == {published}
    assert aws.attributes()["ApproximateNumberOfMessagesNotVisible"] == "0"


def test_doing_it_again_changes_nothing(aws: Aws):
    """One statement in the policy, one subscription, however often a source is opened; and what
    others have written into the policy stays."""
    arn = aws.sqs.create_queue(QueueName=aws.name)["QueueUrl"]
    own = {"Sid": "own", "Effect": "Deny", "Principal": "*", "Action": "sqs:PurgeQueue"}
    own["Resource"] = aws.attributes()["QueueArn"]
    policy = json.dumps({"Version": "2012-10-17", "Statement": own})
    aws.sqs.set_queue_attributes(QueueUrl=arn, Attributes={"Policy": policy})
    for _ in range(3):
        subscribed(aws.open())
    statements = json.loads(aws.attributes()["Policy"])["Statement"]
    assert [statement["Sid"] == "own" for statement in statements] == [True, False]
    assert statements[1]["Condition"] == {"ArnEquals": {"aws:SourceArn": aws.topic}}
    (subscription,) = aws.subscriptions()
    assert subscription["Endpoint"] == aws.attributes()["QueueArn"]


def test_stopping_does_not_wait_for_aws(aws: Aws, monkeypatch: pytest.MonkeyPatch):
    """A call that hangs is left alone; the next poll finds its answer."""
    go = threading.Event()
    real = source_module.subscribe

    def slow(*args: Any) -> None:
        assert go.wait(30)
        real(*args)

    monkeypatch.setattr(source_module, "subscribe", slow)
    source = aws.open()
    assert not source.poll(10, 0.2).messages
    go.set()
    while not aws.subscriptions():
        source.poll(10, 0.1)
    hanging = aws.open()
    go.clear()
    aws.stop.set()
    assert not hanging.poll(10, 60).messages
    go.set()


def test_raw_messages(aws: Aws):
    """Without an envelope; one that was subscribed otherwise is changed."""
    subscribed(aws.open()).close()
    source = subscribed(aws.open(raw=True, attributes=True))
    assert aws.subscriptions()[0]["RawMessageDelivery"] == "true"
    attributes = {"kind": {"DataType": "String", "StringValue": "new"}}
    # It looks like an envelope, and is nothing but what somebody published.
    text = json.dumps({"Type": "Notification", "MessageId": "1", "TopicArn": "other"})
    aws.publish(text, MessageAttributes=attributes)
    (message,) = polled(source, 1)
    assert message.body["body"] == text
    assert message.body["topic"] == aws.topic
    assert message.body["attributes"] == {"kind": "new"}
    assert message.id not in ("1", "")


def test_a_notification_that_was_sent_twice_is_one_event(aws: Aws):
    """SNS's id is the same, the receipts are not."""
    source = subscribed(aws.open())
    envelope = {
        "Type": "Notification",
        "MessageId": "m-1",
        "TopicArn": aws.topic,
        "Message": "x",
        "Timestamp": "2025-06-15T15:06:40.000Z",
    }
    for _ in range(2):
        aws.sqs.send_message(QueueUrl=aws.url(), MessageBody=json.dumps(envelope))
    first, second = polled(source, 2)
    assert (first.id, second.id) == ("m-1", "m-1")
    assert first.receipt != second.receipt


def test_what_sns_has_not_sent_stays_in_the_queue(aws: Aws, caplog: pytest.LogCaptureFixture):
    """No event comes of it, and it is not deleted: the queue's redrive policy is for that."""
    source = subscribed(aws.open())
    other = {
        "Type": "Notification",
        "MessageId": "m-1",
        "TopicArn": aws.topic + "x",
        "Message": "x",
        "Timestamp": "2025-06-15T15:06:40.000Z",
    }
    for body in ("plain", "[]", json.dumps(other), json.dumps({**other, "Timestamp": "0001"})):
        aws.sqs.send_message(QueueUrl=aws.url(), MessageBody=body)
    aws.publish("right")
    (message,) = polled(source, 1)
    assert message.body["body"] == "right"
    deadline = time.monotonic() + 30
    while caplog.text.count("is left there") < 4 and time.monotonic() < deadline:
        source.poll(100, 0.2)
    assert caplog.text.count("is left there") == 4
    assert aws.attributes()["ApproximateNumberOfMessagesNotVisible"] == "5"


def test_groups_of_a_fifo_topic_keep_their_order(aws: Aws):
    """From topic through queue to the events."""
    aws.topic = aws.new_topic(f"{aws.name}.fifo", FifoTopic="true")
    aws.name += ".fifo"
    subscribed(aws.open()).close()
    for number in range(3):
        options = {"MessageGroupId": "g", "MessageDeduplicationId": str(number)}
        aws.publish(str(number), **options)
    found = polled(aws.open(), 3)
    assert [message.body["body"] for message in found] == ["0", "1", "2"]
    assert {message.group for message in found} == {"g"}


def test_several_topics_share_a_queue(aws: Aws):
    """Each event says which one it is of."""
    second = aws.new_topic(f"{aws.name}-b")
    source = subscribed(aws.open(topics=[aws.topic, second]))
    aws.publish("a")
    aws.sns.publish(TopicArn=second, Message="b")
    topics = {str(m.body["body"]): m.body["topic"] for m in polled(source, 2)}
    assert topics == {"a": aws.topic, "b": second}


def test_a_queue_that_was_made_again_is_another_one(aws: Aws):
    """The cursor says which one it was."""
    source = aws.open()
    cursor = None
    deadline = time.monotonic() + 30
    while cursor is None and time.monotonic() < deadline:
        cursor = source.poll(10, 0.5).cursor
    assert cursor is not None
    source.close()
    again = aws.open(cursor=cursor.replace(aws.attributes()["CreatedTimestamp"], "1"))
    with pytest.raises(SourceChanged):
        polled(again, 1)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"topics": ["arn:aws:sns:eu-central-1:123456789012:nothing"]}, "nothing"),
        ({"queue": "arn:aws:sqs:eu-central-1:999999999999:absent"}, "absent"),
        ({"subscribe": False, "queue": "absent"}, "absent"),
    ],
)
def test_what_is_not_there_is_refused_with_words(aws: Aws, settings: dict[str, Any], words: str):
    """A state of the trigger that says what to do; no queue is made in another account."""
    source = aws.open(**settings)
    with pytest.raises(SourceRefused, match=words):
        polled(source, 1)
