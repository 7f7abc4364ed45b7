"""Signed requests: the webhook connector passes the kit, with each way of signing."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from connectors.abc import JSON
from connectors.push import PushRequest
from connectors.queues import Message
from connectors.testing import Bad, PushConformance, PushHarness
from connectors.webhook import WebhookConnector

_NOW = 1_750_000_000
_SECRET = "whsec-of-the-kit"


def _mac(content: bytes, secret: str = _SECRET) -> str:
    return hmac.new(secret.encode(), content, hashlib.sha256).hexdigest()


class HookHarness(PushHarness):
    connector = WebhookConnector()
    secrets: Mapping[str, str] = {"HOOK": _SECRET}

    def __init__(self, scheme: str) -> None:
        self.scheme = scheme

    def settings(self) -> Mapping[str, JSON]:
        given: dict[str, JSON] = {"signature": self.scheme, "secret": {"secret": "HOOK"}}
        if self.scheme == "generic":
            given |= {"signature_header": "X-Signature", "idempotency": {"field": "id"}}
            given |= {"timestamp_header": "X-Time", "headers": ["X-Event"]}
        return given

    def bad_settings(self) -> Sequence[Bad]:
        return [
            ({"signature": "md5"}, "signature"),
            ({"secret": None}, "secret"),
            ({"secret": "plain"}, "secret[0]"),
            ({"max_body": 0}, "max_body"),
            ({"max_body": 2**20}, "max_body"),
            ({"keep": "1d"}, "keep"),
            ({"storage": "somewhere"}, "storage"),
            ({"idempotency": {"header": "a b"}}, "idempotency.header"),
            ({"dedup_window": "1s"}, "dedup_window"),
            ({"headers": ["Authorization"]}, "headers[0]"),
        ]

    def request(self, event: str) -> PushRequest:
        body = json.dumps({"id": event, "text": event}).encode()
        return self._sent(body, event, _NOW, _SECRET)

    def forged(self) -> Mapping[str, PushRequest]:
        good = self.request("event")
        other = self.request("another event")
        requests = {
            "another body": replace(good, body=other.body),
            "another signature": replace(good, headers={**good.headers, **self._signed(other)}),
            "another secret": self._sent(good.body, "event", _NOW, "guessed"),
            "an empty secret": self._sent(good.body, "event", _NOW, ""),
            "no signature": replace(good, headers={"content-type": "application/json"}),
            "one byte more": replace(good, body=good.body + b" "),
        }
        if self.scheme != "github":  # whose signatures have no time
            requests["old"] = replace(good, at=(_NOW + 3600) * 10**6)
            requests["of the future"] = replace(good, at=(_NOW - 3600) * 10**6)
        return requests

    def text(self, message: Message) -> str:
        body: Any = message.body["body"]
        return body["text"]

    def _signed(self, request: PushRequest) -> dict[str, str]:
        return {name: value for name, value in request.headers.items() if "signature" in name}

    def _sent(self, body: bytes, event: str, at: int, secret: str) -> PushRequest:
        headers = {"content-type": "application/json", "x-github-delivery": event}
        timed = f"{at}.".encode() + body
        match self.scheme:
            case "github":
                headers["x-hub-signature-256"] = f"sha256={_mac(body, secret)}"
            case "stripe":
                headers["stripe-signature"] = f"t={at},v1={_mac(timed, secret)}"
            case _:
                headers |= {"x-signature": _mac(timed, secret), "x-time": str(at), "x-event": "e"}
        return PushRequest(headers=headers, query={}, body=body, sender="192.0.2.1", at=at * 10**6)


class TestWebhook(PushConformance):
    """Kind webhook."""

    @pytest.fixture(params=["github", "stripe", "generic"])
    def harness(self, request: pytest.FixtureRequest) -> HookHarness:
        return HookHarness(request.param)
