"""Messages of SQS, also those of SNS and of S3: the connectors pass the kit."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from connectors.abc import JSON
from connectors.queues import Message
from connectors.s3 import S3Connector
from connectors.s3 import notices as s3_notices
from connectors.sns import SnsConnector
from connectors.sns import source as sns_source
from connectors.sqs import SqsConnector
from connectors.testing import Bad, QueueConformance, QueueHarness
from tests.conformance.connectors.conftest import REGION, Aws, numbers


class Queued(QueueHarness):
    """A queue of moto's server, and what it does in its own time done at once."""

    beyond_room = 9
    patience = 100.0  # what an answer that moto loses takes to come again
    shared_threads = ("process_request_thread",)  # of moto's server, in this process
    lingers = 40.0  # a call for messages waits up to 20 s at the queue

    def __init__(self, aws: Aws, fifo: bool = False) -> None:
        self.aws = aws
        self.name = f"kit-{next(numbers)}" + (".fifo" if fifo else "")
        attributes = {"VisibilityTimeout": "600"} | ({"FifoQueue": "true"} if fifo else {})
        self.sqs = aws.client("sqs")
        made = self.sqs.create_queue(QueueName=self.name, Attributes=attributes)
        self.url = made["QueueUrl"]

    def expire(self) -> None:
        """The server lives in this process: messages in flight are visible again."""
        from moto.backends import get_backend

        backend: Any = get_backend("sqs")["123456789012"][REGION]
        for message in backend.queues[self.name]._messages:
            message.change_visibility(0)

    def left(self) -> int | None:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)
        return sum(int(value) for value in found["Attributes"].values())


class SqsHarness(Queued):
    connector = SqsConnector()

    def __init__(self, aws: Aws, fifo: bool = False) -> None:
        super().__init__(aws, fifo)
        self.fifo = fifo

    def settings(self) -> Mapping[str, JSON]:
        endpoint = self.aws.endpoint
        return {"queue": self.name, "region": REGION, "endpoint": endpoint, "wait": "1s"}

    def bad_settings(self) -> Sequence[Bad]:
        return [
            ({"queue": "a b"}, "queue"),
            ({"region": "Frankfurt"}, "region"),
            ({"batch_size": 0}, "batch_size"),
            ({"wait": "1m"}, "wait"),
            ({"visibility": "1s"}, "visibility"),
            ({"ack": "on_intake", "dead": "return"}, "dead"),
            ({"keep": "1d"}, "keep"),
        ]

    def put(self, events: Sequence[str]) -> None:
        for event in events:
            more: dict[str, str] = {}
            if self.fifo:
                more = {"MessageGroupId": event[-1], "MessageDeduplicationId": event.split()[-1]}
            self.sqs.send_message(QueueUrl=self.url, MessageBody=event, **more)

    def text(self, message: Message) -> str:
        return str(message.body["body"])

    def unreachable(self) -> Mapping[str, JSON]:
        return {**self.settings(), "queue": "absent"}


class SnsHarness(Queued):
    connector = SnsConnector()

    def __init__(self, aws: Aws) -> None:
        super().__init__(aws)
        self.sns = aws.client("sns")
        self.topic = self.sns.create_topic(Name=f"kit-{next(numbers)}")["TopicArn"]
        arn = f"arn:aws:sqs:{REGION}:123456789012:{self.name}"
        self.sns.subscribe(TopicArn=self.topic, Protocol="sqs", Endpoint=arn)

    def settings(self) -> Mapping[str, JSON]:
        given: dict[str, JSON] = {"topics": [self.topic], "via": "sqs", "queue": self.name}
        return {**given, "endpoint": self.aws.endpoint}

    def bad_settings(self) -> Sequence[Bad]:
        return [
            ({"topics": ["orders"]}, "topics[0]"),
            ({"topics": []}, "topics"),
            ({"via": "post"}, "via"),
            ({"queue": None}, "queue"),
        ]

    def put(self, events: Sequence[str]) -> None:
        for event in events:
            self.sns.publish(TopicArn=self.topic, Message=event)

    def text(self, message: Message) -> str:
        return str(message.body["body"])

    def unreachable(self) -> Mapping[str, JSON]:
        return {**self.settings(), "queue": "absent"}


class ListedHarness(QueueHarness):
    """Objects that are found by listing."""

    connector = S3Connector()
    redelivers = False
    patience = 100.0  # what an answer that moto loses takes to come again
    shared_threads = ("process_request_thread",)  # of moto's server, in this process

    def __init__(self, aws: Aws) -> None:
        self.aws = aws
        self.bucket = f"kit-{next(numbers)}"
        self.s3 = aws.client("s3")
        place = {"LocationConstraint": REGION}
        self.s3.create_bucket(Bucket=self.bucket, CreateBucketConfiguration=place)

    def settings(self) -> Mapping[str, JSON]:
        given: dict[str, JSON] = {"bucket": self.bucket, "region": REGION, "interval": "1s"}
        return {**given, "endpoint": self.aws.endpoint}

    def bad_settings(self) -> Sequence[Bad]:
        return [
            ({"bucket": "a b"}, "bucket"),
            ({"match": []}, "match"),
            ({"start": "soon"}, "start"),
            ({"interval": "1ms"}, "interval"),
            ({"storage": "somewhere"}, "storage"),
        ]

    def put(self, events: Sequence[str]) -> None:
        for event in events:
            self.s3.put_object(Bucket=self.bucket, Key=f"logs/{event}", Body=event.encode())

    def text(self, message: Message) -> str:
        return str(message.body["key"]).removeprefix("logs/")

    def unreachable(self) -> Mapping[str, JSON]:
        return {**self.settings(), "bucket": "absent"}


class ToldHarness(Queued):
    """Objects of which S3 tells."""

    connector = S3Connector()
    redelivers = False

    def settings(self) -> Mapping[str, JSON]:
        endpoint: JSON = self.aws.endpoint
        given: dict[str, JSON] = {"bucket": "kit-told", "region": REGION, "reconcile": 0}
        told: JSON = {"queue": self.name, "endpoint": endpoint}
        return {**given, "endpoint": endpoint, "notifications": told}

    def bad_settings(self) -> Sequence[Bad]:
        return [
            ({"notifications": {"queue": "a b"}}, "notifications.queue"),
            ({"notifications": {}}, "notifications.queue"),
            ({"reconcile": "1ms"}, "reconcile"),
        ]

    def put(self, events: Sequence[str]) -> None:
        for event in events:
            stored = {"key": event.replace(" ", "+"), "size": 1, "eTag": "e", "sequencer": "0A"}
            record = {
                "eventVersion": "2.1",
                "eventSource": "aws:s3",
                "eventTime": "2026-03-01T12:00:00.000Z",
                "eventName": "ObjectCreated:Put",
                "awsRegion": REGION,
                "s3": {"bucket": {"name": "kit-told"}, "object": stored},
            }
            self.sqs.send_message(QueueUrl=self.url, MessageBody=json.dumps({"Records": [record]}))

    def text(self, message: Message) -> str:
        return str(message.body["key"])

    def unreachable(self) -> Mapping[str, JSON]:
        told: JSON = {"queue": "absent", "endpoint": self.aws.endpoint}
        return {**self.settings(), "notifications": told}


class TestSqs(QueueConformance):
    """Kind sqs."""

    @pytest.fixture(params=[False, True], ids=["standard", "fifo"])
    def harness(self, aws: Aws, request: pytest.FixtureRequest) -> SqsHarness:
        return SqsHarness(aws, request.param)


class TestSns(QueueConformance):
    """Kind sns, through a queue."""

    @pytest.fixture
    def harness(self, aws: Aws, monkeypatch: pytest.MonkeyPatch) -> SnsHarness:
        monkeypatch.setattr(sns_source, "MAX_WAIT", 1)
        return SnsHarness(aws)


class TestListed(QueueConformance):
    """Kind s3, by listing."""

    @pytest.fixture
    def harness(self, aws: Aws) -> ListedHarness:
        return ListedHarness(aws)


class TestTold(QueueConformance):
    """Kind s3, by notifications."""

    @pytest.fixture
    def harness(self, aws: Aws, monkeypatch: pytest.MonkeyPatch) -> ToldHarness:
        monkeypatch.setattr(s3_notices, "MAX_WAIT", 1)
        return ToldHarness(aws)
