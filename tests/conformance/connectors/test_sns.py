"""Notifications that SNS posts: the receiver passes the kit, with a certificate of the test's."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from connectors.abc import JSON
from connectors.push import PushRequest, Receiver
from connectors.queues import Message
from connectors.sns import SnsConnector
from connectors.sns.certificates import Certificates
from connectors.sns.receiver import SnsReceiver
from connectors.sns.settings import parse_settings
from connectors.streams import SourceContext
from connectors.testing import Bad, PushConformance, PushHarness
from tests.support.sns import NOW, TOPIC, Signer, posted

_SIGNER = Signer()


class OwnConnector(SnsConnector):
    """The connector, which gets the certificate from the test."""

    def receiver(self, settings: Mapping[str, JSON], context: SourceContext) -> Receiver:
        return SnsReceiver(parse_settings(settings), context, Certificates(lambda _: _SIGNER.pem))


class PostedHarness(PushHarness):
    connector = OwnConnector()

    def __init__(self, version: str) -> None:
        self.version = version

    def settings(self) -> Mapping[str, JSON]:
        return {"topics": [TOPIC]}

    def bad_settings(self) -> Sequence[Bad]:
        return [
            ({"topics": ["orders"]}, "topics[0]"),
            ({"topics": []}, "topics"),
            ({"via": "post"}, "via"),
            ({"queue": "orders"}, "queue"),
        ]

    def request(self, event: str) -> PushRequest:
        name = str(uuid.uuid5(uuid.NAMESPACE_OID, event))
        return posted(_SIGNER.envelope(self.version, Message=event, MessageId=name))

    def forged(self) -> Mapping[str, PushRequest]:
        good = _SIGNER.envelope(self.version)
        requests = {
            f"another {field}": posted({**good, field: value})
            for field, value in (
                ("Message", "another"),
                ("MessageId", "22b80b92-fdea-4c2c-8f9d-000000000000"),
                ("Subject", "another"),
                ("TopicArn", TOPIC.replace("orders", "others")),
                ("Timestamp", "2025-06-15T15:06:41.000Z"),
                ("SigningCertURL", "https://sns.eu-central-1.amazonaws.com.example.org/a.pem"),
                ("Signature", ""),
            )
        }
        requests["somebody else"] = posted(Signer().envelope(self.version))
        requests["another topic"] = posted(_SIGNER.envelope(self.version, TopicArn=f"{TOPIC}x"))
        requests["old"] = replace(posted(good), at=(NOW + 86_400) * 10**6)
        requests["no JSON"] = replace(posted(good), body=json.dumps(good).encode()[:-1])
        return requests

    def text(self, message: Message) -> str:
        return str(message.body["body"])


class TestPosted(PushConformance):
    """Kind sns, over HTTP."""

    @pytest.fixture(params=["1", "2"])
    def harness(self, request: pytest.FixtureRequest) -> PostedHarness:
        return PostedHarness(request.param)
