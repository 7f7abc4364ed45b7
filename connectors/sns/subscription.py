"""Makes a queue get what topics publish: the queue itself, its policy, and the subscriptions.

Each step looks first at what is there and changes only what is missing, so that doing it again
changes nothing, and what others have added stays.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Any, cast

from connectors.aws import errors
from connectors.aws.address import QueueAddress
from connectors.aws.client import make_client
from connectors.sns.settings import SnsSettings
from connectors.sns.topics import Topic
from connectors.streams import SourceError, SourceRefused

_RIGHTS = (
    "sqs:GetQueueUrl, CreateQueue, GetQueueAttributes and SetQueueAttributes of the queue,"
    " sns:Subscribe, GetSubscriptionAttributes and SetSubscriptionAttributes of the topics"
)
_NO_QUEUE = {"NonExistentQueue", "QueueDoesNotExist"}
_NO_TOPIC = {"NotFound", "NotFoundException"}
_MAX_POLICY = 20  # statements; SQS takes no more


def subscribe(settings: SnsSettings, wanted: Sequence[Topic]) -> None:
    """Subscribe the queue of the settings to the topics.

    Raises the errors of :mod:`connectors.streams`.
    """
    where = f"AWS at {settings.endpoint or settings.region}"
    try:
        with closing(_client("sqs", settings.region, settings)) as sqs:
            url = _queue_url(sqs, settings.address)
            arn = _let_in(sqs, url, wanted)
        for region in sorted({topic.region for topic in wanted}):
            with closing(_client("sns", region, settings)) as sns:
                for topic in wanted:
                    if topic.region == region:
                        _subscribe(sns, topic, arn, raw=settings.raw)
    except SourceError:
        raise
    except Exception as error:
        found = errors.translate(error, where=where, rights=_RIGHTS)
        if found is None:
            raise
        raise found from error


def _client(service: str, region: str | None, settings: SnsSettings) -> Any:
    return make_client(
        service, region=region, endpoint=settings.endpoint, connections=1, attempts=2
    )


def _queue_url(sqs: Any, address: QueueAddress) -> str:
    if address.url is not None:
        return address.url
    owner = {"QueueOwnerAWSAccountId": address.account} if address.account else {}
    try:
        return str(sqs.get_queue_url(QueueName=address.name, **owner)["QueueUrl"])
    except Exception as error:
        if not _is(error, _NO_QUEUE):
            raise
        if owner:
            words = f"account {address.account} has no queue {address.name!r} that we may use"
            raise SourceRefused(words) from error
    attributes = {"FifoQueue": "true"} if address.fifo else {}
    return str(sqs.create_queue(QueueName=address.name, Attributes=attributes)["QueueUrl"])


def _let_in(sqs: Any, url: str, wanted: Sequence[Topic]) -> str:
    """Let topics send to a queue. Returns the queue's ARN."""
    asked = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn", "Policy"])
    attributes = cast(Mapping[str, str], asked["Attributes"])
    arn = attributes["QueueArn"]
    policy = _policy(attributes.get("Policy") or "")
    statements: list[Any] = policy["Statement"]
    missing = [
        statement
        for statement in (_statement(arn, topic) for topic in wanted)
        if not any(_is_named(there, statement["Sid"]) for there in statements)
    ]
    if missing:
        statements += missing
        if len(statements) > _MAX_POLICY:
            raise SourceRefused(
                f"the policy of {arn} would have {len(statements)} statements, and SQS takes"
                f" {_MAX_POLICY}: let the topics send to it yourself, with one statement"
            )
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
    return arn


def _policy(written: str) -> dict[str, Any]:
    if not written:
        return {"Version": "2012-10-17", "Statement": []}
    policy = cast(dict[str, Any], json.loads(written))
    statements: Any = policy.get("Statement", [])
    policy["Statement"] = statements if isinstance(statements, list) else [statements]
    return policy


def _statement(queue: str, topic: Topic) -> dict[str, Any]:
    mark = hashlib.sha256(f"{queue} {topic.arn}".encode()).hexdigest()[:20]
    return {
        "Sid": f"orch{mark}",
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue,
        "Condition": {"ArnEquals": {"aws:SourceArn": topic.arn}},
    }


def _is_named(statement: Any, name: str) -> bool:
    return isinstance(statement, Mapping) and cast(Any, statement).get("Sid") == name


def _subscribe(sns: Any, topic: Topic, queue: str, *, raw: bool) -> None:
    try:
        made = sns.subscribe(
            TopicArn=topic.arn, Protocol="sqs", Endpoint=queue, ReturnSubscriptionArn=True
        )
    except Exception as error:
        if not _is(error, _NO_TOPIC):
            raise
        raise SourceRefused(f"there is no topic {topic.arn}: check its ARN") from error
    name = str(made["SubscriptionArn"])
    ask: Callable[..., Any] = sns.get_subscription_attributes
    there = ask(SubscriptionArn=name)["Attributes"].get("RawMessageDelivery", "false")
    wanted = "true" if raw else "false"
    if there != wanted:
        sns.set_subscription_attributes(
            SubscriptionArn=name, AttributeName="RawMessageDelivery", AttributeValue=wanted
        )


def _is(error: Exception, codes: set[str]) -> bool:
    answer = errors.answer_of(error)
    return answer is not None and answer.code.rpartition(".")[2] in codes
