"""A queue of SQS: the calls that are made to it.

Every call may raise :class:`connectors.streams.SourceUnavailable` or
:class:`connectors.streams.SourceRefused`; a queue that is not there is a :class:`QueueGone`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from connectors.aws import errors
from connectors.aws.address import QueueAddress
from connectors.aws.shared import SharedClient
from connectors.streams import SourceRefused

AT_ONCE = 10
"""Messages of one call."""
MAX_WAIT = 20
"""Seconds that one call waits for messages."""
_ANSWER = 10.0  # seconds beyond that
_RIGHTS = (
    "sqs:GetQueueUrl, GetQueueAttributes, ReceiveMessage, DeleteMessage, ChangeMessageVisibility"
)
_NOT_THERE = {"NonExistentQueue", "QueueDoesNotExist"}
_ATTRIBUTES = (
    *("QueueArn", "CreatedTimestamp", "VisibilityTimeout", "ApproximateNumberOfMessages"),
    "RedrivePolicy",
)


class QueueGone(SourceRefused):
    """There is no such queue."""


@dataclass(frozen=True, kw_only=True)
class QueueState:
    """A queue as it is now."""

    arn: str
    created: str
    """When it was made, as its service writes it."""
    visibility: int
    """Seconds for which a message that was received is kept from others."""
    waiting: int
    """About how many messages nobody has received."""
    redrives: bool
    """Whether messages that are received too often go to a queue of their own."""

    @property
    def identity(self) -> str:
        """Another text for a queue that was deleted and made again."""
        return f"{self.arn} {self.created}"


class Received(NamedTuple):
    """One message, in one delivery."""

    id: str
    receipt: str
    body: str
    attributes: Mapping[str, Mapping[str, Any]]
    """As SQS gives them: ``{"DataType": …, "StringValue" or "BinaryValue": …}`` by name."""
    sent: int
    """Milliseconds since 1970."""
    deliveries: int
    """How often it was delivered, this time included."""
    group: str
    """Its group; "" where it has none."""


class Fault(NamedTuple):
    """What kept one entry of a call from being done."""

    code: str
    said: str


class Queue:
    """The queue at an address. Thread-safe."""

    def __init__(self, address: QueueAddress, *, region: str | None, endpoint: str | None) -> None:
        """`region` and `endpoint` win over those of the address."""
        self.address = address
        region, endpoint = region or address.region, endpoint or address.endpoint
        self._where = f"SQS at {endpoint or region or 'the default region'}"
        self._client = SharedClient(
            "sqs", region=region, endpoint=endpoint, read_timeout=MAX_WAIT + _ANSWER
        )
        self._url = address.url

    @property
    def url(self) -> str:
        """Where it is; asked for on first use."""
        if self._url is None:
            owner = {"QueueOwnerAWSAccountId": self.address.account} if self.address.account else {}
            self._url = str(
                self._ask("get_queue_url", QueueName=self.address.name, **owner)["QueueUrl"]
            )
        return self._url

    def state(self) -> QueueState:
        """The queue itself."""
        answer = self._ask(
            "get_queue_attributes", QueueUrl=self.url, AttributeNames=list(_ATTRIBUTES)
        )
        found: Mapping[str, str] = answer.get("Attributes", {})
        return QueueState(
            arn=str(found.get("QueueArn", self.address.name)),
            created=str(found.get("CreatedTimestamp", "")),
            visibility=int(found.get("VisibilityTimeout", 30)),
            waiting=int(found.get("ApproximateNumberOfMessages", 0)),
            redrives=_redrives(found.get("RedrivePolicy", "")),
        )

    def receive(self, most: int, wait: int, visibility: int, attempt: str = "") -> list[Received]:
        """Up to `most` messages (10), which are kept from others for `visibility` seconds. Waits up
        to `wait` seconds for the first one. The same `attempt` gives the same messages of a FIFO
        queue again, for five minutes: an answer that was lost blocks no group."""
        again = {"ReceiveRequestAttemptId": attempt} if attempt and self.address.fifo else {}
        answer = self._ask(
            "receive_message",
            QueueUrl=self.url,
            MaxNumberOfMessages=most,
            WaitTimeSeconds=wait,
            VisibilityTimeout=visibility,
            MessageSystemAttributeNames=[
                *("SentTimestamp", "ApproximateReceiveCount", "MessageGroupId")
            ],
            MessageAttributeNames=["All"],
            **again,
        )
        return [_received(message) for message in answer.get("Messages", ())]

    def delete(self, receipts: Sequence[str]) -> list[Fault | None]:
        """Delete up to ten messages; for each what kept it from being done."""
        entries = [{"Id": str(n), "ReceiptHandle": receipt} for n, receipt in enumerate(receipts)]
        return self._batch("delete_message_batch", entries)

    def change(self, entries: Sequence[tuple[str, int]]) -> list[Fault | None]:
        """Keep up to ten messages from others for so many seconds from now on; 0: let others have
        them. Returns as `delete` does."""
        return self._batch(
            "change_message_visibility_batch",
            [
                {"Id": str(n), "ReceiptHandle": receipt, "VisibilityTimeout": seconds}
                for n, (receipt, seconds) in enumerate(entries)
            ],
        )

    def close(self) -> None:
        """Let go of connections. May be called twice."""
        self._client.close()

    def _batch(
        self, operation: str, entries: Sequence[Mapping[str, str | int]]
    ) -> list[Fault | None]:
        answer = self._ask(operation, QueueUrl=self.url, Entries=entries)
        faults: list[Fault | None] = [None] * len(entries)
        for failed in answer.get("Failed", ()):
            code = str(failed.get("Code", ""))
            faults[int(failed["Id"])] = Fault(code, str(failed.get("Message", ""))[:300])
        return faults

    def _ask(self, operation: str, **question: Any) -> Any:
        try:
            call: Callable[..., Any] = getattr(self.boto_client(), operation)
            return call(**question)
        except Exception as error:
            found = self._meaning(error)
            if found is None:
                raise
            raise found from error

    def _meaning(self, error: Exception) -> Exception | None:
        answer = errors.answer_of(error)
        code = answer.code.rpartition(".")[2] if answer is not None else ""
        if code in _NOT_THERE:
            self._url = self.address.url
            return QueueGone(
                f"{self._where} has no queue {self.address.name!r}: check its name, `region` and"
                " `endpoint`"
            )
        if code == "InvalidAddress":
            return SourceRefused(
                f"{self._where} does not take {self._url!r}: write the queue's URL"
            )
        if code == "OverLimit":
            return errors.Throttled(
                f"{self._where} gives no more messages of {self.address.name!r}: too many are in"
                " flight"
            )
        if code in errors.CREDENTIALS:
            self._client.renew()
        return errors.translate(error, where=self._where, rights=_RIGHTS)

    def boto_client(self) -> Any:
        """boto3's client, made on first use."""
        return self._client.get()


def _received(message: Mapping[str, Any]) -> Received:
    system: Mapping[str, str] = message.get("Attributes", {})
    return Received(
        message["MessageId"],
        message["ReceiptHandle"],
        message.get("Body", ""),
        message.get("MessageAttributes", {}),
        int(system.get("SentTimestamp", 0)),
        int(system.get("ApproximateReceiveCount", 1)),
        system.get("MessageGroupId", ""),
    )


def _redrives(policy: str) -> bool:
    try:
        return "deadLetterTargetArn" in json.loads(policy or "{}")
    except ValueError:
        return False
