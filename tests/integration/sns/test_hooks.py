"""From what a topic publishes to a run that has ended, over HTTP and through a queue."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bacalhau_client.devnode import DevNode, DevNodeConfig
from orchestrator.cli.devnode import task_commands
from tests.support.inprocess import Orch
from tests.support.sns import TOPIC
from tests.support.snsservice import Service
from tests.support.waiting import until

FILE = """
apiVersion: orch/v1
kind: sns
name: orders
topics: ["{topic}"]
endpoint: {endpoint}
"""


@pytest.fixture
def orch(tmp_path: Path) -> Iterator[Orch]:
    """An orchestrator and a node that runs the sample tasks without Docker."""
    config = DevNodeConfig(data_dir=tmp_path / "node", images=task_commands(), docker=False)
    node = DevNode(config)
    node.start()
    try:
        with Orch.start(tmp_path / "orch", node.url) as started:
            yield started
    finally:
        node.stop()


@pytest.fixture
def service() -> Iterator[Service]:
    """What plays SNS."""
    made = Service()
    yield made
    made.close()


def moment(**ago: float) -> str:
    """A time as SNS writes it."""
    text = (datetime.now(UTC) - timedelta(**ago)).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def post(orch: Orch, envelope: Mapping[str, Any], **headers: str) -> int:
    """Post as SNS does; the status of the answer."""
    sent = {
        "x-amz-sns-message-type": str(envelope["Type"]),
        "Content-Type": "text/plain; charset=UTF-8",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    request = urllib.request.Request(
        f"{orch.app.server.url}/hooks/orders", data=json.dumps(envelope).encode(), headers=sent
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_a_subscription_and_its_notifications(orch: Orch, service: Service):
    """Confirmed without a run; a notification is one run, however often it comes."""
    orch.register(FILE.format(topic=TOPIC, endpoint=service.origin))
    confirmation = service.signer.confirmation(origin=service.origin, Timestamp=moment())
    assert post(orch, confirmation) == 200
    assert "Action=ConfirmSubscription" in service.asked[-1]
    assert orch.runs("orders") == []
    envelope = service.signer.envelope("2", origin=service.origin, Timestamp=moment())
    assert [post(orch, envelope) for _ in range(3)] == [200, 200, 200]
    (run,) = orch.drained()
    assert run.state == "succeeded", orch.attempts(run)
    assert post(orch, envelope) == 200
    assert len(orch.runs("orders")) == 1
    orch.audit()


def test_what_is_refused_makes_no_run(orch: Orch, service: Service):
    """Forged, altered, late, of another topic, raw, oversized."""
    orch.register(FILE.format(topic=TOPIC, endpoint=service.origin))
    good = service.signer.envelope(origin=service.origin, Timestamp=moment())
    late = service.signer.envelope(origin=service.origin, Timestamp=moment(hours=3))
    other = service.signer.envelope(origin=service.origin, Timestamp=moment(), TopicArn=TOPIC + "x")
    aws = service.signer.envelope(Timestamp=moment())
    for envelope in ({**good, "Message": "x"}, {**good, "MessageId": "1"}, late, other, aws):
        assert post(orch, envelope) == 403
    assert post(orch, good, x_amz_sns_rawdelivery="true") == 403
    assert post(orch, good, x_amz_sns_message_type="SubscriptionConfirmation") == 400
    assert post(orch, {**good, "Padding": "x" * (1 << 20)}) == 413
    assert orch.runs("orders") == []


@pytest.mark.usefixtures("aws_credentials")
def test_a_topic_through_a_queue(orch: Orch, endpoint: str):
    """Subscribed by orch itself; what was published is counted, and the queue is empty then."""
    from boto3.session import Session

    session = Session("key", "hunter2", region_name="eu-central-1")
    sns: Any = session.client("sns", endpoint_url=endpoint)
    sqs: Any = session.client("sqs", endpoint_url=endpoint)
    topic = sns.create_topic(Name="orders")["TopicArn"]
    more = "via: sqs\nqueue: orders\nsubscribe: true\nbatch_size: 50\nbatch_window: 200ms\n"
    orch.register(FILE.format(topic=topic, endpoint=endpoint) + more)
    until(
        lambda: sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"],
        "a subscription",
        within=30,
    )
    for number in range(20):
        sns.publish(TopicArn=topic, Message=str(number))

    def counted() -> bool:
        runs = orch.succeeded("orders")
        said = [orch.attempts(run)[-1].stdout or "{}" for run in runs]
        return sum(json.loads(text).get("count", 0) for text in said) == 20

    until(counted, "all that was published is counted", within=60)
    url = sqs.get_queue_url(QueueName="orders")["QueueUrl"]
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]

    def left() -> bool:
        found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return all(found[name] == "0" for name in names)

    until(left, "nothing is left in the queue", within=30)
    orch.audit()
    sns.close()
    sqs.close()
